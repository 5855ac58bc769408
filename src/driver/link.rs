//! What the layers of one response share about the stream in its body.

use std::cell::{Cell, RefCell};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body::Body;

use crate::observe::StreamObserver;
use crate::plan::{Plan, ResolvedPlan};
use crate::roster::Registration;
use crate::state::{DrainStatus, Expiry, Permit, RegistryEntry, StreamStats};
use crate::sync::lock;

/// The lists that a stream is on, and its permit.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    pub(crate) registry: Option<(Registration<RegistryEntry>, Arc<StreamStats>)>,
    pub(crate) shutdown: Option<Registration<DrainStatus>>,
    pub(crate) permit: Option<Permit>,
}

impl Registrations {
    /// Takes those of `other` that are missing here.
    pub(crate) fn complete(&mut self, other: Self) {
        self.registry = self.registry.take().or(other.registry);
        self.shutdown = self.shutdown.take().or(other.shutdown);
        self.permit = self.permit.take().or(other.permit);
    }

    /// Takes those out that `plan` is about.
    fn take_for(&mut self, plan: &Plan) -> Self {
        Self {
            registry: self.registry.take_if(|_| plan.registry.on().is_some()),
            shutdown: self.shutdown.take_if(|_| plan.shutdown.on().is_some()),
            permit: self.permit.take_if(|_| plan.limit.on().is_some()),
        }
    }
}

/// What layers have done for one response.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    plan: Arc<ResolvedPlan>,
    /// What was done further in by streams that this one is around.
    within: Vec<Arc<ResolvedPlan>>,
}

impl Done {
    pub(crate) fn new(plan: Arc<ResolvedPlan>) -> Self {
        Self { plan, within: Vec::new() }
    }

    /// `plan` was done around what was done before.
    pub(crate) fn around(self, plan: Arc<ResolvedPlan>) -> Self {
        let Self { plan: inner, mut within } = self;
        within.push(inner);
        Self { plan, within }
    }

    /// What is left of `plan` to do.
    pub(crate) fn left_of(&self, plan: &Plan) -> Plan {
        let left = plan.without(&self.plan.plan);
        self.within.iter().fold(left, |left, within| left.without(&within.plan))
    }

    /// Whether an expiry ends the stream, as far as layers said so.
    pub(crate) fn heeds_expiry(&self) -> bool {
        self.within.iter().chain([&self.plan]).all(|plan| plan.plan.heeds_expiry())
    }
}

/// The link between the stream in a response's body and the layers further out.
///
/// The body owns it and the layers have weak references, so a link that cannot be upgraded belongs
/// to a body that is over. Until its first poll a stream keeps its registrations here: layers
/// further out can still add theirs, or take them back for another stream.
#[derive(Debug)]
pub(crate) struct StreamLink(Mutex<LinkState>);

#[derive(Debug)]
struct LinkState {
    done: Done,
    /// When the stream's credential expires, as far as the stream was told.
    expiry: Option<Expiry>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The body passes as it is, and has no stream of this crate.
    Passive,
    /// The stream was not polled yet.
    Unopened { registrations: Registrations, watch: StreamObserver },
    /// The stream was polled.
    Open { permit: Option<Permit> },
}

/// What is done around a stream that has done the rest.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) plan: Plan,
    pub(crate) registrations: Registrations,
    pub(crate) expiry: Option<Expiry>,
}

/// What a stream begins with.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) plan: Arc<ResolvedPlan>,
    pub(super) registrations: Registrations,
    pub(super) watch: StreamObserver,
    pub(super) expiry: Option<Expiry>,
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
        watch: StreamObserver,
        expiry: Option<Expiry>,
    ) -> Arc<Self> {
        Self::new(done, expiry, Phase::Unopened { registrations, watch })
    }

    fn new(done: Done, expiry: Option<Expiry>, phase: Phase) -> Arc<Self> {
        Arc::new(Self(Mutex::new(LinkState { done, expiry, phase })))
    }

    /// Finds the link of the stream that `body` contains, however often the body was wrapped.
    ///
    /// A wrapper asks the body inside for its size, so a body of this crate that is asked within
    /// this call is inside of `body`. Wrappers that compute the size by themselves hide it.
    pub(crate) fn inside(body: &impl Body) -> Option<Arc<Self>> {
        /// Ends the search, also if a foreign body panics.
        struct Search;
        impl Drop for Search {
            fn drop(&mut self) {
                SEARCHING.set(false);
            }
        }
        SEARCHING.set(true);
        let search = Search;
        let _ = body.size_hint();
        drop(search);
        FOUND.try_with(|found| found.borrow_mut().take()).ok().flatten()
    }

    /// Answers a search for the stream that a body contains. False if there is no search.
    #[inline]
    pub(crate) fn answer_search(link: Option<&Arc<Self>>) -> bool {
        let searching = SEARCHING.get();
        if let (true, Some(link)) = (searching, link) {
            // A thread that ends has no search.
            let _ = FOUND.try_with(|found| found.replace(Some(Arc::clone(link))));
        }
        searching
    }

    /// What was done for the response.
    pub(crate) fn done(&self) -> Done {
        self.lock().done.clone()
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
        held.complete(registrations);
        Around { plan: around, registrations: kept, expiry: None }
    }

    /// Notes that `plan` was done, which does not concern the bytes of the body.
    pub(crate) fn note(&self, plan: &Plan) {
        let done = &mut self.lock().done;
        done.plan = Arc::new(done.plan.plan.within(plan).resolve_as(&done.plan));
    }

    /// Takes back for another stream, whose plan is `plan`, what this stream holds for it.
    pub(crate) fn reclaim(&self, plan: &Plan) -> Registrations {
        let LinkState { done, phase, .. } = &mut *self.lock();
        let held = plan.held_by(&done.plan.plan);
        match phase {
            Phase::Passive => Registrations::default(),
            Phase::Unopened { registrations, .. } => registrations.take_for(&held),
            Phase::Open { permit } => {
                let permit = permit.take_if(|_| held.limit.on().is_some());
                Registrations { permit, ..Registrations::default() }
            }
        }
    }

    /// Takes back what is observed of the stream, if it was not polled yet.
    pub(crate) fn reclaim_watch(&self) -> Option<StreamObserver> {
        match &mut self.lock().phase {
            Phase::Unopened { watch, .. } if watch.is_on() => {
                Some(mem::replace(watch, StreamObserver::off()))
            }
            _ => None,
        }
    }

    /// Opens the stream: from now on it holds its registrations itself.
    ///
    /// While layers may still ask for it, a permit that needs no attention stays in the link.
    pub(super) fn open(self: &Arc<Self>) -> Opening {
        let LinkState { done, expiry, phase } = &mut *self.lock();
        let open = Phase::Open { permit: None };
        let (mut registrations, watch) = match mem::replace(phase, open) {
            Phase::Unopened { registrations, watch } => (registrations, watch),
            Phase::Passive | Phase::Open { .. } => {
                (Registrations::default(), StreamObserver::off())
            }
        };
        if Arc::weak_count(self) > 0 {
            let permit = registrations.permit.take_if(|permit| !permit.is_replaceable());
            *phase = Phase::Open { permit };
        }
        let plan = if watch.is_on() { done.plan.observed() } else { Arc::clone(&done.plan) };
        Opening { plan, registrations, watch, expiry: *expiry }
    }

    fn lock(&self) -> MutexGuard<'_, LinkState> {
        lock(&self.0)
    }
}

thread_local! {
    static SEARCHING: Cell<bool> = const { Cell::new(false) };
    static FOUND: RefCell<Option<Arc<StreamLink>>> = const { RefCell::new(None) };
}
