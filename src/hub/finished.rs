//! Which of a response's topics are finished, and the close event when all of them are.

use std::collections::HashSet;

use bytes::Bytes;

use crate::event_log::{Logged, Topic, Topics, TopicsHash, close_event};

/// Which of the topics of a response with several topics are finished.
pub(super) struct FinishedTopics {
    topics: Topics,
    finished: HashSet<Topic>,
    hash: TopicsHash,
}

impl FinishedTopics {
    pub(super) fn new(topics: Topics) -> Self {
        let hash = TopicsHash::of(&topics);
        Self { topics, finished: HashSet::new(), hash }
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
