//! What is known of a request until its response comes, and what layers ask of those further in.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::carried::MadeStreams;
use super::{OwnPlan, head};
use crate::driver::{Done, EarlyHeadLink};
use crate::engine::Position;
use crate::observe::LayerObserver;
use crate::plan::{ResolvedPlan, Setting};
use crate::state::{CappedKey, Drain, Expiry, Label, LimitInner, Permit};
use crate::sync::{lock, now};
use crate::wire::LastEventId;

/// What a layer asks of those further in. It is shared by the extensions of the request and the
/// future of the response.
#[derive(Debug)]
pub(super) struct OuterPlan {
    pub(super) resolved: Arc<ResolvedPlan>,
    pub(super) request: Arc<RequestInfo>,
    pub(super) terms: RequestTerms,
    pub(super) observer: LayerObserver,
    made: MadeStreams,
    /// The plan that this one is a changed copy of. What is made for it is made for that one.
    copy_of: Option<Arc<OuterPlan>>,
}

/// What the layers have to say of one request, beside their plan.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestTerms {
    /// The label that the nearest layer with a registry gives the stream.
    pub(super) label: Label,
    /// The key that the nearest layer with a limit gives the stream.
    pub(super) key: CappedKey,
    /// The permit that was taken before the handler, if one was.
    pub(super) early: Weak<EarlyPermit>,
    /// For how long the stream may go on in a drain, if the nearest layer with a shutdown decides
    /// that by the request.
    pub(super) finish_within: Option<Duration>,
    /// The head of the request, if a function makes the responses to requests that are refused.
    pub(super) for_refusal: Option<Arc<Parts>>,
    /// When the credential of the request expires.
    pub(super) expiry: Option<Expiry>,
    /// The drains of outer layers that are not in the plan, since a nearer layer has another.
    outer_drains: Vec<Arc<Drain>>,
    /// What is known of a head that is sent early, further in than the layers that asked so far.
    pub(super) early_head: Option<Arc<EarlyHeadLink>>,
}

/// A permit that was taken before the handler, until a stream takes it.
///
/// The future of the response owns it. So it is released with the future, also if the handler keeps
/// the extensions of its request.
#[derive(Debug)]
pub(super) struct EarlyPermit {
    limit: Arc<LimitInner>,
    permit: Mutex<Option<Permit>>,
}

impl EarlyPermit {
    pub(super) fn new(limit: &Arc<LimitInner>, permit: Permit) -> Self {
        Self { limit: Arc::clone(limit), permit: Mutex::new(Some(permit)) }
    }

    /// Whether it is a permit of this limit.
    pub(super) fn is_of(&self, limit: &Arc<LimitInner>) -> bool {
        Arc::ptr_eq(&self.limit, limit)
    }

    pub(super) fn is_held(&self) -> bool {
        lock(&self.permit).is_some()
    }

    pub(super) fn take(&self) -> Option<Permit> {
        lock(&self.permit).take()
    }
}

impl OuterPlan {
    fn new(
        resolved: Arc<ResolvedPlan>,
        request: Arc<RequestInfo>,
        terms: RequestTerms,
        observer: LayerObserver,
    ) -> Self {
        let (made, copy_of) = (MadeStreams::default(), None);
        Self { resolved, request, terms, observer, made, copy_of }
    }

    /// The plan that an outermost layer asks for.
    pub(super) fn outermost(own: &OwnPlan, request: RequestInfo, expiry: Option<Expiry>) -> Self {
        let (alone, observer) = (Arc::clone(&own.alone), own.observer.clone());
        let terms = RequestTerms { expiry, ..RequestTerms::default() };
        Self::new(alone, Arc::new(request), terms, observer)
    }

