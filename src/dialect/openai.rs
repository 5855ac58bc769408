//! The dialects of the OpenAI API.

use http::StatusCode;

use super::json::string;
use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::Event;

impl Dialect {
    /// The dialect of OpenAI's chat completions.
    #[must_use]
    pub fn openai_chat() -> Self {
        openai("openai_chat")
            .error(|notice| Farewell::event(Event::new().named("error").data(error(notice))))
            .build()
    }

    /// The dialect of OpenAI's responses.
    #[must_use]
    pub fn openai_responses() -> Self {
        openai("openai_responses")
            .error(|notice| Farewell::event(Event::new().named("error").data(error(notice))))
            .build()
    }
}

fn openai(name: &'static str) -> DialectBuilder {
    DialectBuilder::named(name).refusal(|notice| notice.json_response(error(notice)))
}

fn error(notice: &Notice) -> String {
    let (kind, code) = kind(notice);
    format!(
        r#"{{"error":{{"message":{},"type":"{kind}","param":null,"code":"{code}"}}}}"#,
        string(&notice.message)
    )
}

fn kind(notice: &Notice) -> (&'static str, &'static str) {
    match notice.status {
        StatusCode::TOO_MANY_REQUESTS => ("rate_limit_error", "rate_limit_exceeded"),
        StatusCode::UNAUTHORIZED => ("invalid_request_error", "invalid_api_key"),
        StatusCode::SERVICE_UNAVAILABLE => ("server_error", "service_unavailable"),
        status if status.is_client_error() => ("invalid_request_error", "invalid_request"),
        _ => ("server_error", "server_error"),
    }
}
