//! The last bytes of a stream that the server ends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Position;
use super::position::restate;
use crate::wire::{ByLineEnd, CloseReason, Event, EventTemplate, LineEnd};

/// The last bytes of a stream that the server ends.
///
/// Behind proxies a server that died looks like a stream that came to its end, so a client can
/// only tell the two apart by a last event. A close event alone stops nobody, though: the page
/// must act on it, with `EventSource.close()`, `sse-close="close"` (htmx 2) or
/// `hx-sse:close="close"` (htmx 4).
///
/// # Examples
///
/// ```
/// use tower_sse::{Event, EventName, Farewell};
///
/// let done = Farewell::event(Event::new().event(EventName::from_static("done")).data("{}"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Farewell(FarewellKind);

#[derive(Clone, Debug)]
enum FarewellKind {
    /// An event with this name and the reason as its data.
    Named(&'static str),
    // Shared: each stream of a server has a clone.
    Event(Arc<SharedEvent>),
    Bytes(Bytes),
    None,
}

/// An event that many clients get, and what its copies have in common.
#[derive(Debug)]
struct SharedEvent {
    event: Event,
    templates: ByLineEnd<EventTemplate>,
}

impl Farewell {
    /// `event: close` with the reason as JSON: `{"reason":"shutdown"}`. The default.
    #[must_use]
    pub const fn close() -> Self {
        Self(FarewellKind::Named("close"))
    }

    /// `event: reconnect` with the reason as JSON.
    ///
    /// For feeds that are to go on at another instance: pages that stop at a `close` event do not
    /// stop at this one, and an `EventSource` comes back after the `retry` that it carries.
    #[must_use]
    pub const fn reconnect() -> Self {
        Self(FarewellKind::Named("reconnect"))
    }

    /// Any event, an htmx out-of-band fragment for instance.
    ///
    /// Where it has data, a drain adds a `retry` if it has none, and the stream's place as `id`.
    #[must_use]
    pub fn event(event: Event) -> Self {
        let templates = ByLineEnd::default();
        Self(FarewellKind::Event(Arc::new(SharedEvent { event, templates })))
    }

    /// These bytes as they are, for clients that expect something else than an event.
    ///
    /// They follow a whole event, and nothing follows them.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(FarewellKind::Bytes(bytes.into()))
    }

    /// Nothing: the stream just ends, behind a whole event.
    #[must_use]
    pub const fn none() -> Self {
        Self(FarewellKind::None)
    }

    /// The farewell for streams that all end for this reason: it is encoded once for all of them.
    pub(crate) fn for_reason(self, reason: CloseReason) -> Self {
        match self.0 {
            FarewellKind::Named(name) => Self::event(reason.event(name)),
            kind => Self(kind),
        }
    }

    /// The bytes for a client at this position. None if there are none to send.
    pub(super) fn encode(
        &self,
        reason: CloseReason,
        retry: Option<Duration>,
        position: &Position,
        line_end: LineEnd,
    ) -> Option<Bytes> {
        match &self.0 {
            FarewellKind::Named(name) => {
                Some(restate(&reason.event(name), retry, position, line_end))
            }
            FarewellKind::Event(shared) => {
                let make = || EventTemplate::new(&shared.event, line_end);
                let template = shared.templates.get(line_end, make);
                Some(position.with_text(|id| template.fill(retry, id)))
            }
            FarewellKind::Bytes(bytes) => Some(bytes.clone()),
            FarewellKind::None => None,
        }
    }
}

impl Default for Farewell {
    fn default() -> Self {
        Self::close()
    }
}
