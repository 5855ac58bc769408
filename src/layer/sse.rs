//! All layers in one.

use std::time::Duration;

use tower_layer::Layer;

use super::{EventIdLayer, KeepAliveLayer, NoBufferLayer, RegistryLayer, ShutdownLayer};
use crate::plan::{Plan, Setting};
use crate::service::SseService;

/// All layers in one value.
///
/// [Keepalive](KeepAliveLayer) every 15 seconds and [no buffering](NoBufferLayer) are on; the rest
/// is opt-in. It does what the single layers do, one upon the other in any order, and costs
/// ordinary responses less.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_sse::{EventIdLayer, Registry, Shutdown, SseLayer};
///
/// let (registry, shutdown) = (Registry::new(), Shutdown::new());
/// let app: Router = Router::new().route("/events", get(events)).layer(
///     SseLayer::new().event_ids(EventIdLayer::sequential()).registry(registry).shutdown(shutdown),
/// );
/// # async fn events() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SseLayer(Plan);

impl SseLayer {
    /// Keepalive every 15 seconds and no buffering.
    pub fn new() -> Self {
        Self(Plan {
            keep_alive: KeepAliveLayer::every(KEEP_ALIVE).into_setting(),
            no_buffer: NoBufferLayer::new().into_setting(),
            ..Plan::default()
        })
    }

    /// Silences all that layers further out asked for.
    pub fn off() -> Self {
        Self(Plan {
            keep_alive: Setting::Off,
            event_ids: Setting::Off,
            no_buffer: Setting::Off,
            registry: Setting::Off,
            shutdown: Setting::Off,
            hold_limit: None,
        })
    }

    /// Sets when silent streams are written to, or that they are not.
    pub fn keep_alive(mut self, layer: KeepAliveLayer) -> Self {
        self.0.keep_alive = layer.into_setting();
        self
    }

    /// Sets the ids of events.
    pub fn event_ids(mut self, layer: EventIdLayer) -> Self {
        self.0.event_ids = layer.into_setting();
        self
    }

    /// Sets what proxies are asked, or that they are not.
    pub fn no_buffer(mut self, layer: NoBufferLayer) -> Self {
        self.0.no_buffer = layer.into_setting();
        self
    }

    /// Sets where streams are listed: a [`Registry`](crate::Registry), or a layer with labels.
    pub fn registry(mut self, layer: impl Into<RegistryLayer>) -> Self {
        self.0.registry = layer.into().into_setting();
        self
    }

    /// Sets what ends streams: a [`Shutdown`](crate::Shutdown), or a layer with a farewell.
    pub fn shutdown(mut self, layer: impl Into<ShutdownLayer>) -> Self {
        self.0.shutdown = layer.into().into_setting();
        self
    }

    /// Sets the length in bytes up to which an event is held back until it is whole; by default
    /// 64 KiB.
    ///
    /// A longer event passes as it comes. While it does, nothing can be written into the stream,
    /// and a drain that cannot wait for its end cuts it. The limit bounds the memory of a stream.
    pub fn hold_limit(mut self, bytes: usize) -> Self {
        self.0.hold_limit = Some(bytes);
        self
    }
}

impl Default for SseLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SseLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SseService::new(inner, self.0.clone())
    }
}

/// Half of the shortest idle limit that common proxies have.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
