//! The settings of a drain, and the times that follow from them at the trigger.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::engine::Farewell;
use crate::engine::spread::Spread;

/// The settings of a drain.
#[derive(Clone, Debug)]
pub(crate) struct DrainSettings {
    /// For how long after the trigger streams are served as before.
    pub(crate) notice: Duration,
    /// How many streams end in a second.
    pub(crate) rate: NonZeroU32,
    /// The longest time over which ends are spread.
    pub(crate) window: Duration,
    pub(crate) deadline: Duration,
    pub(crate) retry: RangeInclusive<Duration>,
    /// The range of `retry` ends where the spread of a drain does, if it was not set.
    pub(crate) retry_follows_spread: bool,
    pub(crate) farewell: Farewell,
    /// For how long a client may take nothing. `None` is for ever.
    pub(crate) stall_limit: Option<Duration>,
}

/// The times of a drain, which are decided at its trigger.
#[derive(Debug)]
pub(super) struct DrainSchedule {
    pub(super) begun_at: Instant,
    /// The end of the notice.
    pub(super) closing_at: Instant,
    /// From here on no stream waits for its own end.
    pub(super) last_call: Instant,
    /// From here on nothing waits for the streams.
    pub(super) hard_deadline: Instant,
    /// How many streams were open, and over which time their ends are spread.
    streams: u32,
    pub(super) spread: Duration,
    pub(super) retry: RangeInclusive<Duration>,
}

impl DrainSettings {
    /// Over which time the ends of so many streams are spread.
    fn spread_of(&self, streams: u32) -> Duration {
        let at_rate = Duration::from_secs(streams.into()) / self.rate.get();
        at_rate.min(self.window).min(self.last_call())
    }

    /// When no stream waits any longer for its own end, from the end of the notice on.
    fn last_call(&self) -> Duration {
        self.deadline.mul_f32(LAST_CALL)
    }
}

impl DrainSchedule {
    /// The times of a drain that begins at `now` with so many open streams.
    pub(super) fn new(settings: &DrainSettings, now: Instant, streams: usize) -> Self {
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        let spread = settings.spread_of(streams);
        let retry = if settings.retry_follows_spread {
            let least = *settings.retry.start();
            least..=spread.max(SHORTEST_RETURN).max(least)
        } else {
            settings.retry.clone()
        };
        let closing_at = now + settings.notice;
        Self {
            begun_at: now,
            closing_at,
            last_call: closing_at + settings.last_call(),
            hard_deadline: closing_at + settings.deadline,
            streams,
            spread,
            retry,
        }
    }

    /// When the stream with this number ends, from 1 on.
    pub(super) fn end_of(
        &self,
        n: u32,
        finish_within: Option<Duration>,
        settings: &DrainSettings,
    ) -> Instant {
        if let Some(limit) = finish_within {
            return self.closing_at + limit.min(settings.last_call());
        }
        // Streams that opened during the notice make the spread longer.
        let spread = if n <= self.streams { self.spread } else { settings.spread_of(n) };
        self.closing_at + Spread::nth(n.into()).of(spread)
    }
}

/// The share of the deadline after which no stream waits any longer for its own end: a farewell
/// that is written at the deadline itself comes too late to be sent.
const LAST_CALL: f32 = 0.95;

/// The range of `retry` does not end before this.
const SHORTEST_RETURN: Duration = Duration::from_secs(1);
