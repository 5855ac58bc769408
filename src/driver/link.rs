//! What layers know of the stream in a response's body, and how they reach it.

use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http_body::Body;

use super::EarlyHeadLink;
use super::leaving::unregister;
use crate::dialect::Dialect;
use crate::engine::EndReason;
use crate::observe::StreamObserver;
use crate::plan::{Plan, ResolvedPlan, Setting};
use crate::roster::Registration;
use crate::state::{DrainStatus, Expiry, Permit, PermitClaim, RegistryEntry, StreamStats};
use crate::sync::lock;

/// The registrations of a stream in a registry and a drain, and its permit.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    pub(crate) registry: Option<(Registration<RegistryEntry>, Arc<StreamStats>)>,
    pub(crate) shutdown: Option<Registration<DrainStatus>>,
    pub(crate) permit: Option<Permit>,
    /// For how long the stream may go on after the drain has begun, in place of what holds for all.
    pub(crate) finish_within: Option<Duration>,
    /// The stream's head was sent before the handler has answered.
    pub(crate) early_head: Option<Arc<EarlyHeadLink>>,
}

impl Registrations {
    /// Adds those of `other` that are missing here, and returns the others.
    pub(crate) fn complete(&mut self, mut other: Self) -> Self {
        fn add<T>(here: &mut Option<T>, there: &mut Option<T>) {
            if here.is_none() {
                *here = there.take();
            }
        }
        if self.shutdown.is_none() {
            self.finish_within = other.finish_within;
        }
        add(&mut self.early_head, &mut other.early_head);
        add(&mut self.registry, &mut other.registry);
        add(&mut self.shutdown, &mut other.shutdown);
        add(&mut self.permit, &mut other.permit);
        other
    }

    /// Takes a stream off that nobody is going to read: hooks and a drain may know of it.
    pub(crate) fn leave(self, plan: &Plan) {
        let Self { registry, shutdown, permit, .. } = self;
        drop(permit);
        unregister(plan, (registry, shutdown), EndReason::ClientGone);
    }

    /// Removes and returns those that `plan` has a setting for.
    fn take_for(&mut self, plan: &Plan) -> Self {
        Self {
            early_head: None,
            finish_within: self.finish_within.take_if(|_| plan.shutdown.on().is_some()),
            registry: self.registry.take_if(|_| plan.registry.on().is_some()),
            shutdown: self.shutdown.take_if(|_| plan.shutdown.on().is_some()),
            permit: self.permit.take_if(|_| plan.limit.on().is_some()),
        }
    }
}

/// What layers did for one response.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    plan: Arc<ResolvedPlan>,
    /// The plans of the streams that this one is around.
    within: Vec<Arc<ResolvedPlan>>,
}

impl Done {
    pub(crate) fn new(plan: Arc<ResolvedPlan>) -> Self {
        Self { plan, within: Vec::new() }
    }

    /// The same, and then `plan` around it.
    pub(crate) fn around(self, plan: Arc<ResolvedPlan>) -> Self {
        let Self { plan: inner, mut within } = self;
        within.push(inner);
        Self { plan, within }
    }

    /// What is left to do of the plan of a layer. Mostly nothing is.
    pub(crate) fn left_of_layer(&self, plan: &ResolvedPlan) -> Plan {
        if self.plan.covers(plan) { Plan::default() } else { self.left_of(&plan.plan) }
    }

    /// What is left of `plan` to do.
    pub(crate) fn left_of(&self, plan: &Plan) -> Plan {
        let left = plan.without(&self.plan.plan);
        self.within.iter().fold(left, |left, within| left.without(&within.plan))
    }

    /// What the layers say of the words of the server.
    pub(crate) fn dialect(&self) -> Setting<Dialect> {
        let plans = self.within.iter().chain([&self.plan]);
        plans.fold(Setting::Unset, |dialect, plan| dialect.or(&plan.plan.dialect))
    }

    /// Whether a layer has turned the drains of layers further out off.
    pub(crate) fn turns_drains_off(&self) -> bool {
        let mut plans = self.within.iter().chain([&self.plan]);
        plans.any(|plan| matches!(plan.plan.shutdown, Setting::Off | Setting::Only(_)))
    }

