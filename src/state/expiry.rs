//! The time at which a credential expires, and its streams end.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::engine::MAX_TIMER;
use crate::sync::now;

/// The time at which a credential expires, and at which the stream ends that was opened with it.
///
/// A handler puts it into the extensions of its response. A layer that knows the user puts it into
/// the extensions of the request, further out than the layers of this crate. The earliest of
/// several counts.
///
/// At that time the stream ends after a whole event, with the farewell of the
/// [`RotationLayer`](crate::RotationLayer), which says `{"reason":"expired"}`. If the time has
/// passed when the stream begins, only the farewell is sent.
///
/// Any layer of this crate ends the stream, with the defaults of `RotationLayer` if there is none:
/// an expiry that is silently ignored would be a trap. Only
/// [`RotationLayer::off`](crate::RotationLayer::off) turns it off. Bodies with a content encoding
/// and responses that are not event streams are not ended.
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
    /// Expires at a time of the system's clock.
    ///
    /// The clock is read once, when the stream begins. If it is set later, the stream ends as if it
    /// had not been set.
    #[must_use]
    pub const fn at(moment: SystemTime) -> Self {
        Self(Moment::OnTheWall(moment))
    }

    /// Expires at so many seconds since 1970, as in the claim `exp` of a JSON Web Token.
    ///
    /// Every number is valid. A time that the system's clock cannot hold is never.
    #[must_use]
    pub fn at_unix(seconds: u64) -> Self {
        let moment = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        Self(moment.map_or(Moment::Never, Moment::OnTheWall))
    }

    /// Expires at a time of the monotonic clock.
    #[must_use]
    pub const fn at_instant(moment: Instant) -> Self {
        Self(Moment::OnTheClock(moment))
    }

    /// Expires after so much time from now on. More than a year counts as a year.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self(Moment::OnTheClock(now() + time.min(MAX_TIMER)))
    }

    /// The earlier of two, where there are two.
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

    /// The time on the monotonic clock, which shows `now`.
    pub(crate) fn on_the_clock(self, now: Instant) -> Option<Instant> {
        match self.0 {
            Moment::OnTheWall(moment) => {
                // A time that has passed is now.
                let left = moment.duration_since(SystemTime::now()).unwrap_or_default();
                Some(now + left.min(MAX_TIMER))
            }
            Moment::OnTheClock(moment) => Some(moment),
            Moment::Never => None,
        }
    }
}
