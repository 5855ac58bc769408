//! The gateway's own errors, in the words of each API.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tower_sse::{CloseReason, Dialect, Notice};

/// An error as the API of this dialect has it.
pub(super) fn error(dialect: &Dialect, status: StatusCode, message: &'static str) -> Response {
    let mut notice = Notice::new(CloseReason::Error);
    notice.status = status;
    notice.message = message.into();
    let response = dialect.refusal(&notice);
    response.map_or_else(|| status.into_response(), |response| response.map(Body::from))
}
