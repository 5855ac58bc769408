//! What is known of a request until its response comes, and what the layers tell each other.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use http::{Extensions, Method, Uri};
use http_body::Body;

use super::admission::EarlyPermit;
#[cfg(feature = "resume")]
use super::early_head::take_early_head;
use super::head;
#[cfg(feature = "resume")]
use crate::dialect::Dialect;
use crate::driver::{EarlyHeadLink, Registrations, StreamLink};
use crate::engine::Position;
use crate::observe::{LayerObserver, StreamObserver};
#[cfg(feature = "resume")]
use crate::plan::Setting;
use crate::plan::{Plan, ResolvedPlan};
use crate::state::{CappedKey, Drain, Expiry, Label, Permit};
#[cfg(feature = "resume")]
use crate::state::{LimitInner, PermitLender};
use crate::sync::{lock, now};
use crate::wire::LastEventId;

/// What a layer asks of those further in. It is shared by the extensions of the request and the
/// future of the response.
#[derive(Clone, Debug)]
pub(super) struct OuterPlan {
    pub(super) resolved: Arc<ResolvedPlan>,
    pub(super) request: Arc<RequestInfo>,
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
    pub(super) outer_drains: Vec<Arc<Drain>>,
    /// What is known of a head that is sent early, further in than the layers that asked so far.
    pub(super) early_head: Option<Arc<EarlyHeadLink>>,
    pub(super) made: MadeStreams,
    pub(super) observer: LayerObserver,
}

impl OuterPlan {
    /// A plan of which nothing else is known.
    pub(super) fn new(
        resolved: Arc<ResolvedPlan>,
        request: Arc<RequestInfo>,
        observer: LayerObserver,
    ) -> Self {
        Self {
            resolved,
            request,
            label: Label::default(),
            key: CappedKey::default(),
            early: Weak::new(),
            finish_within: None,
            for_refusal: None,
            expiry: None,
            outer_drains: Vec::new(),
            early_head: None,
            made: MadeStreams::default(),
            observer,
        }
    }

    /// What is left of it where a stream begins that is not that of the layers that asked: the
    /// words of the route. None if they have not chosen any.
    #[cfg(feature = "resume")]
    fn dialect_alone(&self) -> Option<Self> {
        let dialect = self.resolved.plan.dialect.on()?.passing_failures();
        let plan = Plan { dialect: Setting::On(dialect), ..Plan::default() };
        let (request, observer) = (Arc::clone(&self.request), self.observer.clone());
        Some(Self::new(Arc::new(plan.resolve()), request, observer))
    }

    /// The first of the drains of all layers that refuses new streams.
    pub(super) fn refusing_drain(&self) -> Option<&Arc<Drain>> {
        let drain = self.resolved.plan.shutdown.on().map(|shutdown| &shutdown.drain);
        drain.into_iter().chain(&self.outer_drains).find(|drain| drain.refuses(now))
    }

    /// Whether there is a permit that was taken before the handler.
    pub(super) fn has_early(&self) -> bool {
        self.early.upgrade().is_some_and(|early| early.is_held())
    }

    /// Takes the permit that was taken before the handler.
    pub(super) fn take_early(&self) -> Option<Permit> {
        self.early.upgrade()?.take()
    }
}

/// The streams that layers further in made for one request: mostly one, which is in the response.
///
/// A handler may call a service of its own with its request, and answer with another stream than
/// the service did. What the service's layers took for the request is taken back then.
#[derive(Clone, Debug, Default)]
pub(super) struct MadeStreams(Arc<Mutex<Made>>);

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
pub(super) fn carried(body: &impl Body, extensions: &mut Extensions) -> Carried {
    let told = extensions.remove::<CarriedStream>();
    match (StreamLink::inside(body), told.and_then(|told| told.0.upgrade())) {
        (Some(link), _) => Carried::InBody(link),
        (None, Some(link)) => Carried::InHead(link),
        (None, None) => Carried::None,
    }
}

/// Tells layers further out which stream a response carries.
pub(super) fn tell(
    link: &Arc<StreamLink>,
    extensions: &mut Extensions,
    outer: Option<&MadeStreams>,
) {
    extensions.insert(CarriedStream(Arc::downgrade(link)));
    if let Some(outer) = outer {
        outer.add(link);
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
    pub(super) fn of(request: &Parts) -> Self {
        Self {
            method: request.method.clone(),
            uri: request.uri.clone(),
            wants_events: head::wants_events(&request.method, &request.headers),
            last_event_id: request.headers.get(LAST_EVENT_ID).cloned(),
        }
    }

    /// Where the client says that it is in the stream.
    pub(super) fn position(&self) -> Position {
        self.last_event_id.as_ref().map_or(Position::None, |id| Position::brought(id.as_bytes()))
    }
}

/// Leaves of what layers further out ask for only their dialect, for layers further in whose stream
/// is another one.
#[cfg(feature = "resume")]
pub(crate) fn separate_request(extensions: &mut Extensions) {
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
        Setting::Off => Some(Dialect::default()),
        Setting::On(dialect) => Some(dialect),
    }
}

/// What layers further out ask of a task that goes on without its request: their limit, their
/// drain, and their dialect.
#[cfg(feature = "resume")]
#[derive(Clone, Debug)]
pub(crate) struct OuterTask {
    limit: Option<Arc<LimitInner>>,
    key: CappedKey,
    early: Weak<EarlyPermit>,
    pub(crate) drain: Option<Arc<Drain>>,
    pub(crate) dialect: Dialect,
    made: MadeStreams,
}

#[cfg(feature = "resume")]
impl OuterTask {
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        let outer = extensions.get::<Arc<OuterPlan>>()?;
        let OuterPlan { resolved, key, early, made, .. } = &**outer;
        let limit = resolved.plan.limit.on().map(|setting| Arc::clone(&setting.limit));
        let drain = resolved.plan.shutdown.on().map(|shutdown| Arc::clone(&shutdown.drain));
        let (key, early, made) = (key.clone(), Weak::clone(early), made.clone());
        Some(Self { limit, key, early, drain, dialect: resolved.plan.dialect(), made })
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
        let early = self.early.upgrade().and_then(|early| early.take());
        let permit = early.or_else(|| limit.acquire(&self.key)).ok_or(())?;
        Ok(PermitLender::new(permit))
    }

    /// Has the layer further out take the task's permit for the client, and none of its own.
    pub(crate) fn lend(&self, lender: &Arc<PermitLender>) {
        let permit = self.limit.as_ref().and_then(|limit| lender.lend(&limit.permits));
        let unused = std::mem::replace(&mut lock(&self.made.0).permit, permit);
        // After the lock: it goes back to its lender.
        drop(unused);
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static(LastEventId::HEADER);
