//! The response to a request whose stream is not served.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, VARY,
};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body;

use super::request::{MadeStreams, RequestInfo, tell};
use crate::body::SseBody;
use crate::driver::{Done, Registrations, StreamLink, trailers};
use crate::engine::restate;
use crate::observe::{StreamObserver, refused};
use crate::plan::Plan;
use crate::state::{Drain, LimitInner};
use crate::wire::{CloseReason, Event, LineEnd, REFUSED_ABOVE_LIMIT, Status};

/// Marks a refusal in its extensions: an event stream that is none of the handler's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused;

/// Why a stream is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The event's name, and the word in metrics.
    reason: &'static str,
    data: &'static str,
    status: StatusCode,
    retry: Duration,
    /// What a call of gRPC ends with.
    of_call: Status,
}

impl Refusal {
    /// The server drains.
    pub(super) fn draining(drain: &Drain) -> Self {
        let (status, retry) = (StatusCode::SERVICE_UNAVAILABLE, drain.retry_refused());
        let of_call = drain.settings.farewell.status(CloseReason::Shutdown, Some(retry));
        Self { reason: "draining", data: "{}", status, retry, of_call }
    }

    /// A limit is reached.
    pub(super) fn full(limit: &LimitInner) -> Self {
        let (status, retry) = (limit.settings.status, limit.refuse());
        let replaced = limit.settings.farewell.status(CloseReason::Replaced, Some(retry));
        let of_call = Status { message: "too many streams are open", ..replaced };
        Self { reason: "limit", data: REFUSED_ABOVE_LIMIT, status, retry, of_call }
    }

    /// The status of a call that is refused when its head is sent already.
    pub(super) fn counted_status(self) -> Status {
        refused(self.reason);
        self.of_call
    }
}

/// Answers with how long the client is to wait.
///
/// An `EventSource` never comes back after any status but 200, so a request that may be one's gets
/// a stream with one event. Other requests get a status with `Retry-After`.
///
/// It is a response of its own. Of the handler's head, which may be one of an upstream with a body
/// in chunks or in ranges, it keeps what lets the client read a response at all.
pub(super) fn refuse<B: Body>(
    head: Parts,
    request: &RequestInfo,
    outer: Option<&MadeStreams>,
    refusal: &Refusal,
) -> Response<SseBody<B>> {
    refused(refusal.reason);
    let link = link();
    let (status, name, value, body) = if request.wants_events {
        let body = SseBody::stream_of(event(request, refusal), Arc::clone(&link));
        (StatusCode::OK, CONTENT_TYPE, HeaderValue::from_static("text/event-stream"), body)
    } else {
        // Whole seconds, rounded up: zero would bring all clients back at once.
        let seconds = refusal.retry.as_millis().div_ceil(1000).max(1);
        let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
        (refusal.status, RETRY_AFTER, seconds, SseBody::empty())
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.extensions_mut() = head.extensions;
    *response.headers_mut() = kept(head.headers);
    response.headers_mut().insert(name, value);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(Refused);
    tell(&link, response.extensions_mut(), outer);
    response
}

/// Answers a call of gRPC with its status alone, in the head: clients may try such a call again.
pub(super) fn refuse_call<B: Body>(
    head: Parts,
    outer: Option<&MadeStreams>,
    refusal: &Refusal,
) -> Response<SseBody<B>> {
    refused(refusal.reason);
    let mut response = Response::new(SseBody::empty());
    *response.extensions_mut() = head.extensions;
    let content_type = head.headers.get(CONTENT_TYPE).cloned();
    *response.headers_mut() = kept(head.headers);
    response.headers_mut().extend(content_type.map(|value| (CONTENT_TYPE, value)));
    response.headers_mut().extend(trailers(&refusal.of_call));
    response.extensions_mut().insert(Refused);
    tell(&link(), response.extensions_mut(), outer);
    response
}

/// The whole of a stream whose refusal comes when its head is sent already.
pub(super) fn refuse_late(request: &RequestInfo, refusal: &Refusal) -> (Bytes, Arc<StreamLink>) {
    refused(refusal.reason);
    (event(request, refusal), link())
}

/// The link of a refusal: there is nothing to do in it for layers further out.
fn link() -> Arc<StreamLink> {
    let done = Done::new(Arc::new(Plan::off().resolve()));
    StreamLink::of_stream(done, Registrations::default(), StreamObserver::off(), None)
}

/// What a refusal keeps of the handler's headers.
fn kept(headers: HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in headers.keys() {
        let is_kept = KEPT.contains(name)
            || KEPT_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix));
        if is_kept {
            for value in headers.get_all(name) {
                kept.append(name.clone(), value.clone());
            }
        }
    }
    kept
}

const KEPT: [HeaderName; 4] =
    [SET_COOKIE, STRICT_TRANSPORT_SECURITY, HeaderName::from_static("timing-allow-origin"), VARY];

/// Without the headers of CORS a page is not shown a status or an event.
const KEPT_PREFIXES: [&str; 2] = ["access-control-", "cross-origin-"];

/// The event restates the client's position: without an id some clients lose it.
fn event(request: &RequestInfo, refusal: &Refusal) -> Bytes {
    let Refusal { reason, data, retry, .. } = *refusal;
    // It begins as other streams do.
    let event = Event::new().comment("").named(reason).static_data(data);
    restate(&event, Some(retry), &request.position(), LineEnd::Lf)
}
