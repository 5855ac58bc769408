//! How a session ends: its last event, and the guard that notes the end if the pump is dropped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::nodes::Nodes;
use super::record::stopped_event;
use super::session::{Session, SessionEnd};
use super::sessions::SessionMap;
use crate::event_log::EventLog;
use crate::state::DrainHold;
use crate::wire::{CloseReason, Event};

/// The last event of a session, if its end has one.
pub(super) fn last_event(end: SessionEnd, close_event: Option<Duration>) -> Option<Event> {
    let (event, retry) = match end {
        SessionEnd::Finished => (CloseReason::Finished.event("close"), Some(close_event?)),
        SessionEnd::Stopped => (stopped_event(), close_event),
        SessionEnd::Failed => (CloseReason::Error.event("close"), None),
        SessionEnd::Abandoned | SessionEnd::Lost => return None,
    };
    Some(match retry {
        Some(retry) => event.retry(retry),
        None => event,
    })
}

/// Ends the session if the pump is dropped or panics, also after the end is known and before it is
/// in the log.
pub(super) struct EndGuard<L: EventLog> {
    pub(super) session: Arc<Session<L>>,
    pub(super) sessions: Weak<SessionMap<L>>,
    pub(super) nodes: Option<Arc<Nodes>>,
    /// Whether the log says how the session ended.
    pub(super) is_written: bool,
    /// Keeps a drain from being over.
    #[expect(dead_code, reason = "it is dropped last")]
    pub(super) hold: Option<DrainHold>,
}

impl<L: EventLog> EndGuard<L> {
    pub(super) fn end(&self, end: SessionEnd) {
        if !self.session.end(end) {
            return;
        }
        let Some(sessions) = self.sessions.upgrade() else {
            return;
        };
        match end {
            SessionEnd::Finished | SessionEnd::Stopped | SessionEnd::Failed => {
                sessions.note_end(self.session.token);
            }
            SessionEnd::Abandoned | SessionEnd::Lost => sessions.remove(self.session.token),
        }
        if let Some(nodes) = &self.nodes {
            nodes.changed.notify_one();
        }
    }
}

impl<L: EventLog> Drop for EndGuard<L> {
    fn drop(&mut self) {
        if !self.session.has_ended() {
            self.end(SessionEnd::Lost);
        }
        if !self.is_written {
            self.session.end_is_unwritten();
        }
    }
}
