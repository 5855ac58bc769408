//! The dialects of the OpenAI API.

use std::time::Duration;

use http::StatusCode;

use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{Event, json_member, json_string};

impl Dialect {
    /// The dialect of [chat completions of OpenAI][api], and of the many servers with their API.
    ///
    /// Silence is broken by a comment after 10 seconds, which no client takes for a chunk. Some
    /// clients give up [after about 20 seconds][20s] without a byte. Others wait for a *chunk* and
    /// do not count comments, [Codex for five minutes][codex]: for these the keepalive has to be
    /// an event, which all other clients then see, too.
    ///
    /// ```
    /// use tower_sse::{Dialect, Event, KeepAliveLayer, SseLayer};
    ///
    /// let chunk = r#"{"id":"","object":"chat.completion.chunk","created":0,"model":"","choices":[]}"#;
    /// let layer = SseLayer::new()
    ///     .dialect(Dialect::openai_chat())
    ///     .keep_alive(KeepAliveLayer::new().event(Event::new().data(chunk)));
    /// ```
    ///
    /// A stream that the server ends, and one whose body fails, ends with an error that the SDKs
    /// for Python (3.57) and Node (6.49) raise as `APIError`, and without `[DONE]`:
    ///
    /// ```text
    /// event: error
    /// data: {"error":{"message":"the server shuts down","type":"server_error",..}}
    /// ```
    ///
    /// Neither has a `retry` or an id: after an id these SDKs take a comment with a blank line for
    /// a chunk. A refused request gets the same object as JSON, with its status, by which the SDKs
    /// tell a `RateLimitError` (429) from an `InternalServerError` (503). They come back after the
    /// `Retry-After`, twice by default.
    ///
    /// [api]: https://platform.openai.com/docs/api-reference/chat-streaming
    /// [20s]: https://github.com/NousResearch/hermes-agent/pull/112207
    /// [codex]: https://github.com/openai/codex/issues/31539
    #[must_use]
    pub fn openai_chat() -> Self {
        openai("openai_chat").error(|notice| said(Event::new().named("error"), notice)).build()
    }

    /// The same as [`openai_chat`](Self::openai_chat), with an error that has no name, as all
    /// events of chat completions.
    ///
    /// It is for clients that read events without a name only. The SDKs of OpenAI raise both.
    #[must_use]
    pub fn openai_chat_unnamed() -> Self {
        openai("openai_chat_unnamed").error(|notice| said(Event::new(), notice)).build()
    }

    /// The dialect of [responses of OpenAI][api].
    ///
    /// It is [`openai_chat`](Self::openai_chat), except for the error:
    ///
    /// ```text
    /// event: error
    /// data: {"type":"error","sequence_number":0,"code":..,"message":..,"param":null,"error":{..}}
    /// ```
    ///
    /// The members outside of `error` are those of the [reference][api]. The SDKs yield such an
    /// event as any other, and raise an error for the member `error` only, which OpenAI's own
    /// server sends, too. A `response.failed` would need the whole response, which this server does
    /// not know, and neither does it know the sequence number.
    ///
    /// An error of the API in an answer that comes after an [early head](crate::EarlyHeadLayer) is
    /// put into that form, with its own message.
    ///
    /// [api]: https://platform.openai.com/docs/api-reference/responses-streaming/error
    #[must_use]
    pub fn openai_responses() -> Self {
        openai("openai_responses")
            .error(|notice| {
                let error = own_object(notice).map_or_else(|| error(notice), str::to_owned);
                Farewell::event(Event::new().named("error").data(response_error(&error, notice)))
            })
            .build()
    }
}

fn openai(name: &'static str) -> DialectBuilder {
    // Half of the time after which clients give up that count bytes.
    let builder = DialectBuilder::named(name).interval(Duration::from_secs(10));
    builder.refusal(|notice| notice.json_response(enveloped(notice)))
}

fn said(event: Event, notice: &Notice) -> Farewell {
    let own = notice.own_error(ENVELOPE).map(str::to_owned);
    Farewell::event(event.data(own.unwrap_or_else(|| enveloped(notice))))
}

/// How an error of the API begins.
const ENVELOPE: &str = r#"{"error":"#;

/// The error object of a late answer.
fn own_object(notice: &Notice) -> Option<&str> {
    json_member(notice.own_error(ENVELOPE)?, "error").filter(|error| error.starts_with('{'))
}

/// The [event](https://platform.openai.com/docs/api-reference/responses-streaming/error) of this
/// error object.
fn response_error(error: &str, notice: &Notice) -> String {
    let text = |name| json_member(error, name).filter(|text| text.starts_with('"'));
    let said = json_string(&notice.message);
    let (_, of_status) = kind(notice.status);
    let (message, of_status) = (text("message").unwrap_or(&said), json_string(of_status));
    let (code, param) = (text("code").unwrap_or(&of_status), text("param").unwrap_or("null"));
    format!(
        r#"{{"type":"error","sequence_number":0,"code":{code},"message":{message},"param":{param},"error":{error}}}"#
    )
}

fn enveloped(notice: &Notice) -> String {
    format!(r#"{{"error":{}}}"#, error(notice))
}

/// The [error object](https://platform.openai.com/docs/guides/error-codes) of the API.
fn error(notice: &Notice) -> String {
    let message = json_string(&notice.message);
    let (kind, code) = kind(notice.status);
    format!(r#"{{"message":{message},"type":"{kind}","param":null,"code":"{code}"}}"#)
}

fn kind(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::UNAUTHORIZED => ("invalid_request_error", "invalid_api_key"),
        StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", "rate_limit_exceeded"),
        StatusCode::SERVICE_UNAVAILABLE => ("server_error", "service_unavailable"),
        StatusCode::GATEWAY_TIMEOUT => ("server_error", "timeout"),
        status if status.is_client_error() => ("invalid_request_error", "invalid_request"),
        _ => ("server_error", "server_error"),
    }
}
