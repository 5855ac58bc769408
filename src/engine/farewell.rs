//! The last bytes of a stream that the server ends.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::Position;
use super::position::restate;
use super::spread::Retry;
use crate::wire::{
    ByLineEnd, CloseReason, Event, EventTemplate, LineEnd, Notation, Status, in_notation, json_line,
};

/// The last bytes of a stream that the server ends.
///
/// Behind proxies a server that died looks like a stream that came to its end, so a client can
/// only tell the two apart by a last event. A close event alone stops nobody, though: the page
/// must act on it, with `EventSource.close()`, `sse-close="close"` (htmx 2) or
/// `hx-sse:close="close"` (htmx 4).
///
/// Streams of JSON and of gRPC get it in their own form: [`SseLayer`](crate::SseLayer#streams) has
/// the table.
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
    /// Clients of gRPC are told when to call again.
    pushback: bool,
}

#[derive(Clone, Debug)]
enum FarewellKind {
    /// This name and the reason, in the form that the framing has for it.
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
    /// The same in a stream of JSON.
    line: Option<Bytes>,
    templates: ByLineEnd<EventTemplate>,
    /// How many clients without a position got it, as far as that is counted.
    uses: AtomicUsize,
    /// The bytes for such a client, by the step of its `retry`.
    steps: OnceLock<Box<[Step]>>,
}

/// The bytes for one delay.
type Step = OnceLock<(Duration, Bytes)>;

impl SharedEvent {
    fn new(event: Event, line: Option<Bytes>) -> Self {
        let (templates, uses) = (ByLineEnd::default(), AtomicUsize::new(0));
        Self { event, line, templates, uses, steps: OnceLock::new() }
    }

    fn encode(&self, retry: Option<Retry>, id: Option<&str>, line_end: LineEnd) -> Bytes {
        let template = self.templates.get(line_end, || EventTemplate::new(&self.event, line_end));
        let fill = || template.fill(retry.map(Retry::delay), id);
        let shared = match (retry, id, line_end) {
            (Some(retry), None, LineEnd::Lf) => self.step(retry),
            _ => None,
        };
        let Some((slot, delay)) = shared else {
            return fill();
        };
        // Two ranges have different delays for one step.
        match slot.get_or_init(|| (delay, fill())) {
            (known, bytes) if *known == delay => bytes.clone(),
            _ => fill(),
        }
    }

    /// Where the bytes for this step are kept: an allocation for each of 100,000 clients would be
    /// most of what a drain costs. But a farewell that few clients get is not kept in so many
    /// versions.
    fn step(&self, retry: Retry) -> Option<(&Step, Duration)> {
        let step = retry.step()?;
        let steps = match self.steps.get() {
            Some(steps) => steps,
            None if self.uses.fetch_add(1, Relaxed) < FEW => return None,
            None => self.steps.get_or_init(|| (0..Retry::STEPS).map(|_| OnceLock::new()).collect()),
        };
        Some((steps.get(step)?, retry.delay()))
    }
}

impl Farewell {
    const fn new(kind: FarewellKind) -> Self {
        Self { kind, pushback: false }
    }

    /// Tells clients of gRPC when to call again, in `grpc-retry-pushback-ms`.
    ///
    /// It is the time that others are told as `retry`. Clients heed it if they
    /// [retry](https://github.com/grpc/proposal/blob/master/A6-client-retries.md) at all, and mostly
    /// before the first message only. By default they go by their own backoff.
    #[must_use]
    pub const fn grpc_pushback(mut self) -> Self {
        self.pushback = true;
        self
    }

    /// `event: close` with the reason as JSON: `{"reason":"shutdown"}`. The default.
    ///
    /// In a stream of JSON it is the line `{"type":"close","reason":"shutdown"}`.
    #[must_use]
    pub const fn close() -> Self {
        Self::new(FarewellKind::Named("close"))
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
        let line = event.data_text().and_then(json_line);
        Self::shared(SharedEvent::new(event, line))
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
        match self.kind {
            FarewellKind::Named(name) => {
                let line = reason.json_line(name);
                let shared = Self::shared(SharedEvent::new(reason.event(name), Some(line)));
                Self { pushback: self.pushback, ..shared }
            }
            kind => Self { kind, ..self },
        }
    }

    /// The status of a call of gRPC that ends for this reason.
    pub(crate) fn status(&self, reason: CloseReason, retry: Option<Duration>) -> Status {
        Status { pushback: retry.filter(|_| self.pushback), ..Status::of(reason) }
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
                let line = match &self.kind {
                    FarewellKind::Named(name) => Some(reason.json_line(name)),
                    FarewellKind::Event(shared) => shared.line.clone(),
                    FarewellKind::Bytes(bytes) => return Some(bytes.clone()),
                    FarewellKind::None => None,
                };
                line.map(|line| in_notation(line, notation))
            }
            Notation::Status => None,
        }
    }

    fn encode_event(
        &self,
        reason: CloseReason,
        retry: Option<Retry>,
        position: &Position,
        line_end: LineEnd,
    ) -> Option<Bytes> {
        match &self.kind {
            FarewellKind::Named(name) => {
                let retry = retry.map(Retry::delay);
                Some(restate(&reason.event(name), retry, position, line_end))
            }
            FarewellKind::Event(shared) => {
                Some(position.with_text(|id| shared.encode(retry, id, line_end)))
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

/// So many clients get a farewell before its bytes are kept for others: a server that makes a
/// farewell for each connection pays nothing for those that it has once.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_step_is_what_one_client_would_get_alone() {
        let farewell = Farewell::event(Event::new().data("x"));
        let ranges = [5, 20].map(|most| Duration::from_millis(5)..=Duration::from_secs(most));
        for n in 0..5_000 {
            for range in &ranges {
                let retry = Retry::nth(n, range);
                for line_end in LineEnd::ALL {
                    let encode = |retry| {
                        let position = &Position::None;
                        let notation = Notation::Events(line_end);
                        farewell.encode(CloseReason::Shutdown, Some(retry), position, notation)
                    };
                    assert_eq!(encode(retry), encode(Retry::after(retry.delay())), "{n}");
                }
            }
        }
    }

    #[test]
    fn a_farewell_that_few_clients_get_is_not_kept_for_others() {
        let farewell = Farewell::close().for_reason(CloseReason::Shutdown);
        let range = Duration::from_millis(5)..=Duration::from_secs(5);
        for n in 0..FEW as u64 {
            let (retry, position) = (Some(Retry::nth(n, &range)), Position::None);
            let notation = Notation::Events(LineEnd::Lf);
            farewell.encode(CloseReason::Shutdown, retry, &position, notation);
        }
        let FarewellKind::Event(shared) = &farewell.kind else { panic!("it is not shared") };
        assert!(shared.steps.get().is_none());
    }
}
