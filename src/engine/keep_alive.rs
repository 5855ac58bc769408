//! When a stream has been silent for too long, and what is written then.

use std::num::NonZeroI64;
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
    /// What the moments of its streams are counted from.
    since: Instant,
    /// How much shorter the interval is at most, as a share of it.
    pub(crate) jitter: f32,
    comment: [Bytes; 3],
    pub(crate) heartbeat: Option<Heartbeat>,
}

/// A named event at a steady pace, for pages that watch whether their stream is alive.
#[derive(Clone, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) every: Duration,
    pub(crate) event: Arc<Injection>,
}

impl KeepAlive {
    pub(crate) fn every(interval: Duration, now: Instant) -> Self {
        let comment = LineEnd::ALL.map(|end| {
            Bytes::from_static(match end {
                LineEnd::Lf => b":\n",
                LineEnd::CrLf => b":\r\n",
                LineEnd::Cr => b":\r",
            })
        });
        Self { interval: interval.min(LONGEST), since: now, jitter: 0.1, comment, heartbeat: None }
    }

    pub(crate) fn set_comment(&mut self, text: &str) {
        let comment = Event::new().comment(text);
        self.comment = LineEnd::ALL.map(|end| comment.encode_with(end));
    }

    pub(super) fn comment(&self, line_end: LineEnd) -> Bytes {
        self.comment[line_end as usize].clone()
    }

    /// The n-th stream's interval. Streams that were opened together drift apart.
    fn interval_of(&self, n: u32) -> Duration {
        let share = Spread::in_window(n.into()).of(self.interval.mul_f32(self.jitter));
        self.interval.saturating_sub(share).max(SHORTEST)
    }
}

/// Moments as numbers.
impl KeepAlive {
    fn count(&self, at: Instant) -> NonZeroI64 {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        let count = match at.checked_duration_since(self.since) {
            Some(later) => nanos(later),
            // A paused clock may be behind the one that was there before it.
            None => -nanos(self.since - at),
        };
        // A nanosecond later than the beginning is as good.
        NonZeroI64::new(count).unwrap_or(FIRST)
    }

    fn moment(&self, count: NonZeroI64) -> Instant {
        let span = Duration::from_nanos(count.get().unsigned_abs());
        match count.is_positive() {
            true => self.since + span,
            false => self.since.checked_sub(span).unwrap_or(self.since),
        }
    }
}

/// Tells silence without reading a clock for each event.
///
/// It is asked twice an interval whether anything was sent since it was asked last. So silence is
/// seen after half an interval at the earliest and a whole one at the latest, and an event costs
/// one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// When to ask next, in nanoseconds from [`KeepAlive::since`]: half of what an `Instant` takes, and
    /// never zero.
    tick: NonZeroI64,
}

/// What was sent since the last tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing at all so far.
    Never,
    Nothing,
    /// Nothing since bytes of ours at the moment of the tick itself.
    AtTick,
    Something,
}

impl Silence {
    /// Begins with bytes sent at `now`.
    pub(super) fn begin(now: Instant, settings: &KeepAlive, n: u32) -> Self {
        Self { tick: settings.count(now + settings.interval_of(n) / 2) }
    }

    /// When to [ask](Self::ask) next.
    pub(super) fn tick(self, settings: &KeepAlive) -> Instant {
        settings.moment(self.tick)
    }

    /// Asks at `now`: has the stream been silent for too long?
    ///
    /// `sent` tells what was sent since the last tick.
    pub(super) fn ask(&mut self, now: Instant, sent: Sent, settings: &KeepAlive, n: u32) -> bool {
        let half = settings.interval_of(n) / 2;
        // From the last tick, so that the pace does not slip; unless the stream was not polled
        // for so long that ticks were missed.
        let next = match self.tick(settings) + half {
            next if next > now => next,
            _ => now + half,
        };
        self.tick = settings.count(next);
        sent == Sent::Nothing
    }
}

const FIRST: NonZeroI64 = NonZeroI64::new(1).unwrap();

/// What timers can tell apart. With less a stream would be all comments.
pub(crate) const SHORTEST: Duration = Duration::from_millis(1);

/// As good as never, and far from where moments cannot be counted any more.
pub(crate) const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
