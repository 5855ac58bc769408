//! The last bytes of a stream that the server ends.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::place::restate;
use super::spread::Retry;
use super::texts::Texts;
use super::{CloseReason, Position};
use crate::wire::{ByLineEnd, Event, LineEnd, Stencil};

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
pub struct Farewell(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Named(&'static str),
    // Shared: each stream of a server has a clone.
    Event(Arc<Said>),
    Bytes(Bytes),
    None,
}

/// An event that is said to many, written once for those to whom it is the same.
#[derive(Debug)]
struct Said {
    event: Event,
    forms: ByLineEnd<Form>,
}

#[derive(Debug)]
struct Form {
    stencil: Stencil,
    /// For clients that have no place. Made when it is first asked for: who is reason alone has no
    /// `retry`.
    texts: OnceLock<Box<Texts>>,
}

impl Said {
    fn words(&self, retry: Option<&Retry>, place: Option<&str>, line_end: LineEnd) -> Bytes {
        let form = self.forms.get(line_end, || Form {
            stencil: Stencil::of(&self.event, line_end),
            texts: OnceLock::new(),
        });
        let shared = retry.filter(|_| place.is_none() && Texts::keeps(&form.stencil));
        shared
            .and_then(|retry| {
                let texts = form.texts.get_or_init(|| Box::new(Texts::of(retry.steps())));
                texts.get(retry, &form.stencil)
            })
            .unwrap_or_else(|| form.stencil.fill(retry.map(Retry::delay), place))
    }
}

impl Farewell {
    /// `event: close` with the reason as JSON: `{"reason":"shutdown"}`. The default.
    #[must_use]
    pub const fn close() -> Self {
        Self(Kind::Named("close"))
    }

    /// `event: reconnect` with the reason as JSON.
    ///
    /// For feeds that are to go on at another instance: pages that stop at a `close` event do not
    /// stop at this one, and an `EventSource` comes back after the `retry` that it carries.
    #[must_use]
    pub const fn reconnect() -> Self {
        Self(Kind::Named("reconnect"))
    }

    /// Any event, an htmx out-of-band fragment for instance.
    ///
    /// Where it has data, a drain adds a `retry` if it has none, and the stream's place as `id`.
    #[must_use]
    pub fn event(event: Event) -> Self {
        Self(Kind::Event(Arc::new(Said { event, forms: ByLineEnd::default() })))
    }

    /// These bytes as they are, for clients that expect something else than an event.
    ///
    /// They follow a whole event, and nothing follows them.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Bytes(bytes.into()))
    }

    /// Nothing: the stream just ends, behind a whole event.
    #[must_use]
    pub const fn none() -> Self {
        Self(Kind::None)
    }

    /// The same for streams that are all reason this: what they have in common is written once.
    pub(crate) fn for_reason(self, reason: CloseReason) -> Self {
        match self.0 {
            Kind::Named(name) => Self::event(reason.event(name)),
            kind => Self(kind),
        }
    }

    /// What is sent to a client at this place, if anything.
    pub(super) fn last_words(
        &self,
        reason: CloseReason,
        retry: Option<&Retry>,
        place: &Position,
        line_end: LineEnd,
    ) -> Option<Bytes> {
        match &self.0 {
            Kind::Named(name) => {
                let retry = retry.map(Retry::delay);
                Some(restate(&reason.event(name), retry, place, line_end))
            }
            Kind::Event(said) => Some(place.with_text(|place| said.words(retry, place, line_end))),
            Kind::Bytes(bytes) => Some(bytes.clone()),
            Kind::None => None,
        }
    }
}

impl Default for Farewell {
    fn default() -> Self {
        Self::close()
    }
}
