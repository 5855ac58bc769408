//! What is kept of a request until its response comes, and what layers tell each other.

use std::sync::{Arc, Mutex};

use http::header::{HeaderName, HeaderValue};
use http::response::Parts;
use http::{Method, Request, Uri};

use super::head;
use crate::driver::LatePlan;
use crate::engine::Position;
use crate::observe::Observer;
use crate::plan::{Plan, ResolvedPlan};
use crate::state::{Expiry, Label, LimitKey};
use crate::sync::lock;

/// What a layer tells those further in: what is asked so far.
#[derive(Clone, Debug)]
pub(super) struct OuterPlan {
    pub(super) resolved: Arc<ResolvedPlan>,
    pub(super) call: Arc<RequestInfo>,
    /// What the layer that lists the stream calls it.
    pub(super) label: Label,
    /// By what the layer that limits streams counts this one.
    pub(super) key: LimitKey,
    /// When the credential ends on which it is asked.
    pub(super) expiry: Option<Expiry>,
    /// Where the next layer further in says what was done, too.
    pub(super) answer: Arc<PlanReceipt>,
    /// Who is told of the layer's streams.
    pub(super) observer: Observer,
}

/// What a layer tells those further out: what was done, and by which stream.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) plan: Arc<Plan>,
    /// Takes what layers further out ask for that were not heard on the way in.
    pub(super) stream: Option<Arc<LatePlan>>,
}

impl Done {
    /// Says it to layers further out.
    pub(super) fn tell(self, head: &mut Parts, outer: Option<&PlanReceipt>) {
        if let Some(outer) = outer {
            outer.set(self.clone());
        }
        head.extensions.insert(self);
    }
}

/// What was done, by a way that no middleware between two layers can cut: the response has it too,
/// but its extensions may be dropped.
#[derive(Debug, Default)]
pub(super) struct PlanReceipt(Mutex<Option<Done>>);

impl PlanReceipt {
    pub(super) fn set(&self, done: Done) {
        *lock(&self.0) = Some(done);
    }

    pub(super) fn get(&self) -> Option<Done> {
        lock(&self.0).clone()
    }
}

/// What is kept of a request, once for all layers.
#[derive(Debug)]
pub(super) struct RequestInfo {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) asks_for_events: bool,
    last_event_id: Option<HeaderValue>,
}

impl RequestInfo {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            asks_for_events: head::asks_for_events(request.headers()),
            last_event_id: request.headers().get(LAST_EVENT_ID).cloned(),
        }
    }

    /// Where the client says that it is in the stream.
    pub(super) fn place(&self) -> Position {
        self.last_event_id.as_ref().map_or(Position::None, |id| Position::brought(id.as_bytes()))
    }
}

/// Takes out what layers further out and further in tell each other: what stands between them makes
/// two streams of one, and each side looks after its own.
#[cfg(feature = "resume")]
pub(crate) fn separate(extensions: &mut http::Extensions) {
    extensions.remove::<OuterPlan>();
    extensions.remove::<Done>();
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
