//! The dialect of the Vercel AI SDK.

use http::{HeaderName, HeaderValue};

use super::{Dialect, DialectBuilder, Notice};
use crate::engine::Farewell;
use crate::wire::{CloseReason, Event, json_string};

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
    /// An answer that was stopped ends with `{"type":"abort",..}` in place of the error: the client
    /// keeps what it has.
    ///
    /// A refused request gets its message as plain text, with its status: the chat of the SDK (6.0)
    /// makes its error of the text of such a response.
    ///
    /// An [early head](crate::EarlyHeadLayer) has the header `x-vercel-ai-ui-message-stream: v1`.
    /// In other responses it is the application's to set.
    ///
    /// [spec]: https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol#error-part
    #[must_use]
    pub fn vercel_ui_message() -> Self {
        DialectBuilder::named("vercel_ui_message")
            .header(STREAM, HeaderValue::from_static("v1"))
            .error(|notice| {
                let done = Event::new().static_data("[DONE]");
                Farewell::events([Event::new().data(part(notice)), done])
            })
            .refusal(|notice| {
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                notice.response(text, notice.message.clone().into_owned())
            })
            .build()
    }
}

const STREAM: HeaderName = HeaderName::from_static("x-vercel-ai-ui-message-stream");

fn part(notice: &Notice) -> String {
    let message = json_string(&notice.message);
    match notice.reason {
        CloseReason::Stopped => format!(r#"{{"type":"abort","reason":{message}}}"#),
        _ => format!(r#"{{"type":"error","errorText":{message}}}"#),
    }
}
