//! Ends streams for their age.

use std::ops::RangeInclusive;
use std::time::Duration;

use tower_layer::Layer;

use super::layer_setting::LayerSetting;
use crate::engine::{Farewell, Rotation};
use crate::error::clamp_retry;
use crate::plan::{Plan, Setting};
use crate::service::SseService;

/// Layer that ends streams for their age, so that clients come back for a new one.
///
/// Some proxies cut any response after a time, which no keepalive moves: Envoy after its route
/// timeout, 15 seconds by default, varnish after 600, Apache Traffic Server after 900. Behind most
/// of them a cut looks like an end. A stream that ends by itself before says so, behind a whole
/// event. Long streams also keep what they were opened with, for as long as they live: a user's
/// rights, a place on a server that has become a crowded one.
///
/// The farewell is an event `close`, whose data says why, with a small `retry` and the stream's place
/// as `id`, so that nothing is missed:
///
/// | data | the stream |
/// | --- | --- |
/// | `{"reason":"rotated"}` | has come to its [`max_age`](Self::max_age) |
/// | `{"reason":"idle"}` | had no event of its own for [`idle`](Self::idle) |
/// | `{"reason":"expired"}` | was opened on a credential that has ended, see [`Expiry`](crate::Expiry) |
///
/// A page that closes its `EventSource` at any `close` event would not come back. It has to look at
/// the reason, or the layer has to say [`Farewell::reconnect`] instead.
///
/// A stream in the middle of an event that is too long to be held ends behind it; nothing cuts it.
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

impl RotationLayer {
    /// Ends no stream but those that have an [`Expiry`](crate::Expiry), until it is told when.
    pub fn new() -> Self {
        Self(LayerSetting::on(Rotation::default()))
    }

    /// Ends none, whatever a layer further out asked for; not at an expiry either.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Ends a stream at an age of 80 to 100 % of `age`, counted from its first poll; by default at
    /// none. Zero means none.
    ///
    /// Each stream has its own age in that range. Streams that began together, when a server came
    /// up for instance, would otherwise come back together for ever. None is older than `age`, so it
    /// can be a little less than what a proxy allows.
    pub fn max_age(self, age: Duration) -> Self {
        let age = (!age.is_zero()).then_some(age);
        Self(self.0.change(|settings| settings.max_age = age))
    }

    /// Ends a stream that had no event of its own for `limit`; by default none is. Zero means none.
    ///
    /// Only events with data that its own body sent count: no keepalives, heartbeats, or events that
    /// a [`Registry`](crate::Registry) sent, and no comments either, so an upstream that is only kept
    /// alive is idle. In the middle of an event that is too long to be held, a stream is not.
    ///
    /// It is looked for eight times in `limit`, though not more often than every millisecond. So a
    /// stream ends after `limit` at the earliest, and an eighth of it later at the latest. It takes
    /// a look at every byte, as [counting events](crate::RegistryBuilder::count_events) does.
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

    /// Sets the last event of a stream; by default [`Farewell::close`].
    pub fn farewell(self, farewell: Farewell) -> Self {
        Self(self.0.change(|settings| settings.farewell = farewell))
    }

    pub(super) fn setting(&self) -> Setting<Rotation> {
        self.0.setting()
    }
}

impl Default for RotationLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for RotationLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner, |rotation| Plan { rotation, ..Plan::default() })
    }
}
