//! What the layers on both sides of an early head know of it.
//!
//! `EarlyHead` stands between them. It gives the request a link:
//!
//! - Layers further in find it in the [`OuterPlan`]. If the head was sent when their response
//!   comes, the layers further out have a stream for it already, and have carried out their plan.
//!   What is left is what the inner layers add to it.
//! - The layer further out that makes the stream finds it in the response. Its engine says the last
//!   words then. If there is none, or if the bytes of the body do not pass it as they are, the body
//!   says them itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Response, StatusCode, response};

use super::head::{self, StreamKind};
use super::refusal;
use super::request::{OuterPlan, RequestInfo};
use crate::dialect::{Dialect, Notice};
use crate::driver::EarlyHeadLink;
use crate::engine::EndReason;
use crate::wire::Framing;

/// A request whose head may be sent early.
#[derive(Debug)]
pub(crate) struct EarlyHeadRequest {
    link: Arc<EarlyHeadLink>,
    request: Arc<RequestInfo>,
    dialect: Dialect,
    told_failure: Option<ToldFailure>,
}

/// Whether an early head has told its client of a failure: for a layer further out that keeps the
/// stream, in the extensions of the request. The body then ends as a whole one does.
#[derive(Clone, Debug)]
pub(crate) struct ToldFailure(Arc<ToldLayer>);

#[derive(Debug)]
struct ToldLayer {
    is_noted: AtomicBool,
    /// That of the next layer further out that keeps the stream, too.
    outer: Option<ToldFailure>,
}

impl ToldFailure {
    /// For a layer that keeps the stream of a request with these extensions.
    #[cfg(feature = "resume")]
    pub(crate) fn within(extensions: &Extensions) -> Self {
        let (is_noted, outer) = (AtomicBool::new(false), extensions.get().cloned());
        Self(Arc::new(ToldLayer { is_noted, outer }))
    }

    /// Notes it for all layers that keep the stream.
    pub(crate) fn note(&self) {
        self.0.is_noted.store(true, Ordering::Release);
        if let Some(outer) = &self.0.outer {
            outer.note();
        }
    }

    #[cfg(feature = "resume")]
    pub(crate) fn is_noted(&self) -> bool {
        self.0.is_noted.load(Ordering::Acquire)
    }
}

/// The link of an early head, in the extensions of its response.
#[derive(Clone, Debug)]
struct SentEarly(Arc<EarlyHeadLink>);

impl EarlyHeadRequest {
    /// Puts the link into a request. Without a dialect it is that of layers further out.
    pub(crate) fn begin(request: &mut Parts, dialect: Option<&Dialect>) -> Self {
        let outer = request.extensions.get::<Arc<OuterPlan>>();
        let plan = outer.map(|outer| Arc::clone(&outer.resolved));
        let of_plan = || plan.as_ref().map(|plan| plan.plan.dialect()).unwrap_or_default();
        let dialect = dialect.map_or_else(of_plan, |dialect| dialect.of_request(request));
        let link = Arc::new(EarlyHeadLink::new(plan));
        let info = match request.extensions.get_mut::<Arc<OuterPlan>>() {
            Some(outer) => {
                // The layers that asked have the plan without it.
                let early_head = Some(Arc::clone(&link));
                *outer = Arc::new(outer.copy(|copy| copy.terms.early_head = early_head));
                Arc::clone(&outer.request)
            }
            None => Arc::new(RequestInfo::of(&request.method, &request.uri, &request.headers)),
        };
        let told_failure = request.extensions.get().cloned();
        Self { link, request: info, dialect, told_failure }
    }

    pub(crate) fn method(&self) -> &Method {
        &self.request.method
    }

    /// The head that does not wait for that of the answer.
    pub(crate) fn early_head(&self) -> Response<()> {
        self.link.mark_sent();
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        self.dialect.add_headers(headers);
        response.extensions_mut().insert(SentEarly(Arc::clone(&self.link)));
        response
    }

    /// A response of its own that says this.
    pub(crate) fn answer(&self, notice: &Notice) -> Response<Bytes> {
        self.note_failure(notice);
        refusal::answer(&self.request, &self.dialect, notice)
    }

    /// Says this at the end of the stream. Returns what the body has to say itself.
    pub(crate) fn tell(&self, notice: &Notice) -> Option<Bytes> {
        self.note_failure(notice);
        let farewell = refusal::farewell(&self.dialect, notice);
        if self.link.leave_words(notice, &farewell) {
            return None;
        }
        let words = farewell.alone(notice.reason, notice.retry, &self.request.position());
        (!words.is_empty()).then_some(words)
    }

    fn note_failure(&self, notice: &Notice) {
        if let Some(told) = &self.told_failure {
            if notice.reason.end_reason() == EndReason::Error {
                told.note();
            }
        }
    }
}

impl OuterPlan {
    /// What is left to ask for, if the head was sent early and the layers further out have done
    /// their part.
    pub(super) fn after_early_head(self: &Arc<Self>) -> Option<Arc<Self>> {
        let done = self.terms.early_head.as_ref()?.done_outside()?;
        let left = self.resolved.plan.without(&done.plan);
        let resolved = left.resolve_as(&self.resolved);
        Some(Arc::new(self.copy(|copy| copy.resolved = Arc::new(resolved))))
    }
}

/// The link of the head that was sent early, for the stream that is made of the response.
pub(super) fn take_early_head(extensions: &mut Extensions) -> Option<Arc<EarlyHeadLink>> {
    extensions.remove::<SentEarly>().map(|sent| sent.0)
}

/// Whether the head for a request may be sent early, as far as its kind allows it.
pub(crate) fn may_begin_early(request: &Parts) -> bool {
    !head::is_bodiless(&request.method) && head::protocol_of_call(&request.headers).is_none()
}

/// Whether a request names event streams in `Accept`, and not to refuse them.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    head::accepts_events(headers)
}

/// The body of an answer that comes when the head of an event stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LateBody {
    Events,
    Nothing,
    Json,
    Encoded,
    Other,
}

/// What the body of such an answer is.
pub(crate) fn late_body(method: &Method, head: &response::Parts) -> LateBody {
    match head::stream_kind(method, head.status, &head.headers) {
        Some(StreamKind::Framed(Framing::Sse)) => LateBody::Events,
        Some(StreamKind::Encoded) => LateBody::Encoded,
        None if matches!(head.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) => {
            LateBody::Nothing
        }
        None if head::is_encoded(&head.headers) => LateBody::Encoded,
        None if head::is_json(&head.headers) => LateBody::Json,
        Some(StreamKind::Framed(_)) | None => LateBody::Other,
    }
}
