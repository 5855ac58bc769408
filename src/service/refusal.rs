//! The answer to those who come while the server drains.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::response::Parts;
use http::{Response, StatusCode};

use super::request::Call;
use crate::body::SseBody;
use crate::engine::restate;
use crate::wire::{Event, LineEnd};

/// Answers a stream's request with how long to wait.
///
/// An `EventSource` never comes back after any status but 200, so who asks for an event stream gets
/// one, with one event. Others get 503 with `Retry-After`.
pub(super) fn draining<B>(mut head: Parts, call: &Call, retry: Duration) -> Response<SseBody<B>> {
    if call.asks_for_events {
        return Response::from_parts(head, SseBody::stream_of(event(call, retry)));
    }
    head.status = StatusCode::SERVICE_UNAVAILABLE;
    for of_the_stream in [CONTENT_TYPE, CACHE_CONTROL] {
        head.headers.remove(of_the_stream);
    }
    // Whole seconds, rounded up: zero would bring everybody back at once.
    let seconds = retry.as_millis().div_ceil(1000).max(1);
    if let Ok(value) = HeaderValue::from_str(itoa::Buffer::new().format(seconds)) {
        head.headers.insert(RETRY_AFTER, value);
    }
    Response::from_parts(head, SseBody::empty())
}

/// Gives back the client's own place: without an id some clients lose it.
fn event(call: &Call, retry: Duration) -> Bytes {
    // It begins as other streams do.
    let event = Event::new().comment("").named("draining").retry(retry).said("{}");
    restate(&event, &call.place(), LineEnd::Lf)
}
