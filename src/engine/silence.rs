//! When a stream has been silent for too long, and what is written then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Injection;
use super::spread::Spread;
use crate::wire::{Event, LineEnd};

/// What to write into a silent stream, and when.
#[derive(Clone, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) interval: Duration,
    /// How much shorter the interval of a stream is at most, as a share of it.
    pub(crate) jitter: f32,
    comment: [Bytes; LineEnd::ALL.len()],
    pub(crate) heartbeat: Option<Heartbeat>,
}

/// A named event at a steady pace, for pages that watch whether their stream is alive.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) every: Duration,
    pub(crate) event: Arc<Injection>,
}

impl KeepAlive {
    pub(crate) fn every(interval: Duration) -> Self {
        let comment = LineEnd::ALL.map(|end| {
            Bytes::from_static(match end {
                LineEnd::Lf => b":\n",
                LineEnd::CrLf => b":\r\n",
                LineEnd::Cr => b":\r",
            })
        });
        Self { interval: interval.min(MAX_TIMER), jitter: 0.1, comment, heartbeat: None }
    }

    pub(crate) fn set_comment(&mut self, text: &str) {
        let comment = Event::new().comment(text);
        self.comment = LineEnd::ALL.map(|end| comment.encode_with(end));
    }

    pub(super) fn comment(&self, line_end: LineEnd) -> Bytes {
        self.comment[line_end as usize].clone()
    }

    /// Half of the interval of the `n`-th stream. Streams that opened together drift apart.
    fn half_interval(&self, n: u32) -> Duration {
        let share = Spread::nth(n.into()).of(self.interval.mul_f32(self.jitter));
        self.interval.saturating_sub(share).max(MIN_TIMER) / 2
    }
}

/// Detects silence without reading a clock for each event.
///
/// Twice an interval it looks whether anything was written since the last look. So it detects
/// silence after half an interval at the earliest and a whole one at the latest, and an event costs
/// one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// When to look next.
    tick: Instant,
}

/// What was written since the last look at the silence of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing in the whole life of the stream.
    Never,
    Nothing,
    /// Nothing since the comment that was written at the moment of the look.
    AtTick,
    Something,
}

impl Silence {
    /// Begins with bytes that are written at `now`.
    pub(super) fn begin(now: Instant, settings: &KeepAlive, n: u32) -> Self {
        Self { tick: now + settings.half_interval(n) }
    }

    /// When to look next.
    pub(super) fn tick(self) -> Instant {
        self.tick
    }

    /// Plans the next look after one at `now`.
    pub(super) fn advance(&mut self, now: Instant, settings: &KeepAlive, n: u32) {
        let half = settings.half_interval(n);
        // From the last tick, so that the pace does not slip; unless the stream was not polled
        // for so long that ticks were missed.
        self.tick = match self.tick + half {
            next if next > now => next,
            _ => now + half,
        };
    }
}

/// What timers can tell apart. With a shorter interval a stream would be all comments.
pub(crate) const MIN_TIMER: Duration = Duration::from_millis(1);

/// As good as never, and far from where `Instant` overflows.
pub(crate) const MAX_TIMER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
