//! [`KeepAliveLayer`]: comments that keep idle streams open.

use std::sync::Arc;
use std::time::Duration;

use super::{LayerSetting, layer_of_setting};
use crate::engine::{Heartbeat, Injection, MAX_TIMER, MIN_TIMER, Signal};
use crate::plan::KeepAliveSetting;
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
pub struct KeepAliveLayer(LayerSetting<KeepAliveSetting>);

layer_of_setting!(KeepAliveLayer, keep_alive: KeepAliveSetting);

impl KeepAliveLayer {
    /// Writes a comment when a stream is silent for as long as its [`Dialect`](crate::Dialect)
    /// says: 15 seconds by default, half of the shortest limit that common proxies have.
    pub fn new() -> Self {
        Self(LayerSetting::on(KeepAliveSetting::default()))
    }

    /// Writes a comment when a stream is silent for `interval`.
    ///
    /// Silence never lasts longer than the interval. The stream checks for it twice an interval, so
    /// that an event costs next to nothing, and the comment may come after half an interval. An
    /// interval of zero means [`off`](Self::off).
    pub fn every(interval: Duration) -> Self {
        let interval = Some(interval);
        Self(LayerSetting::on(KeepAliveSetting { interval, ..KeepAliveSetting::default() }))
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
        Self(self.0.change(|settings| settings.jitter = Some(jitter)))
    }

    /// Writes `text` in the comment instead of nothing.
    pub fn comment(self, text: impl Into<Comment>) -> Self {
        let text = text.into().as_str().to_owned();
        self.signal(|_| Signal::Comment(text))
    }

    /// Writes a blank line after the comment, which makes it a block: `:\n\n`.
    ///
    /// Some clients read blocks and not lines, and take a lone comment for a part of the next
    /// event. Others take a block without data for an empty event once they have seen an id, and
    /// fail on it: among them openai-python 3.52, anthropic-python, httpx-sse 0.4.3 and
    /// fetch-event-source 2.0.1. By default there is no blank line.
    pub fn block(self) -> Self {
        self.signal(|signal| match signal {
            Some(Signal::Comment(text) | Signal::Block(text)) => Signal::Block(text),
            Some(Signal::Event(_)) | None => Signal::Block(String::new()),
        })
    }

    /// Writes `event` instead of a comment, for clients that wait for the next event and do not see
    /// comments.
    ///
    /// An id that it has is not written, and it is not counted as an event. It is written into
    /// silence only: for a steady pace see [`heartbeat`](Self::heartbeat).
    pub fn event(self, event: Event) -> Self {
        self.signal(|_| Signal::Event(event))
    }

    fn signal(self, signal: impl FnOnce(Option<Signal>) -> Signal) -> Self {
        Self(self.0.change(|settings| settings.signal = Some(signal(settings.signal.take()))))
    }

    /// Ends a stream whose own body gives nothing for `limit`, not even a part of an event.
    ///
    /// A keepalive shows that this server is there. It must not hide for ever that the upstream is
    /// not. The stream ends as one whose body fails, with the error of its
    /// [`Dialect`](crate::Dialect), which is a close event with the reason `timeout` by default. A
    /// [`farewell_on_error`](crate::ShutdownLayer::farewell_on_error) is sent in its place.
    ///
    /// It ends after `limit` at the earliest and half an interval later at the latest. The time in
    /// which its client reads nothing does not count. Disabled by zero and by default, except in
    /// dialects whose keepalive is an event.
    pub fn give_up_after(self, limit: Duration) -> Self {
        Self(self.0.change(|settings| settings.give_up_after = Some(limit)))
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
        Self(self.0.change(|settings| settings.line = Some(line.as_ref().to_owned())))
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

impl Default for KeepAliveLayer {
    fn default() -> Self {
        Self::new()
    }
}
