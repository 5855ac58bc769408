//! What is known of a request until its response comes, and what the layers tell each other.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Uri};
use http_body::Body;

use super::OwnPlan;
use super::admission::EarlyPermit;
#[cfg(feature = "resume")]
use super::early_head::{ToldFailure, take_early_head};
use super::head;
#[cfg(feature = "resume")]
use crate::dialect::Dialect;
use crate::driver::{Done, EarlyHeadLink, Registrations, StreamLink};
use crate::engine::Position;
use crate::observe::{LayerObserver, StreamObserver};
use crate::plan::{Plan, ResolvedPlan, Setting};
use crate::state::{CappedKey, Drain, Expiry, Label, Permit};
#[cfg(feature = "resume")]
use crate::state::{LimitInner, PermitLender};
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
    fn dialect_alone(&self) -> Option<Self> {
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

/// The streams that layers further in made for one request: mostly one, which is in the response.
///
/// A handler may call a service of its own with its request, and answer with another stream than
/// the service did. What the service's layers took for the request is taken back then.
#[derive(Debug, Default)]
pub(super) struct MadeStreams(Mutex<Made>);

#[derive(Debug, Default)]
struct Made {
    links: Vec<Weak<StreamLink>>,
    /// A permit that what the stream is read from already has.
    permit: Option<Permit>,
}

impl MadeStreams {
    pub(super) fn add(&self, link: &Arc<StreamLink>) {
        lock(&self.0).links.push(Arc::downgrade(link));
    }

    /// The permit that was lent for the request, if there is one.
    pub(super) fn take_permit(&self) -> Option<Permit> {
        lock(&self.0).permit.take()
    }

    /// Takes back what these streams hold for `plan`.
    pub(super) fn reclaim(&self, plan: &Plan) -> Registrations {
        let mut registrations = Registrations::default();
        for link in self.links() {
            registrations.complete(link.reclaim(plan));
        }
        registrations
    }

    /// Takes back what is observed of these streams.
    pub(super) fn reclaim_observer(&self) -> Option<StreamObserver> {
        self.links().iter().find_map(|link| link.reclaim_observer())
    }

    fn links(&self) -> Vec<Arc<StreamLink>> {
        lock(&self.0).links.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Tells layers further out which stream a response carries, in its extensions.
#[derive(Clone, Debug)]
struct CarriedStream(Weak<StreamLink>);

/// The stream that a response carries, if a layer further in has seen it.
#[derive(Debug)]
pub(super) enum Carried {
    None,
    /// The body has said so.
    InBody(Arc<StreamLink>),
    /// The head says so, and the body does not tell.
    InHead(Arc<StreamLink>),
}

impl Carried {
    pub(super) fn into_link(self) -> Option<Arc<StreamLink>> {
        match self {
            Self::None => None,
            Self::InBody(link) | Self::InHead(link) => Some(link),
        }
    }
}

/// Looks for the stream that a response carries. See the [module docs](super).
pub(super) fn carried(body: &impl Body, extensions: &Extensions) -> Carried {
    let told = extensions.get::<CarriedStream>();
    match (StreamLink::inside(body), told.and_then(|told| told.0.upgrade())) {
        (Some(link), _) => Carried::InBody(link),
        (None, Some(link)) => Carried::InHead(link),
        (None, None) => Carried::None,
    }
}

/// Tells layers further out which stream a response carries.
pub(super) fn tell(link: &Arc<StreamLink>, extensions: &mut Extensions, outer: Option<&OuterPlan>) {
    put(extensions, CarriedStream(Arc::downgrade(link)));
    if let Some(outer) = outer {
        outer.made().add(link);
    }
}

/// Puts a value into extensions, in the place of the last one if there is one.
pub(super) fn put<T: Clone + Send + Sync + 'static>(extensions: &mut Extensions, value: T) {
    match extensions.get_mut() {
        Some(place) => *place = value,
        None => drop(extensions.insert(value)),
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

/// Leaves of what layers further out ask for only their dialect, for layers further in whose stream
/// is another one, and have them note in `told` that they told of a failure.
#[cfg(feature = "resume")]
pub(crate) fn separate_request(extensions: &mut Extensions, told: &ToldFailure) {
    extensions.insert(told.clone());
    let asked = extensions.remove::<Arc<OuterPlan>>();
    if let Some(dialect) = asked.and_then(|asked| asked.dialect_alone()) {
        extensions.insert(Arc::new(dialect));
    }
}

/// Removes what layers further in tell of their stream, for layers further out whose stream is
/// another one.
#[cfg(feature = "resume")]
pub(crate) fn separate_response(extensions: &mut Extensions) {
    extensions.remove::<Arc<OuterPlan>>();
    extensions.remove::<CarriedStream>();
    drop(take_early_head(extensions));
}

/// The dialect of the layers that have seen the stream in a response, if they have chosen one.
#[cfg(feature = "resume")]
pub(crate) fn dialect_inside(body: &impl Body, extensions: &Extensions) -> Option<Dialect> {
    let told = || extensions.get::<CarriedStream>()?.0.upgrade();
    let link = StreamLink::inside(body).or_else(told)?;
    match link.done().dialect() {
        Setting::Unset => None,
        dialect => Some(dialect.on().cloned().unwrap_or_default()),
    }
}

/// What layers further out ask of a task that goes on without its request: their limit, their
/// drain, and their dialect.
#[cfg(feature = "resume")]
#[derive(Clone, Debug)]
pub(crate) struct OuterTask {
    limit: Option<Arc<LimitInner>>,
    pub(crate) drain: Option<Arc<Drain>>,
    pub(crate) dialect: Dialect,
    outer: Arc<OuterPlan>,
}

#[cfg(feature = "resume")]
impl OuterTask {
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        let outer = Arc::clone(extensions.get::<Arc<OuterPlan>>()?);
        let plan = &outer.resolved.plan;
        let limit = plan.limit.on().map(|setting| Arc::clone(&setting.limit));
        let drain = plan.shutdown.on().map(|shutdown| Arc::clone(&shutdown.drain));
        Some(Self { limit, drain, dialect: plan.dialect(), outer })
    }

    /// A permit for the task; none if nothing limits it.
    ///
    /// # Errors
    ///
    /// If there is no room.
    pub(crate) fn acquire(&self) -> Result<Option<Arc<PermitLender>>, ()> {
        let Some(limit) = &self.limit else {
            return Ok(None);
        };
        let early = self.outer.take_early();
        let permit = early.or_else(|| limit.acquire(&self.outer.terms.key)).ok_or(())?;
        Ok(PermitLender::new(permit))
    }

    /// Has the layer further out take the task's permit for the client, and none of its own.
    pub(crate) fn lend(&self, lender: &Arc<PermitLender>) {
        let permit = self.limit.as_ref().and_then(|limit| lender.lend(&limit.permits));
        let unused = std::mem::replace(&mut lock(&self.outer.made().0).permit, permit);
        // After the lock: it goes back to its lender.
        drop(unused);
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static(LastEventId::HEADER);
