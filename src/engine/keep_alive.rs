//! What is written into silent streams, and how often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Injection;
use super::spread::Spread;
use crate::wire::{Event, LineEnd, Notation, SEPARATOR, in_notation, json_line};

/// What to write into a silent stream, and when.
#[derive(Clone, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) interval: Duration,
    /// The moment from which the times of the streams are counted.
    pub(super) since: Instant,
    /// By how much the interval of a stream is shortened at most, as a share of the interval.
    pub(crate) jitter: f32,
    signal: Encoded,
    /// What a stream begins with. Some proxies hold the head of a response until its first byte.
    opening: Option<Encoded>,
    /// What is written into streams of JSON: one line, alone and as a record. Nothing by default.
    line: Option<[Bytes; 2]>,
    pub(crate) heartbeat: Option<Heartbeat>,
    /// The longest time in which the stream's own body may give nothing.
    pub(crate) give_up_after: Option<Duration>,
}

/// Bytes for each kind of line end.
type Encoded = [Bytes; LineEnd::ALL.len()];

/// What breaks the silence of an event stream.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    /// A comment, which no client takes for anything.
    Comment(String),
    /// A comment and a blank line.
    Block(String),
    /// An event, which is not the stream's own: it has no id.
    Event(Event),
}

impl Signal {
    /// A comment without text.
    pub(crate) const COMMENT: Self = Self::Comment(String::new());

    fn encode(&self) -> Encoded {
        LineEnd::ALL.map(|end| match self {
            // Nothing is allocated for what nearly every stream has.
            Self::Comment(text) if text.is_empty() => Bytes::from_static(match end {
                LineEnd::Lf => b":\n",
                LineEnd::CrLf => b":\r\n",
                LineEnd::Cr => b":\r",
            }),
            Self::Comment(text) => Event::new().comment(text).encode_with(end),
            Self::Block(text) => {
                let comment = Event::new().comment(text).encode_with(end);
                [&comment, end.as_str().as_bytes()].concat().into()
            }
            Self::Event(event) => event.clone().without_id().encode_with(end),
        })
    }
}

/// A named event at a steady pace, for pages that watch whether their stream is alive.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) every: Duration,
    pub(crate) event: Arc<Injection>,
}

impl KeepAlive {
    /// Writes `signal` when a stream is silent for `interval`.
    pub(crate) fn new(interval: Duration, signal: &Signal, now: Instant) -> Self {
        let encoded = signal.encode();
        let opening = match signal {
            Signal::Comment(_) | Signal::Block(_) => encoded.clone(),
            Signal::Event(_) => Signal::COMMENT.encode(),
        };
        Self {
            interval: interval.min(MAX_TIMER),
            since: now,
            jitter: 0.1,
            signal: encoded,
            opening: Some(opening),
            line: None,
            heartbeat: None,
            give_up_after: None,
        }
    }

    /// Begins streams with their own first byte.
    pub(crate) fn without_opening(self) -> Self {
        Self { opening: None, ..self }
    }

    /// Writes this line into streams of JSON. A blank one is the shortest that says nothing.
    pub(crate) fn set_line(&mut self, text: &str) {
        self.line = Some(match json_line(text) {
            Some(line) => [line.clone(), in_notation(line, Notation::Records)],
            // A parser of records skips a separator that nothing follows, and a blank record it
            // does not.
            None => [Bytes::from_static(b"\n"), Bytes::from_static(&[SEPARATOR])],
        });
    }

    /// What breaks the silence of a stream. None if there is nothing to write into such streams.
    pub(super) fn sign(&self, notation: Notation) -> Option<Bytes> {
        match (notation, &self.line) {
            (Notation::Events(line_end), _) => Some(self.signal[line_end as usize].clone()),
            (Notation::Lines, Some([line, _])) => Some(line.clone()),
            (Notation::Records, Some([_, record])) => Some(record.clone()),
            (Notation::Lines | Notation::Records, None) | (Notation::Status(_), _) => None,
        }
    }

    /// What an event stream begins with.
    pub(super) fn opening(&self, line_end: LineEnd) -> Option<Bytes> {
        self.opening.as_ref().map(|opening| opening[line_end as usize].clone())
    }

    /// Whether silence is broken in such streams.
    pub(super) fn suits(&self, notation: Notation) -> bool {
        match notation {
            Notation::Events(_) => true,
            Notation::Lines | Notation::Records => self.line.is_some(),
            Notation::Status(_) => false,
        }
    }

    /// Half of the interval of the `n`-th stream. Streams that opened together drift apart.
    pub(super) fn half_interval(&self, n: u32) -> Duration {
        let share = Spread::nth(n.into()).of(self.interval.mul_f32(self.jitter));
        self.interval.saturating_sub(share).max(MIN_TIMER) / 2
    }
}

/// The resolution of timers. With a shorter interval a stream would have nothing but comments.
pub(crate) const MIN_TIMER: Duration = Duration::from_millis(1);

/// Practically never, and far from where `Instant` overflows.
pub(crate) const MAX_TIMER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
