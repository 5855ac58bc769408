//! The dialect of htmx.

use super::{Dialect, DialectBuilder};
use crate::engine::Farewell;
use crate::wire::{CloseReason, Event};

impl Dialect {
    /// The dialect of htmx.
    #[must_use]
    pub fn htmx(element_id: impl AsRef<str>) -> Self {
        let removal =
            format!(r#"<div id="{}" hx-swap-oob="delete"></div>"#, attribute(element_id.as_ref()));
        DialectBuilder::named("htmx")
            .farewell(move |notice| match notice.reason {
                // Its client is to come back.
                CloseReason::Limit | CloseReason::Draining => {
                    Dialect::event_source().farewell(notice)
                }
                reason => Farewell::events([Event::html(removal.as_str()), reason.event("close")]),
            })
            .build()
    }
}

/// `text` as the value of an attribute, in double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}
