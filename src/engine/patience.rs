//! When a stream is given up because its body gives nothing.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::Close;
use super::silence::Activity;
use super::spread::Retry;
use super::stream_now::{BodyState, StreamNow};
use crate::wire::CloseReason;

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
