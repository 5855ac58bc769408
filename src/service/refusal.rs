//! The response to a request whose stream is not served.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    SET_COOKIE, STRICT_TRANSPORT_SECURITY, TRANSFER_ENCODING, VARY,
};
use http::response::Parts;
use http_body::Body;

use super::carried::tell;
use super::head::Refused;
use super::request::{OuterPlan, RequestInfo};
use crate::body::SseBody;
use crate::dialect::{Dialect, Notice, Opening};
use crate::driver::{Done, Framing, Protocol, Registrations, StreamLink, trailers};
use crate::engine::Farewell;
#[cfg(feature = "resume")]
use crate::engine::Position;
use crate::observe::{StreamObserver, refused};
use crate::plan::Plan;
use crate::state::{Drain, LimitInner};
use crate::sync::catch_panic;
use crate::wire::{CloseReason, Notation, Status, in_notation};

/// Why a stream is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    notice: Notice,
    /// What a call ends with.
    of_call: Status,
}

impl Refusal {
    /// The server drains.
    pub(super) fn draining(drain: &Drain) -> Self {
        let retry = Some(drain.retry_refused());
        let of_call = drain.settings.farewell.status(CloseReason::Draining, retry);
        Self { notice: Notice { retry, ..Notice::new(CloseReason::Draining) }, of_call }
    }

    /// A limit is reached.
    pub(super) fn full(limit: &LimitInner) -> Self {
        let (status, retry) = (limit.settings.status, Some(limit.refuse()));
        let of_call = limit.settings.farewell.status(CloseReason::Limit, retry);
        Self { notice: Notice { status, retry, ..Notice::new(CloseReason::Limit) }, of_call }
    }

    /// The word in metrics.
    fn reason(&self) -> &'static str {
        self.notice.reason.as_str()
    }

    /// The status of a call that is refused when its head is sent already.
    pub(super) fn counted_status(self) -> Status {
        refused(self.reason());
        self.of_call
    }
}

