//! [`JsonRpcId`], the id of a request of JSON-RPC.

use std::fmt;
use std::sync::Arc;

use crate::wire::json_string;

/// The id of a request of [JSON-RPC](https://www.jsonrpc.org/specification#request_object), which
/// is in each response to it.
///
/// It is in the body of the request, which layers do not read. A layer further out that reads it
/// can leave the id in the request's extensions, where [`Dialect::for_request`] finds it.
///
/// # Examples
///
/// ```
/// use axum::body::{Body, Bytes};
/// use axum::extract::Request;
/// use axum::middleware::{self, Next};
/// use axum::response::Response;
/// use axum::routing::post;
/// use axum::{RequestExt, Router};
/// use tower_sse::{Dialect, JsonRpcId, SseLayer};
///
/// async fn read_id(request: Request, next: Next) -> Response {
///     let (mut parts, body) = request.with_limited_body().into_parts();
///     let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
///     let id = match serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default()["id"] {
///         serde_json::Value::String(ref id) => Some(JsonRpcId::from(&**id)),
///         ref id => id.as_i64().map(JsonRpcId::from),
///     };
///     parts.extensions.insert(id);
///     next.run(Request::from_parts(parts, Body::from(body))).await
/// }
///
/// let dialect = Dialect::for_request(|request| {
///     let id = request.extensions.get::<Option<JsonRpcId>>().cloned().flatten();
///     Dialect::a2a().json_rpc_id(id)
/// });
/// let app: Router = Router::new()
///     .route("/agent", post(answer))
///     .layer(SseLayer::new().dialect(dialect))
///     .layer(middleware::from_fn(read_id));
/// # async fn answer(_: Bytes) {}
/// ```
///
/// [`Dialect::for_request`]: crate::Dialect::for_request
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonRpcId(Arc<str>);

impl From<i64> for JsonRpcId {
    fn from(id: i64) -> Self {
        Self(id.to_string().into())
    }
}

impl From<&str> for JsonRpcId {
    fn from(id: &str) -> Self {
        Self(json_string(id).into())
    }
}

impl JsonRpcId {
    pub(super) fn as_json(&self) -> &str {
        &self.0
    }
}

/// The id as JSON.
impl fmt::Display for JsonRpcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