    /// Whether a credential's expiry ends the stream, as far as its layers say.
    pub(crate) fn heeds_expiry(&self) -> bool {
        self.within.iter().chain([&self.plan]).all(|plan| plan.plan.heeds_expiry())
    }
}

/// The link between the stream in a response's body and the layers further out.
///
/// The body owns it and the layers have weak references, so a reference that cannot be upgraded is
/// that of a body that is over. Until its first poll a stream keeps its registrations here: layers
/// further out can still add theirs, or take them back for another stream.
#[derive(Debug)]
pub(crate) struct StreamLink(Mutex<LinkState>);

#[derive(Debug)]
struct LinkState {
    done: Done,
    /// When the stream ends because a credential expires.
    expiry: Option<Expiry>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The body passes as it is, and has no stream of this crate.
    Passive,
    /// The stream was not polled yet.
    Unopened { registrations: Registrations, observer: StreamObserver },
    /// The stream was polled and has its registrations. Its permit is here, or a claim to it if the
    /// stream looks after it.
    Open { permit: Option<Permit>, claim: Option<PermitClaim> },
}

/// What remains to be done around a stream.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) plan: Plan,
    pub(crate) registrations: Registrations,
    pub(crate) expiry: Option<Expiry>,
}

/// What a stream takes at its first poll.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) plan: Arc<ResolvedPlan>,
    pub(crate) registrations: Registrations,
    pub(super) observer: StreamObserver,
    pub(super) expiry: Option<Expiry>,
    /// The link, if outer layers may still ask for it.
    pub(super) link: Option<Arc<StreamLink>>,
}

impl StreamLink {
    /// The link of a body that passes as it is.
    pub(crate) fn passive(done: Done) -> Arc<Self> {
        Self::new(done, None, Phase::Passive)
    }

    /// The link of a stream.
    pub(crate) fn of_stream(
        done: Done,
        registrations: Registrations,
        observer: StreamObserver,
        expiry: Option<Expiry>,
    ) -> Arc<Self> {
        Self::new(done, expiry, Phase::Unopened { registrations, observer })
    }

    fn new(done: Done, expiry: Option<Expiry>, phase: Phase) -> Arc<Self> {
        Arc::new(Self(Mutex::new(LinkState { done, expiry, phase })))
    }

    /// Searches `body` for the link of the stream inside, however often the body was wrapped.
    ///
    /// A wrapper passes the question for its size on to the body inside, so a body of this crate
    /// that is asked during this call is inside of `body`. A wrapper that computes the size hides
    /// it.
    pub(crate) fn inside(body: &impl Body) -> Option<Arc<Self>> {
        /// Ends the search, also if a foreign body panics.
        struct Search;
        impl Drop for Search {
            fn drop(&mut self) {
                SEARCHING.set(false);
            }
        }
        let take_found = || FOUND.try_with(RefCell::take).ok().flatten();
        // A search that ended with a panic may have left something.
        drop(take_found());
        SEARCHING.set(true);
        let search = Search;
        let _ = body.size_hint();
        drop(search);
        take_found()
    }

    /// Whether a layer searches for the stream that a body contains.
    #[inline]
    pub(crate) fn is_searched() -> bool {
        SEARCHING.get()
    }

    /// Answers a search.
    pub(crate) fn answer_search(self: Arc<Self>) {
        // A thread that ends has no search.
        let _ = FOUND.try_with(|found| found.replace(Some(self)));
    }

    /// What was done for the response.
    pub(crate) fn done(&self) -> Done {
        self.lock().done.clone()
    }

    /// Whether the stream was not polled yet.
    pub(crate) fn is_unopened(&self) -> bool {
        matches!(self.lock().phase, Phase::Unopened { .. })
    }

    /// Whether the body passes as it is, and has no stream of this crate.
    pub(crate) fn is_passive(&self) -> bool {
        matches!(self.lock().phase, Phase::Passive)
    }

