//! [`KeepAliveLayer`]: comments that keep idle streams open.

use std::sync::Arc;
use std::time::Duration;

use super::{LayerSetting, layer_of_setting};
use crate::engine::{Heartbeat, Injection, KeepAlive, MAX_TIMER, MIN_TIMER};

use crate::sync::now;
use crate::wire::{Comment, Event, EventName};

/// Layer that writes a comment into streams that are silent.
///
/// Proxies and load balancers close connections on which nothing is sent, often after 30 or 60
/// seconds. Clients skip comments, so pages do not see them. A stream also begins with a comment:
/// some proxies hold the head of a response back until its first body byte.
///
/// A comment is written between two events and never into one, with the line end of the stream. An
/// event that is not complete is held back, and the comment goes before it.
///
/// Streams of JSON have no comments. Nothing is written into them unless
/// [`json_line`](Self::json_line) says what.
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

layer_of_setting!(KeepAliveLayer, keep_alive: KeepAlive);

impl KeepAliveLayer {
    /// Writes a comment when a stream is silent for `interval`.
    ///
    /// Silence never lasts longer than the interval. The stream checks for it twice an interval, so
    /// that an event costs next to nothing, and the comment may come after half an interval. An
    /// interval of zero means [`off`](Self::off).
    ///
    /// The default of [`SseLayer`](crate::SseLayer) is 15 seconds: half of the shortest limit that
    /// common proxies have.
    pub fn every(interval: Duration) -> Self {
        Self(LayerSetting::on(KeepAlive::every(interval, now())))
    }

    /// Writes no comments, whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }

    /// Shortens the interval of each stream by a share of its own, up to `jitter`; by default 0.1.
    ///
    /// Streams that began together would otherwise all be written to at the same moments. A value
    /// below 0 or above 1 counts as 0 or 1, and NaN as 0.
    pub fn jitter(self, jitter: f32) -> Self {
        let jitter = if jitter.is_nan() { 0.0 } else { jitter.clamp(0.0, 1.0) };
        Self(self.0.change(|settings| settings.jitter = jitter))
    }

    /// Writes `text` in the comment instead of nothing.
    pub fn comment(self, text: impl Into<Comment>) -> Self {
        let text = text.into();
        Self(self.0.change(|settings| settings.set_comment(text.as_str())))
    }

    /// Also writes `line` into streams of JSON that are silent: `""` for a blank line, which
    /// parsers of lines skip, or a value that clients of the stream know, such as
    /// `{"type":"BOOKMARK"}`.
    ///
    /// By default nothing is written into them, because not every client skips what is no value of
    /// its own. A line end in `line` becomes a space. Into an `application/json-seq` a record is
    /// written, and for a blank line its separator alone, which parsers skip there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::KeepAliveLayer;
    ///
    /// let watch =
    /// KeepAliveLayer::every(Duration::from_secs(15)).json_line(r#"{"type":"BOOKMARK"}"#);
    /// ```
    pub fn json_line(self, line: impl AsRef<str>) -> Self {
        Self(self.0.change(|settings| settings.set_line(line.as_ref())))
    }

    /// Also sends the event `name`, with `{}` as data and without an id, at a steady pace.
    ///
    /// It is for pages that watch whether their stream is alive: browsers do not show them
    /// comments. Disabled by default, and by an interval of zero.
    pub fn heartbeat(self, name: impl Into<EventName>, interval: Duration) -> Self {
        let event = Arc::new(Injection::new(Event::new().event(name).data("{}")));
        let every = interval.clamp(MIN_TIMER, MAX_TIMER);
        let heartbeat = (!interval.is_zero()).then_some(Heartbeat { every, event });
        Self(self.0.change(|settings| settings.heartbeat = heartbeat))
    }
}
