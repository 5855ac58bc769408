//! Keeps idle event streams open.

use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::layer_setting::LayerSetting;
use crate::engine::{Heartbeat, Injection, KeepAlive, MAX_TIMER, MIN_TIMER};
use crate::plan::{Plan, Setting};
use crate::service::SseService;
use crate::sync::now;
use crate::wire::{Comment, Event, EventName};

/// Layer that writes a comment into streams that have been silent for a while.
///
/// Proxies and load balancers close connections on which nothing is sent, often after 30 or 60
/// seconds. Clients skip comments, so pages see nothing of them. A stream also begins with one:
/// some proxies hold the response's head back until its first body byte.
///
/// A comment is written between two events and never into one, in the stream's own line end: an
/// event that is not complete is held back, and the comment goes before it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use axum::{Router, routing::get};
/// use tower_sse::KeepAliveLayer;
///
/// let app: Router = Router::new()
///     .route("/orders", get(orders))
///     .route("/raw", get(orders).layer(KeepAliveLayer::off()))
///     .layer(KeepAliveLayer::every(Duration::from_secs(15)));
/// # async fn orders() {}
/// ```
///
/// # Differences from `axum::response::sse::KeepAlive`
///
/// That one belongs to axum's own `Sse` response. This layer works on any body that is served as
/// `text/event-stream`, a proxied one too, and is set per router or route.
#[derive(Clone, Debug)]
#[must_use]
pub struct KeepAliveLayer(LayerSetting<KeepAlive>);

impl KeepAliveLayer {
    /// Writes a comment when a stream is silent for `interval`.
    ///
    /// Silence never lasts longer than the interval. It is looked for twice in an interval, so
    /// that events cost next to nothing; the comment may come after half of it. An interval of
    /// zero is as good as [`off`](Self::off).
    ///
    /// 15 seconds, which [`SseLayer`](crate::SseLayer) has, is half of the shortest limit that
    /// common proxies have.
    pub fn every(interval: Duration) -> Self {
        Self(LayerSetting::on(KeepAlive::every(interval, now())))
    }

    /// Writes none, whatever a layer further out asked for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Shortens each stream's interval by a share of its own, up to `jitter` (0 to 1; default 0.1).
    ///
    /// Streams that began together would otherwise all be written to at the same moments. What is
    /// out of range is taken as the nearest value in it, and what is not a number as zero.
    pub fn jitter(self, jitter: f32) -> Self {
        let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
        Self(self.0.change(|settings| settings.jitter = jitter))
    }

    /// Writes `text` in the comment instead of nothing.
    pub fn comment(self, text: impl Into<Comment>) -> Self {
        let text = text.into();
        Self(self.0.change(|settings| settings.set_comment(text.as_str())))
    }

    /// Also sends the event `name`, with `{}` as data and without an id, at a steady pace.
    ///
    /// It is for pages that watch whether their stream is alive: browsers do not show them comments.
    /// Disabled by default, and by an interval of zero.
    pub fn heartbeat(self, name: impl Into<EventName>, interval: Duration) -> Self {
        let event = Arc::new(Injection::new(Event::new().event(name).data("{}")));
        let every = interval.clamp(MIN_TIMER, MAX_TIMER);
        let heartbeat = (!interval.is_zero()).then_some(Heartbeat { every, event });
        Self(self.0.change(|settings| settings.heartbeat = heartbeat))
    }

    pub(super) fn setting(&self) -> Setting<KeepAlive> {
        self.0.setting()
    }
}

impl<S> Layer<S> for KeepAliveLayer {
    type Service = SseService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(inner, |keep_alive| Plan { keep_alive, ..Plan::default() })
    }
}
