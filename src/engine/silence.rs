//! When a stream has been silent for too long.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::KeepAlive;

/// Detects silence without reading a clock for each event.
///
/// Twice in an interval it checks whether anything was written since the last check. So it detects
/// silence after half an interval at the earliest and a whole one at the latest, and an event costs
/// one store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// When to check next, in nanoseconds since [`KeepAlive::since`]: half of the memory of an
    /// `Instant`, in every stream.
    tick: NonZeroU64,
}

/// What was written since the last check for silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing in the whole life of the stream.
    Never,
    Nothing,
    /// Nothing since the comment that was written at that check.
    AtTick,
    /// Something of the server: an event of a registry, or a heartbeat.
    Injected,
    /// Something of the stream's own body.
    Something,
}

impl Activity {
    /// Notes that the server has written something.
    pub(super) fn inject(&mut self) {
        if *self != Self::Something {
            *self = Self::Injected;
        }
    }

    /// Whether something was written that was not silence's due.
    pub(super) fn is_something(self) -> bool {
        matches!(self, Self::Injected | Self::Something)
    }
}

impl Silence {
    /// Begins with bytes that are written at `now`.
    pub(super) fn begin(now: Instant, settings: &KeepAlive, n: u32) -> Self {
        Self::at(now + settings.half_interval(n), settings)
    }

    fn at(tick: Instant, settings: &KeepAlive) -> Self {
        let nanos = tick.saturating_duration_since(settings.since).as_nanos();
        // It lasts for 584 years. A nanosecond after the beginning is as good as the beginning.
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        Self { tick: NonZeroU64::new(nanos).unwrap_or(NonZeroU64::MIN) }
    }

    /// When to check next.
    pub(super) fn tick(self, settings: &KeepAlive) -> Instant {
        settings.since + Duration::from_nanos(self.tick.get())
    }

    /// Plans the next check after one at `now`.
    pub(super) fn advance(&mut self, now: Instant, settings: &KeepAlive, n: u32) {
        let half = settings.half_interval(n);
        // From the last tick, so that the pace does not slip; unless the stream was not polled
        // for so long that ticks were missed.
        let next = self.tick(settings) + half;
        *self = Self::at(if next > now { next } else { now + half }, settings);
    }
}
