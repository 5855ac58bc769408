//! When a stream has been silent for too long: a keepalive is due, or its body is given up.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use super::splitter::Room;
use super::spread::Retry;
use super::{Close, KeepAlive, Settings};
use crate::wire::CloseReason;

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

/// Whether the body was polled before a timeout is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// The body was polled and has nothing.
    Pending,
    /// The body may have data. Then the stream is not silent, and no comment is written.
    Unknown,
}

/// What the timeouts of a stream depend on when they are checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamNow<'a> {
    pub(super) settings: &'a Settings,
    /// The number of the stream.
    pub(super) n: u32,
    pub(super) now: Instant,
    pub(super) body: BodyState,
    pub(super) room: Room,
    /// How many events were counted.
    pub(super) events: u64,
    pub(super) silence: Option<Silence>,
    pub(super) activity: Activity,
}

/// How long the stream's own body may still give nothing.
#[derive(Debug)]
pub(super) struct Patience {
    /// When the stream is given up, unless the body gives something.
    ends: Instant,
    /// The body gave a part of an event, which is held.
    is_fed: bool,
}

impl Patience {
    pub(super) fn begin(now: Instant, limit: Duration) -> Self {
        Self { ends: now + limit, is_fed: false }
    }

    /// Notes that the body gave something.
    pub(super) fn feed(&mut self) {
        self.is_fed = true;
    }

    /// When to check next. It is checked whenever silence is, too.
    pub(super) fn next(&self) -> Instant {
        self.ends
    }

    /// Orders the end of a stream whose body gives nothing for too long.
    pub(super) fn check(&mut self, stream: &StreamNow<'_>) -> Option<Close<'static>> {
        let StreamNow { settings, n, now, body, silence, activity, .. } = *stream;
        let (silence, keep_alive) = silence.zip(settings.keep_alive.as_ref())?;
        let limit = keep_alive.give_up_after?;
        let tick = silence.tick(keep_alive);
        // While a client reads nothing its stream is not polled, and the body cannot give anything.
        let was_away = now > tick + keep_alive.half_interval(n);
        let checks = tick <= now || self.ends <= now;
        if checks && (was_away || self.is_fed || activity == Activity::Something) {
            *self = Self::begin(now, limit);
        } else if self.ends <= now && body == BodyState::Pending {
            let farewell = Cow::Owned(settings.on_error.clone().unwrap_or_default());
            let retry = Some(Retry::nth(n.into(), &settings.error_retry));
            let reason = CloseReason::Timeout;
            return Some(Close { reason, farewell, retry, at: now, cut_at: Some(now) });
        }
        None
    }
}
