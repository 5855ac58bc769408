//! The last bytes of a stream that the server ends.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Position;
use super::position::restate;
use super::shared_event::SharedEvent;
use super::spread::Retry;
use crate::sync::catch_panic;
use crate::wire::{CloseReason, Event, LineEnd, Notation, Status, in_notation, json_line};

/// The last bytes of a stream that the server ends.
///
/// Behind proxies a server that died looks like a stream that came to its end, so a client can
/// only tell the two apart by a last event. A close event alone stops nobody, though: the page
/// must act on it, with `EventSource.close()`, `sse-close="close"` (htmx 2) or
/// `hx-sse:close="close"` (htmx 4).
///
/// Streams of JSON and calls get it in their own form: [`SseLayer`](crate::SseLayer#streams) has
/// the table. A [`Dialect`](crate::Dialect) has farewells that the clients of a route understand.
/// They are the default, so a farewell that is set anywhere is sent in place of the dialect's, and
/// [`Farewell::default`] brings the dialect's back.
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
pub struct Farewell {
    kind: FarewellKind,
    /// Neither a `retry` nor an id is added.
    bare: bool,
    /// Clients of gRPC are told when to call again.
    pushback: bool,
}

#[derive(Clone, Debug)]
enum FarewellKind {
    /// What the dialect says. Without one it is a close event, which is the same for all streams
    /// that end for a reason.
    Dialect(Option<Arc<SharedEvent>>),
    /// This name and the reason, in the form that the framing has for it.
    Named(&'static str),
    // Shared: each stream of a server has a clone.
    Event(Arc<SharedEvent>),
    Bytes(Bytes),
    None,
}

/// What a dialect says when a stream ends, by the reason and by how long its client is to wait.
#[derive(Clone)]
pub(crate) struct Words(Arc<dyn Fn(CloseReason, Option<Duration>) -> Farewell + Send + Sync>);

impl Words {
    pub(crate) fn new<F>(words: F) -> Self
    where
        F: Fn(CloseReason, Option<Duration>) -> Farewell + Send + Sync + 'static,
    {
        Self(Arc::new(words))
    }

    pub(super) fn farewell(&self, reason: CloseReason, retry: Option<Retry>) -> Farewell {
        // A client that has its whole stream is not to come back.
        let retry = retry.filter(|_| reason != CloseReason::Finished);
        // A panic of the application's function would take the connection along.
        let farewell = catch_panic(|| (self.0)(reason, retry.map(Retry::delay)));
        farewell.unwrap_or(Farewell::none())
    }
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Words(..)")
    }
}

impl Farewell {
    const fn new(kind: FarewellKind) -> Self {
        Self { kind, bare: false, pushback: false }
    }

    /// Adds neither a `retry` nor an id, for clients that read the data of events only.
    #[must_use]
    pub const fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Tells clients of gRPC and gRPC-Web when to call again, in `grpc-retry-pushback-ms`.
    ///
    /// It is the time that others are told as `retry`. Clients heed it if they
    /// [retry](https://github.com/grpc/proposal/blob/master/A6-client-retries.md) at all, and
    /// mostly before the first message only. By default they go by their own backoff. Connect has
    /// no such field.
    #[must_use]
    pub const fn grpc_pushback(mut self) -> Self {
        self.pushback = true;
        self
    }

    /// `event: close` with the reason as JSON: `{"reason":"shutdown"}`. It is what the default
    /// dialect says.
    ///
    /// In a stream of JSON it is the line `{"type":"close","reason":"shutdown"}`.
    #[must_use]
    pub const fn close() -> Self {
        Self::new(FarewellKind::Named(CLOSE))
    }

    /// `event: reconnect` with the reason as JSON.
    ///
    /// For feeds that are to go on at another instance: pages that stop at a `close` event do not
    /// stop at this one, and an `EventSource` comes back after the `retry` that it carries.
    #[must_use]
    pub const fn reconnect() -> Self {
        Self::new(FarewellKind::Named("reconnect"))
    }

    /// Any event, an htmx out-of-band fragment for instance. In a stream of JSON it is the event's
    /// data, as a line.
    ///
    /// Where it has data, a drain adds a `retry` if it has none, and the stream's place as `id`.
    #[must_use]
    pub fn event(event: Event) -> Self {
        let lines = event.data_text().and_then(json_line);
        Self::shared(SharedEvent::new(Box::default(), event, Vec::from_iter(lines).into()))
    }

    /// Several events, of which the last is as that of [`event`](Self::event). Without one it is
    /// [`none`](Self::none).
    #[must_use]
    pub fn events(events: impl IntoIterator<Item = Event>) -> Self {
        let mut before: Vec<_> = events.into_iter().collect();
        let Some(event) = before.pop() else {
            return Self::none();
        };
        let data = before.iter().chain([&event]).filter_map(Event::data_text);
        let lines = data.filter_map(json_line).collect();
        Self::shared(SharedEvent::new(before.into(), event, lines))
    }

