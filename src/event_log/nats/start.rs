//! Where a client starts, and what it requests of the server for that.

use super::fetch::FetchRequest;
use super::ids::NatsPosition;
use super::window::NatsWindow;
use crate::event_log::start::Unreplayable;
use crate::event_log::{GapReason, Start};

/// Where a client starts in a history of the stream.
pub(super) struct NatsStart {
    pub(super) generation: u64,
    pub(super) position: StartPosition,
    /// What the client requests first, if the window does not have all that it needs.
    pub(super) request: Option<FetchRequest>,
}

pub(super) enum StartPosition {
    /// After this sequence.
    Live(u64),
    After(NatsPosition),
    /// Before the first event that there is.
    First,
}

impl NatsStart {
    pub(super) fn new(window: &NatsWindow, from: Start) -> Self {
        let (generation, epoch) = (window.generation, window.epoch);
        let at = |position, request| Self { generation, position, request };
        let id = match &from {
            Start::Live => return at(StartPosition::Live(window.known.sequence), None),
            Start::Earliest => return at(StartPosition::First, Some(FetchRequest::Earliest)),
            Start::After(id) => Some(id),
            Start::Unknown => None,
        };
        let reason = match id.and_then(NatsPosition::parse) {
            Some(id) if id.epoch == epoch => match window.verify(id.slot) {
                Some(true) => return at(StartPosition::After(id), None),
                // The event was lost, and another one has its sequence.
                Some(false) => GapReason::Restarted,
                // It was trimmed, or another node has given it out.
                None => {
                    let position = id.sequence();
                    let (slot, requested) = (Some(id.slot), from);
                    let request = FetchRequest::After { generation, position, slot, requested };
                    return at(StartPosition::After(id), Some(request));
                }
            },
            Some(_) => GapReason::Restarted,
            None => GapReason::of_unknown(&from, epoch),
        };
        let unreplayable = Unreplayable { requested: from, reason };
        at(StartPosition::First, Some(FetchRequest::All(unreplayable)))
    }
}
