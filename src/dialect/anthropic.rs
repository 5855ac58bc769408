//! The dialect of the Anthropic API.

use std::time::Duration;

use http::StatusCode;

use super::json::string;
use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::Event;

impl Dialect {
    /// The dialect of Anthropic's messages.
    #[must_use]
    pub fn anthropic() -> Self {
        DialectBuilder::named("anthropic")
            .interval(Duration::from_secs(10))
            .event(Event::new().named("ping").static_data(r#"{"type":"ping"}"#))
            .give_up_after(Duration::from_secs(600))
            .error(|notice| Farewell::event(Event::new().named("error").data(error(notice))))
            .refusal(|notice| notice.json_response(error(notice)))
            .build()
    }
}

fn error(notice: &Notice) -> String {
    let kind = kind(notice.status);
    let message = string(&notice.message);
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
