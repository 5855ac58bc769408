//! When a credential ends, and the streams with it that were opened on it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::MAX_TIMER;
use crate::sync::now;

/// When a credential ends, and with it the stream that was opened on it.
///
/// A handler puts it into its response's extensions, or a layer that knows who asks into the
/// request's, further out than the layers of this crate. Of several the earliest counts.
///
/// At that moment the stream ends behind a whole event, with the farewell of the
/// [`RotationLayer`](crate::RotationLayer), which says `{"reason":"expired"}`. If the moment has
/// passed when the stream begins, the farewell is all that is sent.
///
/// Any layer of this crate sees to it, with the defaults of `RotationLayer` if there is none: a
/// credential's end that is passed over without a word would be a trap. Only
/// [`RotationLayer::off`](crate::RotationLayer::off) turns it off. Bodies with a content encoding
/// and responses that are not event streams are not looked into, and not ended.
///
/// # Examples
///
/// ```
/// use axum::{Extension, Router, body::Body, routing::get};
/// use tower_sse::{Expiry, SseLayer};
///
/// // From the claims of a token.
/// let exp = 1_798_761_600;
/// let app: Router = Router::new()
///     .route("/events", get(async move || (Extension(Expiry::at_unix(exp)), events())))
///     .layer(SseLayer::new());
/// # fn events() -> Body { Body::empty() }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry(Moment);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    OnTheWall(SystemTime),
    OnTheClock(Instant),
    Never,
}

impl Expiry {
    /// At a moment of the system's clock.
    ///
    /// It is looked at once, when the stream begins: if the clock is set later, the stream ends as
    /// if it had not been.
    #[must_use]
    pub const fn at(moment: SystemTime) -> Self {
        Self(Moment::OnTheWall(moment))
    }

    /// At so many seconds since 1970, as the `exp` of a JSON Web Token has it.
    ///
    /// Any number will do; one that the system's clock cannot hold is never.
    #[must_use]
    pub fn at_unix(seconds: u64) -> Self {
        let moment = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        Self(moment.map_or(Moment::Never, Moment::OnTheWall))
    }

    /// At a moment of the clock that is never set.
    #[must_use]
    pub const fn at_instant(moment: Instant) -> Self {
        Self(Moment::OnTheClock(moment))
    }

    /// After so long from now on. More than a year counts as a year.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Moment::OnTheClock(now() + time.min(MAX_TIMER)))
    }

    /// The earlier of two, where both are there.
    pub(crate) fn earliest(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        let (Some(first), Some(second)) = (one, other) else {
            return one.or(other);
        };
        let now = now();
        match (first.on_the_clock(now), second.on_the_clock(now)) {
            (Some(one), Some(two)) if two < one => other,
            (None, Some(_)) => other,
            _ => one,
        }
    }

    /// The moment on the clock that shows `now`.
    pub(crate) fn on_the_clock(self, now: Instant) -> Option<Instant> {
        match self.0 {
            Moment::OnTheWall(moment) => {
                // What has passed is now.
                let left = moment.duration_since(SystemTime::now()).unwrap_or_default();
                Some(now + left.min(MAX_TIMER))
            }
            Moment::OnTheClock(moment) => Some(moment),
            Moment::Never => None,
        }
    }
}
