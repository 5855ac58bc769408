//! The dialect of htmx.

use super::{Dialect, DialectBuilder};
use crate::engine::Farewell;
use crate::wire::{CloseReason, Event};

impl Dialect {
    /// The dialect of [htmx], with the id of the element that has the connection.
    ///
    /// Silence is broken by a comment after 15 seconds, half of the shortest limit that common
    /// proxies have.
    ///
    /// A stream that the server ends, and one whose body fails, ends with a fragment that removes
    /// the element [out of band][oob], which closes its connection in htmx 2 and 4. After it comes
    /// a close event, for pages that listen to it:
    ///
    /// ```text
    /// data: <div id="progress" hx-swap-oob="delete"></div>
    ///
    /// event: close
    /// retry: 700
    /// data: {"reason":"shutdown"}
    /// ```
    ///
    /// It is for pages that show something that comes to an end, as the progress of a task, and
    /// that have no `sse-close`: they do not come back for what is over. The end of a stream's own
    /// body is told so with [`CloseAtEndLayer::default`](crate::CloseAtEndLayer). A feed that goes
    /// on after a restart of the server speaks [`event_source`](Self::event_source), with
    /// [`Farewell::reconnect`].
    ///
    /// A refused request gets what an `EventSource` gets, since its page is to come back.
    ///
    /// The id may be any text, and is escaped.
    ///
    /// [htmx]: https://htmx.org/extensions/sse/
    /// [oob]: https://htmx.org/attributes/hx-swap-oob/
    #[must_use]
    pub fn htmx(element_id: impl AsRef<str>) -> Self {
        let id = attribute(element_id.as_ref());
        let removal = format!(r#"<div id="{id}" hx-swap-oob="delete"></div>"#);
        DialectBuilder::named("htmx")
            .farewell(move |notice| match notice.reason {
                CloseReason::Limit | CloseReason::Draining => {
                    Dialect::event_source().farewell(notice)
                }
                reason => Farewell::events([Event::html(&*removal), reason.event("close")]),
            })
            .build()
    }
}

/// `text` as the value of an attribute, in double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}
