//! [`RotationLayer`]: an end for streams that are too old or idle.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{LayerSetting, layer_of_setting};
use crate::engine::{Farewell, Rotation};
use crate::error::clamp_retry;

/// Layer that ends streams that are too old or idle, so that clients come back for a new one.
///
/// Some proxies cut every response after a time that no keepalive changes: Envoy after its route
/// timeout, 15 seconds by default, varnish after 600, Apache Traffic Server after 900. Behind most
/// of them a cut looks like an end. A stream that ends by itself before that says so, after a whole
/// event. Long streams also keep what they were opened with for as long as they live: the rights of
/// a user, or a place on a server that has become crowded.
///
/// The farewell is an event `close` whose data gives the reason, with a small `retry` and, as `id`,
/// the position of the stream, so that nothing is missed:
///
/// | data | the stream |
/// | --- | --- |
/// | `{"reason":"rotated"}` | has reached its [`max_age`](Self::max_age) |
/// | `{"reason":"idle"}` | had no event of its own for [`idle`](Self::idle) |
/// | `{"reason":"expired"}` | was opened with a credential that has expired, see [`Expiry`](crate::Expiry) |
///
/// A page that closes its `EventSource` at any `close` event does not come back. It has to look at
/// the reason, or the layer has to use [`Farewell::reconnect`].
///
/// A stream in the middle of an event that is too long to be held ends after it. Nothing cuts the
/// event.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use tower_sse::{Farewell, RotationLayer};
///
/// let rotation = RotationLayer::new()
///     .max_age(Duration::from_secs(540))
///     .farewell(Farewell::reconnect());
/// let app: Router = Router::new()
///     .route("/feed", get(events))
///     .route("/answer", get(events).layer(RotationLayer::off()))
///     .layer(rotation);
/// # async fn events() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RotationLayer(LayerSetting<Rotation>);

layer_of_setting!(RotationLayer, rotation: Rotation);

impl RotationLayer {
    /// Ends no streams except those with an [`Expiry`](crate::Expiry), until an age or a limit is
    /// set.
    pub fn new() -> Self {
        Self(LayerSetting::on(Rotation::default()))
    }

    /// Ends no streams, also not at an expiry, whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Ends a stream at an age of 80 to 100 % of `age`, counted from its first poll. Disabled by
    /// default and by zero.
    ///
    /// Each stream has an age of its own in that range. Streams that began together, for instance
    /// when a server started, would otherwise come back together for ever. No stream gets older
    /// than `age`, which can be a little less than what a proxy allows.
    pub fn max_age(self, age: Duration) -> Self {
        let age = (!age.is_zero()).then_some(age);
        Self(self.0.change(|settings| settings.max_age = age))
    }

    /// Ends a stream that had no event of its own for `limit`. Disabled by default and by zero.
    ///
    /// Only events with data from the stream's own body count: no keepalives, heartbeats or events
    /// of a [`Registry`](crate::Registry), and no comments, so an upstream that only keeps alive is
    /// idle. A stream in the middle of an event that is too long to be held is not idle.
    ///
    /// The stream checks eight times in `limit`, though not more often than once a millisecond, so
    /// it ends after `limit` at the earliest and an eighth of it later at the latest. It reads
    /// every byte, as [counting events](crate::RegistryBuilder::count_events) does.
    pub fn idle(self, limit: Duration) -> Self {
        let limit = (!limit.is_zero()).then_some(limit);
        Self(self.0.change(|settings| settings.idle = limit))
    }

    /// Sets how long clients are told to wait before they come back, each its own time from this
    /// range; by default from 100 milliseconds to one second.
    ///
    /// The server is still there, so nothing has to be waited for, but clients whose streams end
    /// together should not come back at the same moment. A start below a millisecond counts as a
    /// millisecond, with which clients at least pause, and an end before the start as the start.
    pub fn retry(self, retry: RangeInclusive<Duration>) -> Self {
        Self(self.0.change(|settings| settings.retry = clamp_retry(retry)))
    }

    /// Sets the last event of a stream. By default it is what the
    /// [`Dialect`](crate::Dialect) says, which is [`Farewell::close`] without one.
    pub fn farewell(self, farewell: Farewell) -> Self {
        Self(self.0.change(|settings| settings.farewell = farewell))
    }
}

impl Default for RotationLayer {
    fn default() -> Self {
        Self::new()
    }
}
