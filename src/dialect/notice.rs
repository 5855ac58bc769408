//! What has to be said to a client, before it is put into the words of a dialect.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::JsonRpcId;
use crate::wire::{CloseReason, json_string};

/// What has to be said to a client whose stream ends or is refused.
///
/// A [`Dialect`](crate::Dialect) puts it into words. The status is that of a refusal. In a stream,
/// whose head is sent long before, it is what a dialect chooses its words by.
///
/// # Examples
///
/// ```
/// use http::StatusCode;
/// use tower_sse::{CloseReason, Notice};
///
/// let notice = Notice::new(CloseReason::Limit);
/// assert_eq!(notice.status, StatusCode::TOO_MANY_REQUESTS);
/// assert_eq!(notice.message, "too many streams are open");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// Why the stream ends or is refused.
    pub reason: CloseReason,
    /// The HTTP status that says the same.
    pub status: StatusCode,
    /// The reason in plain English. It tells nothing of the server's insides.
    pub message: Cow<'static, str>,
    /// How long the client is to wait before it comes back. `None` if it is not to come back, or if
    /// any time will do.
    pub retry: Option<Duration>,
    /// The JSON of an answer that came too late to be the response, since an
    /// [`EarlyHeadLayer`](crate::EarlyHeadLayer) has sent its head. The status is that of the
    /// answer then. A dialect passes it on if it is an error of its API.
    pub answer: Option<Arc<str>>,
    /// The id of the request of JSON-RPC that this responds to, if the dialect was [told
    /// it](crate::Dialect::json_rpc_id).
    pub json_rpc_id: Option<JsonRpcId>,
}

impl Notice {
    /// What is said for this reason.
    ///
    /// | reason | status |
    /// | --- | --- |
    /// | `Shutdown`, `Draining`, `Kicked`, `Rotated`, `Idle` | 503 |
    /// | `Limit`, `Replaced` | 429 |
    /// | `Expired` | 401 |
    /// | `Stopped` | 410 |
    /// | `Error` | 500 |
    /// | `Timeout` | 504 |
    /// | `Finished` | 200 |
    #[must_use]
    pub fn new(reason: CloseReason) -> Self {
        let status = match reason {
            CloseReason::Shutdown
            | CloseReason::Draining
            | CloseReason::Kicked
            | CloseReason::Rotated
            | CloseReason::Idle => StatusCode::SERVICE_UNAVAILABLE,
            CloseReason::Limit | CloseReason::Replaced => StatusCode::TOO_MANY_REQUESTS,
            CloseReason::Expired => StatusCode::UNAUTHORIZED,
            CloseReason::Stopped => StatusCode::GONE,
            CloseReason::Error => StatusCode::INTERNAL_SERVER_ERROR,
            CloseReason::Timeout => StatusCode::GATEWAY_TIMEOUT,
            CloseReason::Finished => StatusCode::OK,
        };
        let message = Cow::Borrowed(reason.message());
        Self { reason, status, message, retry: None, answer: None, json_rpc_id: None }
    }

    /// A response with the status of this notice, for [`DialectBuilder::refusal`].
    ///
    /// [`DialectBuilder::refusal`]: crate::DialectBuilder::refusal
    #[must_use]
    pub fn response(&self, content_type: HeaderValue, body: impl Into<Bytes>) -> Response<Bytes> {
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    /// A response with the status of this notice and a body of JSON.
    pub(super) fn json_response(&self, body: String) -> Response<Bytes> {
        self.response(HeaderValue::from_static("application/json"), body)
    }

    /// An [error](https://www.jsonrpc.org/specification#error_object) that responds to the request.
    /// "If there was an error in detecting the id in the Request object [..], it MUST be Null."
    pub(super) fn json_rpc_error(&self) -> String {
        let id = self.json_rpc_id.as_ref().map_or("null", JsonRpcId::as_json);
        // `Internal error` where something failed, else the first of the codes that servers may
        // choose.
        let code = match self.status.as_u16() {
            500 | 502 | 504 => -32603,
            _ => -32000,
        };
        let message = json_string(&self.message);
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
    }

    /// The JSON of a late answer that begins as errors of the API do, without white space: it is
    /// passed on, since it says more than its status does.
    pub(super) fn own_error(&self, beginning: &str) -> Option<&str> {
        let answer = self.answer.as_deref()?;
        let bytes = answer.bytes().filter(|byte| !byte.is_ascii_whitespace());
        bytes.take(beginning.len()).eq(beginning.bytes()).then(|| answer.trim())
    }
}
