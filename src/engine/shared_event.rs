//! Events of the server that many clients get, encoded as seldom as possible.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;

use super::spread::Retry;
use crate::wire::{ByLineEnd, Event, EventTemplate, LineEnd, Notation, in_notation, json_line};

/// An event that is written into streams, encoded once for each kind of line end.
#[derive(Debug)]
pub(crate) struct Injection {
    event: Event,
    encoded: ByLineEnd<Bytes>,
    line: OnceLock<Option<Bytes>>,
}

impl Injection {
    pub(crate) fn new(event: Event) -> Self {
        Self { event, encoded: ByLineEnd::default(), line: OnceLock::new() }
    }

    pub(super) fn event(&self) -> &Event {
        &self.event
    }

    pub(super) fn bytes(&self, line_end: LineEnd) -> Bytes {
        self.encoded.get(line_end, || self.event.encode_with(line_end)).clone()
    }

    /// The data as a line of JSON. None if there is no data.
    pub(super) fn line(&self, notation: Notation) -> Option<Bytes> {
        let line = self.line.get_or_init(|| self.event.data_text().and_then(json_line)).clone();
        line.map(|line| in_notation(line, notation))
    }
}

/// An event that ends streams, such as the farewell of a drain, and what its copies have in common.
#[derive(Debug)]
pub(super) struct SharedEvent {
    /// What is written before it.
    before: Box<[Event]>,
    event: Event,
    /// All of them in a stream of JSON.
    lines: Box<[Bytes]>,
    templates: ByLineEnd<EventTemplate>,
    /// How many clients without a position got it, as far as that is counted.
    uses: AtomicUsize,
    /// The bytes for such a client, by the step of its `retry`.
    steps: OnceLock<Box<[Step]>>,
}

/// The bytes for one delay.
type Step = OnceLock<(Duration, Bytes)>;

impl SharedEvent {
    pub(super) fn new(before: Box<[Event]>, event: Event, lines: Box<[Bytes]>) -> Self {
        let (templates, uses) = (ByLineEnd::default(), AtomicUsize::new(0));
        Self { before, event, lines, templates, uses, steps: OnceLock::new() }
    }

    /// The bytes for a client that waits so long, and has this id.
    pub(super) fn encode(
        &self,
        retry: Option<Retry>,
        id: Option<&str>,
        line_end: LineEnd,
    ) -> Bytes {
        let template = || EventTemplate::new(&self.before, &self.event, line_end);
        let template = self.templates.get(line_end, template);
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

    /// All of its events in a stream of JSON.
    pub(super) fn lines(&self) -> &[Bytes] {
        &self.lines
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

/// So many clients get an event before its bytes are kept for others: a server that makes a
/// farewell for each connection pays nothing for those that it has once.
const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> SharedEvent {
        SharedEvent::new(Box::default(), Event::new().data("x"), Box::default())
    }

    #[test]
    fn what_is_kept_for_a_step_is_what_one_client_would_get_alone() {
        let shared = shared();
        let ranges = [5, 20].map(|most| Duration::from_millis(5)..=Duration::from_secs(most));
        for n in 0..5_000 {
            for range in &ranges {
                let retry = Retry::nth(n, range);
                for line_end in LineEnd::ALL {
                    let encode = |retry| shared.encode(Some(retry), None, line_end);
                    assert_eq!(encode(retry), encode(Retry::after(retry.delay())), "{n}");
                }
            }
        }
        assert!(shared.steps.get().is_some(), "nothing is kept");
    }

    #[test]
    fn an_event_that_few_clients_get_is_not_kept_for_others() {
        let shared = shared();
        let range = Duration::from_millis(5)..=Duration::from_secs(5);
        for n in 0..FEW as u64 {
            shared.encode(Some(Retry::nth(n, &range)), None, LineEnd::Lf);
        }
        assert!(shared.steps.get().is_none());
    }
}
