//! What is kept of a request until its response comes, and what layers tell each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Uri};

use super::head;
use crate::engine::Position;
use crate::live::{Label, Roster, SeatId};
use crate::plan::{Plan, Settled};

/// What a layer tells those further in: what is asked so far.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) settled: Arc<Settled>,
    pub(super) call: Arc<Call>,
    /// What the layer that lists the stream calls it.
    pub(super) label: Label,
}

/// What a layer tells those further out, in the response: what was done.
#[derive(Clone, Debug)]
pub(super) struct Done(pub(super) Arc<Plan>);

/// What is kept of a request, once for all layers.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) asks_for_events: bool,
    last_event_id: Option<HeaderValue>,
    pub(super) listed: Seated,
    pub(super) drained: Seated,
}

impl Call {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            asks_for_events: head::asks_for_events(request.headers()),
            last_event_id: request.headers().get(LAST_EVENT_ID).cloned(),
            listed: Seated::default(),
            drained: Seated::default(),
        }
    }

    /// Where the client says that it is in the stream.
    pub(super) fn place(&self) -> Position {
        self.last_event_id.as_ref().map_or(Position::None, |id| Position::brought(id.as_bytes()))
    }
}

/// Where a layer further in has put this request's stream on a list.
///
/// It counts only where the response does not tell itself what was done, because somebody dropped
/// its extensions. Then a stream that is still on the list is not put there twice.
#[derive(Debug, Default)]
pub(super) struct Seated(AtomicU64);

impl Seated {
    pub(super) fn set(&self, id: SeatId) {
        self.0.store(id.as_u64(), Ordering::Release);
    }

    pub(super) fn is_on<T>(&self, roster: &Roster<T>) -> bool {
        match self.0.load(Ordering::Acquire) {
            0 => false,
            id => roster.contains(SeatId::from_u64(id)),
        }
    }
}

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
