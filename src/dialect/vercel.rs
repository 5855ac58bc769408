//! The dialect of the Vercel AI SDK.

use http::HeaderValue;

use super::json::string;
use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::Event;

impl Dialect {
    /// The dialect of the UI message stream of the Vercel AI SDK.
    #[must_use]
    pub fn vercel_ui_message() -> Self {
        DialectBuilder::named("vercel_ui_message")
            .error(|notice| {
                let done = Event::new().static_data("[DONE]");
                Farewell::events([Event::new().data(error(notice)), done])
            })
            .refusal(|notice| {
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                notice.response(text, notice.message.clone().into_owned())
            })
            .build()
    }
}

fn error(notice: &Notice) -> String {
    format!(r#"{{"type":"error","errorText":{}}}"#, string(&notice.message))
}
