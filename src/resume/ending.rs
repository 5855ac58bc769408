//! How a session ends: its last events, and the guard that notes the end if the pump is dropped.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::nodes::Nodes;
use super::parser::EventParser;
use super::record::SessionEnd;
use super::session::Session;
use super::sessions::SessionMap;
use crate::dialect::{Dialect, Notice};
use crate::event_log::EventLog;
use crate::service::last_words;
use crate::state::DrainHold;
use crate::wire::{CloseReason, Event};

/// The last events of a session, in the words of its dialect. There are none if the end has none.
///
/// `close_event` is the `retry` of the end that a session comes to by itself, if that is told.
pub(super) fn last_events(
    end: SessionEnd,
    dialect: &Dialect,
    close_event: Option<Duration>,
) -> Vec<Event> {
    let (reason, retry) = match (end, close_event) {
        (SessionEnd::Finished, Some(_)) => (CloseReason::Finished, close_event),
        (SessionEnd::Stopped, _) => (CloseReason::Stopped, close_event),
        (SessionEnd::Failed, _) => (CloseReason::Error, None),
        (SessionEnd::Finished | SessionEnd::Abandoned | SessionEnd::Lost, _) => return Vec::new(),
    };
    let words = match reason {
        CloseReason::Error => failure(dialect),
        _ => last_words(dialect, &Notice { retry, ..Notice::new(reason) }),
    };
    // They are kept as the handler's events are: without an id, in whatever form they came.
    let (mut parser, mut rest) = (EventParser::new(usize::MAX), &words[..]);
    std::iter::from_fn(|| parser.next(&mut rest).ok().flatten()).collect()
}

/// What a client is told of a session that failed. It has no id, so that a client that gets it
/// beside the log keeps its position.
///
/// A dialect without words for a failure has it passed on, which a log cannot do.
pub(super) fn failure(dialect: &Dialect) -> Bytes {
    let notice = Notice::new(CloseReason::Error);
    match last_words(dialect, &notice) {
        words if words.is_empty() => last_words(&Dialect::event_source(), &notice),
        words => words,
    }
}

/// Ends the session if its pump does not begin, is dropped, or panics, also after the end is known
/// and before it is in the log.
pub(super) struct EndGuard<L: EventLog> {
    pub(super) session: Arc<Session<L>>,
    pub(super) sessions: Weak<SessionMap<L>>,
    pub(super) nodes: Option<Arc<Nodes>>,
    /// Whether the log says how the session ended.
    pub(super) is_written: bool,
    /// Keeps a drain from being over. It is dropped last.
    pub(super) hold: Option<DrainHold>,
}

impl<L: EventLog> EndGuard<L> {
    pub(super) fn new(
        session: Arc<Session<L>>,
        sessions: Weak<SessionMap<L>>,
        nodes: Option<Arc<Nodes>>,
    ) -> Self {
        Self { session, sessions, nodes, is_written: false, hold: None }
    }

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
