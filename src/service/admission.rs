//! What is decided of a request before the handler runs.

use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Response, response};
use http_body::Body;

use super::head;
use super::refusal::{Refusal, refuse, refuse_call};
use super::request::{EarlyPermit, OuterPlan};
use crate::body::SseBody;
use crate::plan::{Plan, Setting};
use crate::wire::Protocol;

/// A request whose handler does not run.
#[derive(Debug)]
pub(super) struct EarlyRefusal {
    refusal: Refusal,
    head: response::Parts,
    call: Option<Protocol>,
}

impl EarlyRefusal {
    fn new(refusal: Refusal, request: &Parts) -> Box<Self> {
        let (mut head, ()) = Response::new(()).into_parts();
        let call = head::protocol_of_call(&request.headers);
        if let Some(content_type) = request.headers.get(CONTENT_TYPE).filter(|_| call.is_some()) {
            head.headers.insert(CONTENT_TYPE, content_type.clone());
        }
        Box::new(Self { refusal, head, call })
    }

    pub(super) fn respond<B: Body>(
        self,
        asked: &OuterPlan,
        outer: Option<&OuterPlan>,
    ) -> Response<SseBody<B>> {
        let Self { refusal, head, call } = self;
        match call {
            Some(protocol) => refuse_call(head, protocol, outer, &refusal),
            None => refuse(head, asked, outer, &refusal),
        }
    }
}

/// Has a layer with the plan `own` find the key of a request, and take a permit for it if that is
/// to be done before the handler runs.
///
/// # Errors
///
/// If there is no room, or the server drains.
pub(super) fn admit(
    own: &Plan,
    asked: &mut OuterPlan,
    request: &Parts,
) -> Result<Option<Arc<EarlyPermit>>, Box<EarlyRefusal>> {
    if let Setting::Unset = own.limit {
        return Ok(None);
    }
    let setting = own.limit.on();
    let held = asked.terms.early.upgrade();
    let is_same = |it: &Arc<EarlyPermit>| setting.is_some_and(|setting| it.is_of(&setting.limit));
    if let Some(early) = held.as_ref().filter(|it| !is_same(it)) {
        // The limit of a layer further out does not hold for this request.
        drop(early.take());
    }
    let Some(setting) = setting else {
        return Ok(None);
    };
    asked.terms.key = setting.limit.key_of(request);
    let is_held = held.as_ref().is_some_and(is_same);
    if is_held || head::is_bodiless(&request.method) || !setting.is_before_handler(request) {
        return Ok(None);
    }
    if let Some(drain) = asked.refusing_drain() {
        return Err(EarlyRefusal::new(Refusal::draining(drain), request));
    }
    let permit = setting.limit.acquire_early(&asked.terms.key);
    let permit = permit.map_err(|()| EarlyRefusal::new(Refusal::full(&setting.limit), request))?;
    let early = permit.map(|permit| Arc::new(EarlyPermit::new(&setting.limit, permit)));
    asked.terms.early = early.as_ref().map(Arc::downgrade).unwrap_or_default();
    Ok(early)
}
