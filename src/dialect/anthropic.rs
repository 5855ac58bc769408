//! The dialect of the Anthropic API.

use std::time::Duration;

use http::StatusCode;

use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{Event, json_string};

impl Dialect {
    /// The dialect of [messages of Anthropic][api].
    ///
    /// Silence is broken by the event `ping` after 10 seconds, half of what clients that time the
    /// next event [are known to allow][20s]. It may come anywhere in a stream, and the SDKs do not
    /// pass it on.
    ///
    /// ```text
    /// event: ping
    /// data: {"type":"ping"}
    /// ```
    ///
    /// A `ping` restarts the time limit of a client, 10 minutes in the SDKs. So that it does not
    /// hide for ever that nothing comes any more, a stream is
    /// [given up](crate::KeepAliveLayer::give_up_after) if its own body gives nothing for as long
    /// as that.
    ///
    /// A stream that the server ends, and one whose body fails, ends with an [error][errors] that
    /// the SDKs for Python and TypeScript raise, and without `message_stop`:
    ///
    /// ```text
    /// event: error
    /// data: {"type":"error","error":{"type":"overloaded_error","message":"the server shuts down"}}
    /// ```
    ///
    /// Neither has a `retry` or an id. A refused request gets the same object as JSON, with its
    /// status and with `Retry-After`.
    ///
    /// | status | type |
    /// | --- | --- |
    /// | 429: a limit, or replaced by a newer stream | `rate_limit_error` |
    /// | 503: a drain, or ended by the server | `overloaded_error` |
    /// | 401: the credential has expired | `authentication_error` |
    /// | 504: the body gave nothing | `timeout_error` |
    /// | 500: the body failed | `api_error` |
    ///
    /// [api]: https://docs.anthropic.com/en/api/messages-streaming
    /// [errors]: https://docs.anthropic.com/en/api/errors
    /// [20s]: https://github.com/NousResearch/hermes-agent/pull/112207
    #[must_use]
    pub fn anthropic() -> Self {
        DialectBuilder::named("anthropic")
            .interval(Duration::from_secs(10))
            .event(Event::new().named("ping").static_data(r#"{"type":"ping"}"#))
            .give_up_after(Duration::from_secs(600))
            .error(|notice| {
                let own = notice.own_error(r#"{"type":"error""#).map(str::to_owned);
                let data = own.unwrap_or_else(|| error(notice));
                Farewell::event(Event::new().named("error").data(data))
            })
            .refusal(|notice| notice.json_response(error(notice)))
            .build()
    }
}

fn error(notice: &Notice) -> String {
    let (kind, message) = (kind(notice.status), json_string(&notice.message));
    format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}}}}"#)
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
