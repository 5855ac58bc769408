//! The answer to those whose stream is not served.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use http::response::Parts;
use http::{Response, StatusCode};

use super::head;
use super::request::RequestInfo;
use crate::body::SseBody;
use crate::engine::restate;
use crate::observe::refused;
use crate::state::{Drain, Limit};
use crate::wire::{Event, LineEnd, REFUSED_ABOVE_LIMIT};

/// Why a stream is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The event's name, and the word for it in metrics.
    why: &'static str,
    data: &'static str,
    status: StatusCode,
    retry: Duration,
}

impl Refusal {
    /// The server drains.
    pub(super) fn draining(drain: &Drain) -> Self {
        let (status, retry) = (StatusCode::SERVICE_UNAVAILABLE, drain.retry_refused());
        Self { why: "draining", data: "{}", status, retry }
    }

    /// As many streams are open as may be.
    pub(super) fn full(limit: &Limit) -> Self {
        let (status, retry) = (limit.status, limit.retry_refused());
        Self { why: "limit", data: REFUSED_ABOVE_LIMIT, status, retry }
    }
}

/// Answers a stream's request with how long to wait.
///
/// An `EventSource` never comes back after any status but 200, so who asks for an event stream gets
/// one, with one event. Others get a status with `Retry-After`.
pub(super) fn refuse<B>(
    mut head: Parts,
    call: &RequestInfo,
    refusal: &Refusal,
) -> Response<SseBody<B>> {
    refused(refusal.why);
    head.headers.remove(CONTENT_LENGTH);
    if head::is_encoded(&head.headers) {
        head.headers.remove(CONTENT_ENCODING);
    }
    if call.asks_for_events {
        head.status = StatusCode::OK;
        // Whatever the handler and the layers say of theirs: nobody else is to get this one.
        head::refuse_caching(&mut head.headers);
        return Response::from_parts(head, SseBody::stream_of(event(call, refusal)));
    }
    head.status = refusal.status;
    for of_the_stream in [CONTENT_TYPE, CACHE_CONTROL] {
        head.headers.remove(of_the_stream);
    }
    // Whole seconds, rounded up: zero would bring everybody back at once.
    let seconds = refusal.retry.as_millis().div_ceil(1000).max(1);
    if let Ok(value) = HeaderValue::from_str(itoa::Buffer::new().format(seconds)) {
        head.headers.insert(RETRY_AFTER, value);
    }
    Response::from_parts(head, SseBody::empty())
}

/// Gives back the client's own place: without an id some clients lose it.
fn event(call: &RequestInfo, refusal: &Refusal) -> Bytes {
    let Refusal { why, data, retry, .. } = *refusal;
    // It begins as other streams do.
    let event = Event::new().comment("").named(why).said(data);
    restate(&event, Some(retry), &call.place(), LineEnd::Lf)
}
