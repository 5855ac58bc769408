//! [`CloseAtEndLayer`]: a close event for streams that come to their own end.

use super::{LayerSetting, layer_of_setting};
use crate::engine::{CloseReason, Farewell};

/// Layer that writes a close event when a stream's own body comes to its end.
///
/// An `EventSource` takes the end of a response for a lost connection and opens a new one, so a
/// page asks for a stream that is over again and again. The event tells it that nothing is missing:
///
/// ```text
/// event: close
/// retry: 86400000
/// data: {"reason":"finished"}
/// ```
///
/// The page has to act on it: with `source.addEventListener("close", () => source.close())`,
/// `sse-close="close"` in htmx 2, or `hx-sse:close="close"` in htmx 4. The `retry` of 24 hours is
/// for clients that do not: most of them wait that long before they ask again, also those that no
/// status stops. Clients that have already seen an id get it again as the event's `id`.
///
/// Off by default, since not every client expects an event of this name: streams of chat
/// completions end with a `[DONE]` of their own.
///
/// Nothing is written if the body fails or ends in the middle of an event (see
/// [`ShutdownLayer::farewell_on_error`](crate::ShutdownLayer::farewell_on_error)), or if the server
/// ends the stream, which then has a close event with another reason.
///
/// It is for streams that cannot be resumed. With a [`ResumeLayer`](crate::ResumeLayer) the last
/// event needs an id by which a client that returns is recognised: set
/// [`ResumeLayer::close_event`](crate::ResumeLayer::close_event) there instead.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_sse::{CloseAtEndLayer, Farewell, SseLayer};
///
/// let app: Router = Router::new()
///     .route("/import/progress", get(progress))
///     .route("/v1/chat/completions", get(progress).layer(CloseAtEndLayer::off()))
///     .layer(SseLayer::new().close_at_end(Farewell::close()));
/// # async fn progress() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct CloseAtEndLayer(LayerSetting<Farewell>);

layer_of_setting!(CloseAtEndLayer, close_at_end: Farewell);

impl CloseAtEndLayer {
    /// Writes `farewell` at the end of each stream. An event of it gets the `retry` of 24 hours if
    /// it has data and no `retry` of its own.
    pub fn new(farewell: Farewell) -> Self {
        Self(LayerSetting::on(farewell.for_reason(CloseReason::Finished)))
    }

    /// Writes nothing, whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }
}

/// Writes what the [`Dialect`](crate::Dialect) says, which is [`Farewell::close`] by default.
impl Default for CloseAtEndLayer {
    fn default() -> Self {
        Self::new(Farewell::default())
    }
}

impl From<Farewell> for CloseAtEndLayer {
    fn from(farewell: Farewell) -> Self {
        Self::new(farewell)
    }
}
