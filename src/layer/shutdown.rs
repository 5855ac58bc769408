//! Ends streams when the server goes away.

use std::time::Duration;

use tower_layer::Layer;

use super::layer_setting::LayerSetting;
use crate::engine::{CloseReason, Farewell};
use crate::plan::{Plan, Setting, ShutdownSetting};
use crate::service::SseService;
use crate::shutdown::Shutdown;

/// Layer by which a [`Shutdown`] ends streams, each with a farewell behind its last whole event.
///
/// # Examples
///
/// A route whose answers cannot be resumed may finish them first:
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

impl ShutdownLayer {
    /// Ends streams when `shutdown` is triggered, spread over its window.
    pub fn new(shutdown: Shutdown) -> Self {
        let drain = shutdown.into_drain();
        Self(LayerSetting::on(ShutdownSetting {
            drain,
            farewell: None,
            finish_within: None,
            on_error: None,
        }))
    }

    /// Leaves streams alone, whatever a layer further out asked for.
    ///
    /// A server that shuts down gracefully waits for such a stream until it ends by itself.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Says `farewell` instead of the shutdown's own.
    pub fn farewell(self, farewell: Farewell) -> Self {
        let farewell = farewell.for_reason(CloseReason::Shutdown);
        Self(self.0.change(|settings| settings.farewell = Some(farewell)))
    }

    /// Lets streams end by themselves for up to `limit` after the trigger, instead of ending them
    /// within the window.
    ///
    /// For answers that cannot be resumed, such as those of language models. The shutdown's
    /// deadline holds all the same: shortly before it (at 95 % of it) the farewell is said.
    pub fn finish_within(self, limit: Duration) -> Self {
        Self(self.0.change(|settings| settings.finish_within = Some(limit)))
    }

    /// Says `farewell` when a stream's own body fails, or ends in the middle of an event.
    ///
    /// Without it the failure is passed on, which cuts the connection. For proxies: behind many of
    /// them a cut looks like a clean end, and only an event tells the client. It carries a `retry`
    /// from the shutdown's range, and the stream's place as `id`.
    pub fn farewell_on_error(self, farewell: Farewell) -> Self {
        Self(self.0.change(|settings| settings.on_error = Some(farewell)))
    }

    pub(super) fn setting(&self) -> Setting<ShutdownSetting> {
        self.0.setting()
    }
}

impl From<Shutdown> for ShutdownLayer {
    fn from(shutdown: Shutdown) -> Self {
        Self::new(shutdown)
    }
}

impl<S> Layer<S> for ShutdownLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner, |shutdown| Plan { shutdown, ..Plan::default() })
    }
}
