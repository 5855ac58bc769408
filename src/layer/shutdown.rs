//! [`ShutdownLayer`]: a farewell for streams when the server shuts down.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::{LayerSetting, layer_of_setting};
use crate::dialect::Notice;
use crate::engine::{CloseReason, Farewell};
use crate::plan::{FinishWithin, Refusals, RequestFn, ShutdownSetting};
use crate::shutdown::Shutdown;

/// Layer that has a [`Shutdown`] end streams, each with a farewell after its last whole event.
///
/// A stream that passes layers with two shutdowns, for instance of a server and of a tenant, ends
/// with the first that drains, and both wait for it.
///
/// # Examples
///
/// Responses of a route that cannot be resumed may finish first:
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::{get, post}};
/// use tower_sse::{Farewell, Shutdown, ShutdownLayer};
///
/// let shutdown = Shutdown::new();
/// let finish = ShutdownLayer::new(shutdown.clone()).finish_within(Duration::from_secs(8));
/// let app: Router = Router::new()
///     .route("/feed", get(events))
///     .route("/answer", post(events).layer(finish))
///     .layer(ShutdownLayer::new(shutdown).farewell(Farewell::reconnect()));
/// # async fn events() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ShutdownLayer(LayerSetting<ShutdownSetting>);

layer_of_setting!(ShutdownLayer, shutdown: ShutdownSetting);

impl ShutdownLayer {
    /// Ends streams when `shutdown` is triggered.
    pub fn new(shutdown: Shutdown) -> Self {
        let drain = shutdown.into_drain();
        Self(LayerSetting::on(ShutdownSetting {
            drain,
            farewell: None,
            finish_within: FinishWithin::default(),
            on_error: None,
            refusal: None,
        }))
    }

    /// Ends no streams, whatever a layer further out asks for.
    ///
    /// A server that shuts down gracefully waits for such a stream until it ends by itself.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Sets the last event of the streams; by default the farewell of the shutdown.
    pub fn farewell(self, farewell: Farewell) -> Self {
        let farewell = farewell.for_reason(CloseReason::Shutdown);
        Self(self.0.change(|settings| settings.farewell = Some(farewell)))
    }

    /// Lets streams go on for up to `limit` after the trigger, instead of ending them one after
    /// the other.
    ///
    /// This is for responses that cannot be resumed, such as those of language models. The deadline
    /// of the shutdown still holds: shortly before it, at 95 %, the farewell is sent.
    pub fn finish_within(self, limit: Duration) -> Self {
        Self(self.0.change(|settings| settings.finish_within.of_all = Some(limit)))
    }

    /// Decides by the request for how long its stream may go on after the trigger, as
    /// [`finish_within`](Self::finish_within) does for all. Where the function returns `None`, what
    /// is set for all holds; by default the stream ends when it is its turn.
    ///
    /// This is for paths on which some streams can be resumed and others cannot. In MCP the stream
    /// of a `GET` can go at once, and that of a `POST` ends with the result of a call.
    ///
    /// The function is called for every request, before the handler. If it panics, it counts as
    /// `None`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use http::Method;
    /// use tower_sse::{Shutdown, ShutdownLayer};
    ///
    /// let layer = ShutdownLayer::new(Shutdown::new()).finish_within_for(|request| {
    ///     (request.method == Method::POST).then_some(Duration::from_secs(8))
    /// });
    /// ```
    pub fn finish_within_for<F>(self, limit: F) -> Self
    where
        F: Fn(&Parts) -> Option<Duration> + Send + Sync + 'static,
    {
        let limit = RequestFn::new(limit);
        Self(self.0.change(|settings| settings.finish_within.of_request = Some(limit)))
    }

    /// Makes the response to a request that is refused in a drain, where the function returns one,
    /// as [`LimitLayer::refusal`](crate::LimitLayer::refusal) does above a limit.
    pub fn refusal<F>(self, refusal: F) -> Self
    where
        F: Fn(&Notice, &Parts) -> Option<Response<Bytes>> + Send + Sync + 'static,
    {
        let refusal = Refusals::new(refusal);
        Self(self.0.change(|settings| settings.refusal = Some(refusal)))
    }

    /// Sends `farewell` when a stream's own body fails or ends in the middle of an event. By
    /// default the failure is passed on, which cuts the connection.
    ///
    /// This is for streams behind proxies: behind many of them a cut looks like a clean end, and
    /// only an event tells the client. The event has a `retry` from the range of the shutdown and,
    /// as `id`, the position of the stream.
    pub fn farewell_on_error(self, farewell: Farewell) -> Self {
        Self(self.0.change(|settings| settings.on_error = Some(farewell)))
    }
}

impl From<Shutdown> for ShutdownLayer {
    fn from(shutdown: Shutdown) -> Self {
        Self::new(shutdown)
    }
}
