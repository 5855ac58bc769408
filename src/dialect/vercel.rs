//! The dialect of the Vercel AI SDK.

use http::HeaderValue;

use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{Event, json_string};

impl Dialect {
    /// The dialect of the [UI message stream][spec] of the Vercel AI SDK.
    ///
    /// Silence is broken by a comment after 15 seconds, half of the shortest limit that common
    /// proxies have.
    ///
    /// A stream that the server ends, and one whose body fails, ends with an error part and the
    /// mark of the end, as the SDK's own server ends them. They have neither a `retry` nor an id:
    ///
    /// ```text
    /// data: {"type":"error","errorText":"the server shuts down"}
    ///
    /// data: [DONE]
    /// ```
    ///
    /// A refused request gets its message as plain text, with its status: the chat of the SDK (6.0)
    /// makes its error of the text of such a response.
    ///
    /// The header `x-vercel-ai-ui-message-stream: v1` is the application's to set.
    ///
    /// [spec]: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#error-part
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
    format!(r#"{{"type":"error","errorText":{}}}"#, json_string(&notice.message))
}
