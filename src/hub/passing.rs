//! What of a follower's events a client is sent.

use std::collections::HashSet;

use bytes::Bytes;

use super::names::{EventNames, renamed};
use crate::event_log::{Gap, Logged, Topic, Topics, TopicsHash, close_event};
use crate::wire::EventId;

pub(super) type EventFilter = dyn Fn(&Logged) -> bool + Send + Sync;

/// What a client is sent next.
pub(super) enum Sent {
    Events(Bytes),
    Gap(Gap),
    /// The close event, which is the last.
    Close(Bytes),
    /// Nothing: whether it is the end shows when the topics are followed anew after this position.
    Recheck(EventId),
    End,
}

/// Which events a client is sent, and under which names.
pub(super) struct Passing {
    pub(super) filter: Option<Box<EventFilter>>,
    pub(super) names: Option<Box<EventNames>>,
    /// None if there is only one topic.
    pub(super) finished: Option<FinishedTopics>,
}

/// What becomes of an event.
pub(super) enum Verdict {
    Send,
    LeaveOut,
    /// It is the end, of which the client is told by this close event.
    Close(Bytes),
    /// It is the end after this position, unless a topic began anew in a gap.
    Recheck(EventId),
}

impl Passing {
    /// Whether events have to be looked at one by one.
    pub(super) fn looks_at_events(&self) -> bool {
        self.filter.is_some() || self.names.is_some() || self.finished.is_some()
    }

    /// What becomes of an event; `topic` is that of a body with one topic only.
    pub(super) fn judge(&mut self, event: &Logged, topic: TopicsHash) -> Verdict {
        let is_end = event.finishes_topic();
        let close = match &mut self.finished {
            Some(finished) => finished.note(event),
            None if is_end => Some(close_event(event.id(), topic)),
            None => None,
        };
        let is_unsure = self.finished.as_ref().is_some_and(|finished| finished.is_unsure);
        match (close, &self.filter) {
            (Some(close), _) => match EventId::new(event.id()) {
                Ok(position) if is_unsure => Verdict::Recheck(position),
                _ => Verdict::Close(close),
            },
            // Others of the topics are not finished.
            (None, _) if is_end => Verdict::LeaveOut,
            (None, Some(filter)) if !filter(event) => Verdict::LeaveOut,
            (None, _) => Verdict::Send,
        }
    }

    /// The event as this client gets it.
    pub(super) fn encode(&self, event: Logged) -> Bytes {
        match self.names.as_ref().and_then(|names| names(&event)) {
            Some(name) => renamed(event.bytes(), &name),
            None => event.into_bytes(),
        }
    }
}

/// Which of the topics of a response with several topics are finished.
pub(super) struct FinishedTopics {
    topics: Topics,
    finished: HashSet<Topic>,
    /// One of those that are finished may have begun anew with an event that was lost.
    is_unsure: bool,
    hash: TopicsHash,
}

impl FinishedTopics {
    pub(super) fn new(topics: Topics) -> Self {
        let hash = TopicsHash::of(&topics);
        Self { topics, finished: HashSet::new(), is_unsure: false, hash }
    }

    /// Notes that events were lost.
    pub(super) fn note_gap(&mut self) {
        self.is_unsure |= !self.finished.is_empty();
    }

    /// Begins anew, with a new follower, which returns the ends of topics that are finished.
    pub(super) fn begin_anew(&mut self) {
        self.finished.clear();
        self.is_unsure = false;
    }

    /// Notes an event. Returns the close event if it is the one that finishes the last topic.
    pub(super) fn note(&mut self, event: &Logged) -> Option<Bytes> {
        if !event.finishes_topic() {
            // It begins anew.
            if !self.finished.is_empty() {
                self.finished.remove(event.topic());
            }
            return None;
        }
        // A pattern may always match one more.
        if self.topics.has_patterns() {
            return None;
        }
        self.finished.insert(event.topic().clone());
        let all = self.topics.names().all(|name| self.finished.contains(name));
        all.then(|| close_event(event.id(), self.hash))
    }
}