    /// The plan that a layer asks for within this one.
    pub(super) fn inner(&self, own: &OwnPlan, expiry: Option<Expiry>) -> Self {
        let mut terms = self.terms.clone();
        if own.plan.registry.on().is_some() {
            terms.label = Label::default();
        }
        if own.plan.shutdown.on().is_some() {
            terms.finish_within = None;
        }
        terms.expiry = Expiry::earliest(terms.expiry, expiry);
        match &own.plan.shutdown {
            Setting::Off => terms.outer_drains.clear(),
            nearer => {
                let hidden = self.resolved.plan.shutdown.beside(nearer);
                terms.outer_drains.extend(hidden.on().map(|it| Arc::clone(&it.drain)));
            }
        }
        let (resolved, request) = (own.within(&self.resolved), Arc::clone(&self.request));
        Self::new(resolved, request, terms, own.observer.clone())
    }

    /// This plan, with what `change` changes.
    pub(super) fn copy(self: &Arc<Self>, change: impl FnOnce(&mut Self)) -> Self {
        let (resolved, request) = (Arc::clone(&self.resolved), Arc::clone(&self.request));
        let mut copy = Self::new(resolved, request, self.terms.clone(), self.observer.clone());
        copy.copy_of = Some(Arc::clone(self));
        change(&mut copy);
        copy
    }

    /// What is left of it where a stream begins that is not that of the layers that asked: the
    /// words of the route. None if they have not chosen any.
    #[cfg(feature = "resume")]
    pub(super) fn dialect_alone(&self) -> Option<Self> {
        let (resolved, request) = (self.resolved.dialect_alone()?, Arc::clone(&self.request));
        Some(Self::new(resolved, request, RequestTerms::default(), self.observer.clone()))
    }

    /// Adds what the layer's functions say of the request.
    pub(super) fn read(&mut self, own: &OwnPlan, request: &Parts) {
        if let Some(dialect) = own.plan.dialect.on().filter(|it| it.depends_on_request()) {
            self.resolved = Arc::new(self.resolved.speaking(dialect.of_request(request)));
        }
        if let Some(setting) = own.plan.registry.on() {
            self.terms.label = setting.label_of(request);
        }
        if own.plan.makes_refusals() {
            self.terms.for_refusal = Some(Arc::new(request.clone()));
        }
        if let Some(shutdown) = own.plan.shutdown.on() {
            self.terms.finish_within = shutdown.finish_within.of(request);
        }
    }

    /// The drains of outer layers that refuse a stream for which this was done.
    pub(super) fn outer_drains(&self, done: &Done) -> &[Arc<Drain>] {
        if done.turns_drains_off() { &[] } else { &self.terms.outer_drains }
    }

    /// The streams that layers further in made for the request.
    pub(super) fn made(&self) -> &MadeStreams {
        self.copy_of.as_ref().map_or(&self.made, |original| original.made())
    }

    /// The first of the drains of all layers that refuses new streams.
    pub(super) fn refusing_drain(&self) -> Option<&Arc<Drain>> {
        let drain = self.resolved.plan.shutdown.on().map(|shutdown| &shutdown.drain);
        drain.into_iter().chain(&self.terms.outer_drains).find(|drain| drain.refuses(now))
    }

    /// Whether there is a permit that was taken before the handler.
    pub(super) fn has_early(&self) -> bool {
        self.terms.early.upgrade().is_some_and(|early| early.is_held())
    }

    /// Takes the permit that was taken before the handler.
    pub(super) fn take_early(&self) -> Option<Permit> {
        self.terms.early.upgrade()?.take()
    }
}

/// What is kept of a request, once for all layers.
#[derive(Debug)]
pub(super) struct RequestInfo {
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// The request is one that an `EventSource` makes.
    pub(super) wants_events: bool,
    last_event_id: Option<HeaderValue>,
}

impl RequestInfo {
    pub(super) fn of(method: &Method, uri: &Uri, headers: &HeaderMap) -> Self {
        Self {
            method: method.clone(),
            uri: uri.clone(),
            wants_events: head::wants_events(method, headers),
            last_event_id: headers.get(LAST_EVENT_ID).cloned(),
        }
    }

    /// Where the client says that it is in the stream.
    pub(super) fn position(&self) -> Position {
        self.last_event_id.as_ref().map_or(Position::None, |id| Position::brought(id.as_bytes()))
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static(LastEventId::HEADER);