    /// Has the stream do what is `left` for an outer layer, with `registrations`, and end at
    /// `expiry` at the latest.
    ///
    /// Gives back what has to be done around the stream: everything if it was polled already, else
    /// the settings that hold beside another of the stream's own.
    pub(crate) fn join(
        &self,
        left: Plan,
        mut registrations: Registrations,
        expiry: Option<Expiry>,
    ) -> Around {
        let LinkState { done, expiry: known, phase } = &mut *self.lock();
        let heeds_expiry = done.heeds_expiry() && left.heeds_expiry();
        let earliest = Expiry::earliest(*known, expiry).filter(|_| heeds_expiry);
        let Phase::Unopened { registrations: held, .. } = phase else {
            let expiry = earliest.filter(|_| earliest != *known);
            return Around { plan: left, registrations, expiry };
        };
        *known = earliest;
        let around = left.beside(&done.plan.plan);
        let added = left.without(&around);
        if !added.is_unset() {
            let all = done.plan.plan.within(&added).resolve_as(&done.plan);
            done.plan = Arc::new(all);
        }
        let kept = registrations.take_for(&around);
        // Nothing is asked for that is held, so all of them are missing.
        let _ = held.complete(registrations);
        Around { plan: around, registrations: kept, expiry: None }
    }

    /// Notes that `plan` was done, which does not concern bytes.
    pub(crate) fn note(&self, plan: &Plan) {
        if plan.is_unset() {
            return;
        }
        let done = &mut self.lock().done;
        done.plan = Arc::new(done.plan.plan.within(plan).resolve_as(&done.plan));
    }

    /// Takes back what this stream holds for `plan`, the plan of another stream.
    pub(crate) fn reclaim(&self, plan: &Plan) -> Registrations {
        let LinkState { done, phase, .. } = &mut *self.lock();
        let held = plan.held_by(&done.plan.plan);
        match phase {
            Phase::Passive => Registrations::default(),
            Phase::Unopened { registrations, .. } => registrations.take_for(&held),
            Phase::Open { .. } if held.limit.on().is_none() => Registrations::default(),
            Phase::Open { permit, claim } => {
                let claimed = || claim.take()?.take_over();
                let permit = permit.take().or_else(claimed);
                Registrations { permit, ..Registrations::default() }
            }
        }
    }

    /// Takes back the observer of the stream, if the stream was not polled yet.
    pub(crate) fn reclaim_observer(&self) -> Option<StreamObserver> {
        match &mut self.lock().phase {
            Phase::Unopened { observer, .. } if observer.is_on() => {
                Some(mem::replace(observer, StreamObserver::off()))
            }
            _ => None,
        }
    }

    /// Opens the stream, which has its registrations itself from now on.
    ///
    /// A permit that the stream does not have to look after stays here as long as layers have
    /// references, so that they can take it back.
    pub(crate) fn open(self: &Arc<Self>) -> Opening {
        let LinkState { done, expiry, phase } = &mut *self.lock();
        let open = Phase::Open { permit: None, claim: None };
        let (mut registrations, observer) = match mem::replace(phase, open) {
            Phase::Unopened { registrations, observer } => (registrations, observer),
            Phase::Passive | Phase::Open { .. } => {
                (Registrations::default(), StreamObserver::off())
            }
        };
        // Asked once: the last of those that may ask for the link may go at any time.
        let link = (Arc::weak_count(self) > 0).then(|| Arc::clone(self));
        if link.is_some() {
            let permit = registrations.permit.take_if(|permit| !permit.is_replaceable());
            let claim = registrations.permit.as_ref().and_then(Permit::claim);
            *phase = Phase::Open { permit, claim };
        }
        let plan = if observer.is_on() { done.plan.observed() } else { Arc::clone(&done.plan) };
        Opening { plan, registrations, observer, expiry: *expiry, link }
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        lock(&self.0)
    }
}

thread_local! {
    static SEARCHING: Cell<bool> = const { Cell::new(false) };
    static FOUND: RefCell<Option<Arc<StreamLink>>> = const { RefCell::new(None) };
}