/// Answers with how long the client is to wait, in the words of the dialect.
///
/// An `EventSource` never comes back after any status but 200, so in its dialect a request that may
/// be one's gets a stream with one event. Other requests get a status with `Retry-After`.
///
/// It is a response of its own. Of the handler's head, which may be one of an upstream with a body
/// in chunks or in ranges, it keeps what lets the client read a response at all.
pub(super) fn refuse<B: Body>(
    head: Parts,
    asked: &OuterPlan,
    outer: Option<&OuterPlan>,
    refusal: &Refusal,
) -> Response<SseBody<B>> {
    refused(refusal.reason());
    let link = link();
    let (plan, notice) = (&asked.resolved.plan, &refusal.notice);
    let by_function = plan.refusals(notice.reason).zip(asked.terms.for_refusal.as_ref());
    let answer = match by_function.and_then(|(refusals, head)| refusals.response(notice, head)) {
        Some(answer) => finish(answer, notice),
        None => answer(&asked.request, &plan.dialect(), notice),
    };
    let (answer, bytes) = answer.into_parts();
    let body = match bytes.is_empty() {
        true => SseBody::empty(),
        false => SseBody::stream_of(bytes, Arc::clone(&link)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    *response.extensions_mut() = head.extensions;
    *response.headers_mut() = kept(head.headers);
    // It replaces headers of the same name.
    response.headers_mut().extend(answer.headers);
    response.extensions_mut().insert(Refused);
    tell(&link, response.extensions_mut(), outer.map(OuterPlan::made));
    response
}

/// The response that says this in the words of `dialect`.
pub(super) fn answer(request: &RequestInfo, dialect: &Dialect, notice: &Notice) -> Response<Bytes> {
    // A panic of the application's function would take the connection along.
    let own = catch_panic(|| dialect.refusal(notice)).unwrap_or_else(|| Some(empty(notice)));
    match own {
        None if request.wants_events => {
            let mut answer = Response::new(stream(request, dialect, notice));
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, NO_STORE);
            dialect.add_headers(headers);
            answer
        }
        own => finish(own.unwrap_or_else(|| empty(notice)), notice),
    }
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A response whose status says everything.
fn empty(notice: &Notice) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = notice.status;
    response
}

/// Adds what is missing to a response that a function has made.
fn finish(mut answer: Response<Bytes>, notice: &Notice) -> Response<Bytes> {
    let (status, len) = (answer.status(), answer.body().len());
    let headers = answer.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    if let Some(retry) = notice.retry.filter(|_| !status.is_success()) {
        // Whole seconds, rounded up: zero would bring all clients back at once.
        let seconds = retry.as_millis().div_ceil(1000).max(1);
        let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
        headers.entry(RETRY_AFTER).or_insert(seconds);
    }
    // What the function says of the length may be wrong.
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if len > 0 {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    }
    answer
}

/// Answers a call with its status alone, in the head where the protocol has a place for it there:
/// clients may try such a call again. "Streaming responses always have an HTTP status of 200 OK" in
/// Connect, and their status is in the last message.
pub(super) fn refuse_call<B: Body>(
    head: Parts,
    protocol: Protocol,
    outer: Option<&OuterPlan>,
    refusal: &Refusal,
) -> Response<SseBody<B>> {
    refused(refusal.reason());
    let link = link();
    let status = &refusal.of_call;
    let message = status.last_message(protocol).filter(|_| !protocol.has_unary_calls());
    let mut response = Response::new(match message {
        Some(ref message) => SseBody::stream_of(message.clone(), Arc::clone(&link)),
        None => SseBody::empty(),
    });
    *response.extensions_mut() = head.extensions;
    let content_type = head.headers.get(CONTENT_TYPE).cloned();
    *response.headers_mut() = kept(head.headers);
    response.headers_mut().extend(content_type.map(|value| (CONTENT_TYPE, value)));
    if message.is_none() {
        response.headers_mut().extend(trailers(status));
    }
    response.extensions_mut().insert(Refused);
    tell(&link, response.extensions_mut(), outer.map(OuterPlan::made));
    response
}

/// The whole of a stream whose refusal comes when its head is sent already.
pub(super) fn refuse_late(
    asked: &OuterPlan,
    framing: Framing,
    refusal: &Refusal,
) -> (Bytes, Arc<StreamLink>) {
    refused(refusal.reason());
    let line = |notation| in_notation(refusal.notice.reason.json_line("close"), notation);
    let words = match framing {
        Framing::Sse => stream(&asked.request, &asked.resolved.plan.dialect(), &refusal.notice),
        Framing::JsonLines => line(Notation::Lines),
        Framing::JsonSequence => line(Notation::Records),
        Framing::Calls(protocol) => refusal.of_call.last_message(protocol).unwrap_or_default(),
    };
    (words, link())
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

/// The whole of a stream that is refused. Its event restates the client's position: without an id
/// some clients lose it.
fn stream(request: &RequestInfo, dialect: &Dialect, notice: &Notice) -> Bytes {
    // It begins as other streams do.
    let opening = match dialect.opening() {
        Opening::Comment => ":\n",
        Opening::Nothing => "",
    };
    let words = farewell(dialect, notice).alone(notice.reason, notice.retry, &request.position());
    [opening.as_bytes(), &words].concat().into()
}

/// The last words of a stream, for a client that keeps its position.
#[cfg(feature = "resume")]
pub(crate) fn last_words(dialect: &Dialect, notice: &Notice) -> Bytes {
    farewell(dialect, notice).alone(notice.reason, notice.retry, &Position::None)
}

/// The last words of a stream.
pub(super) fn farewell(dialect: &Dialect, notice: &Notice) -> Farewell {
    catch_panic(|| dialect.farewell(notice)).unwrap_or(Farewell::none())
}
