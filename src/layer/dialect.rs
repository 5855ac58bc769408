//! [`DialectLayer`]: the form of what the server itself says on a route.

use super::{LayerSetting, layer_of_setting};
use crate::dialect::Dialect;

/// Layer that sets the [`Dialect`] of event streams: what keepalives, farewells and refusals look
/// like.
///
/// It writes nothing by itself, except for one thing: a dialect with last words of its own sends
/// them in place of an error of the stream's body, and the stream then ends as if it were complete.
/// Clients of such an API read the error in the event.
///
/// The dialect that is nearest to the handler holds.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use tower_sse::{Dialect, DialectLayer, SseLayer};
///
/// let app: Router = Router::new()
///     .route("/feed", get(events))
///     .route("/v1/messages", post(events).layer(DialectLayer::new(Dialect::anthropic())))
///     .layer(SseLayer::new());
/// # async fn events() {}
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DialectLayer(LayerSetting<Dialect>);

layer_of_setting!(DialectLayer, dialect: Dialect);

impl DialectLayer {
    /// Has the server speak `dialect`.
    pub fn new(dialect: Dialect) -> Self {
        Self(LayerSetting::on(dialect))
    }

    /// Has the server speak [`Dialect::event_source`], whatever a layer further out asks for.
    pub fn off() -> Self {
        Self(LayerSetting::off())
    }
}

impl From<Dialect> for DialectLayer {
    fn from(dialect: Dialect) -> Self {
        Self::new(dialect)
    }
}