    fn shared(event: SharedEvent) -> Self {
        Self::new(FarewellKind::Event(Arc::new(event)))
    }

    /// These bytes as they are, for clients that expect something else than an event.
    ///
    /// They follow a whole event or line, and nothing follows them.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(FarewellKind::Bytes(bytes.into()))
    }

    /// Nothing: the stream just ends, after a whole event.
    #[must_use]
    pub const fn none() -> Self {
        Self::new(FarewellKind::None)
    }

    /// The farewell for streams that all end for this reason: it is encoded once for all of them.
    pub(crate) fn for_reason(self, reason: CloseReason) -> Self {
        let named = |name| {
            let line = reason.json_line(name);
            Arc::new(SharedEvent::new(Box::default(), reason.event(name), [line].into()))
        };
        let kind = match self.kind {
            FarewellKind::Dialect(_) => FarewellKind::Dialect(Some(named(CLOSE))),
            FarewellKind::Named(name) => FarewellKind::Event(named(name)),
            kind => kind,
        };
        Self { kind, ..self }
    }

    /// Whether nothing is sent.
    pub(super) fn is_none(&self) -> bool {
        matches!(self.kind, FarewellKind::None)
    }

    /// This farewell, or what the dialect says in its place.
    pub(super) fn in_words(
        &self,
        words: Option<&Words>,
        reason: CloseReason,
        retry: Option<Retry>,
    ) -> Cow<'_, Self> {
        match (&self.kind, words) {
            (FarewellKind::Dialect(_), Some(words)) => Cow::Owned(words.farewell(reason, retry)),
            _ => Cow::Borrowed(self),
        }
    }

    /// The status of a call that ends for this reason.
    pub(crate) fn status(&self, reason: CloseReason, retry: Option<Duration>) -> Status {
        Status { pushback: retry.filter(|_| self.pushback), ..Status::of(reason) }
    }

    /// The bytes for a client at this position that gets nothing else.
    pub(crate) fn alone(
        &self,
        reason: CloseReason,
        retry: Option<Duration>,
        position: &Position,
    ) -> Bytes {
        let retry = retry.map(Retry::after);
        self.encode_event(reason, retry, position, LineEnd::Lf).unwrap_or_default()
    }

    /// The bytes for a client at this position. None if there are none to send.
    pub(super) fn encode(
        &self,
        reason: CloseReason,
        retry: Option<Retry>,
        position: &Position,
        notation: Notation,
    ) -> Option<Bytes> {
        match notation {
            Notation::Events(line_end) => self.encode_event(reason, retry, position, line_end),
            Notation::Lines | Notation::Records => {
                let lines = |lines: &[Bytes]| {
                    let lines = lines.iter().map(|line| in_notation(line.clone(), notation));
                    lines.reduce(|all, line| [all, line].concat().into())
                };
                match &self.kind {
                    FarewellKind::Dialect(None) => lines(&[reason.json_line(CLOSE)]),
                    FarewellKind::Named(name) => lines(&[reason.json_line(name)]),
                    FarewellKind::Dialect(Some(shared)) | FarewellKind::Event(shared) => {
                        lines(shared.lines())
                    }
                    FarewellKind::Bytes(bytes) => Some(bytes.clone()),
                    FarewellKind::None => None,
                }
            }
            Notation::Status(_) => None,
        }
    }

    fn encode_event(
        &self,
        reason: CloseReason,
        retry: Option<Retry>,
        position: &Position,
        line_end: LineEnd,
    ) -> Option<Bytes> {
        let (retry, position) = match self.bare {
            true => (None, &Position::None),
            false => (retry, position),
        };
        let named = |name| {
            let retry = retry.map(Retry::delay);
            restate(&reason.event(name), retry, position, line_end)
        };
        match &self.kind {
            FarewellKind::Dialect(None) => Some(named(CLOSE)),
            FarewellKind::Named(name) => Some(named(name)),
            FarewellKind::Dialect(Some(shared)) | FarewellKind::Event(shared) => {
                Some(position.with_text(|id| shared.encode(retry, id, line_end)))
            }
            FarewellKind::Bytes(bytes) => Some(bytes.clone()),
            FarewellKind::None => None,
        }
    }
}

/// What the [`Dialect`](crate::Dialect) of the route says, which is [`Farewell::close`] in the
/// default one.
impl Default for Farewell {
    fn default() -> Self {
        Self::new(FarewellKind::Dialect(None))
    }
}

/// The name of the close event.
const CLOSE: &str = "close";
