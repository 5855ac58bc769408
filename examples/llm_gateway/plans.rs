//! Who may ask, and how much at a time.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderMap};
use axum::middleware::Next;
use axum::response::Response;
use serde::Deserialize;
use tower_sse::Dialect;

use super::error::error;

/// The owner of a key. A real gateway has them in a database.
#[derive(Clone, Copy, Debug)]
pub(super) struct Customer {
    pub(super) key: &'static str,
    /// How many answers may be open, by the plan that is paid for.
    pub(super) streams: usize,
}

const CUSTOMERS: [Customer; 2] =
    [Customer { key: "small", streams: 2 }, Customer { key: "large", streams: 1_000 }];

impl Customer {
    /// OpenAI's SDKs send a bearer token, and Anthropic's a header of their own.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
        let key = bearer.or_else(|| headers.get("x-api-key")?.to_str().ok())?;
        CUSTOMERS.into_iter().find(|customer| customer.key == key)
    }
}

/// Whether a request asks for a stream.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(from = "Asked")]
pub(super) struct Streams(pub(super) bool);

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default)]
    stream: bool,
}

impl From<Asked> for Streams {
    fn from(asked: Asked) -> Self {
        Self(asked.stream)
    }
}

/// Puts into a request what the layers have to know of it, for which its body is read.
pub(super) async fn admit(
    State(dialect): State<Dialect>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(customer) = Customer::of(&parts.headers) else {
        return error(&dialect, StatusCode::UNAUTHORIZED, "this API key is not known");
    };
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        return error(&dialect, status, "the request is too long");
    };
    parts.extensions.insert(customer);
    // What is no JSON is for the model to refuse.
    parts.extensions.insert(serde_json::from_slice::<Streams>(&body).unwrap_or_default());
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// In bytes. Questions come with documents and pictures.
const MAX_BODY: usize = 16 * 1024 * 1024;
