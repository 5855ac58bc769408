//! Where a log is in Redis.

use std::time::Duration;

use crate::event_log::Topic;
use crate::event_log::ids::random;

/// Where a log is in Redis, and how much of it. All keys have one hash tag, so that a cluster keeps
/// them together.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// The last sequence.
    pub(super) head: Box<str>,
    pub(super) epoch: Box<str>,
    /// A stream of this process's, by which the reader is woken.
    pub(super) wake: Box<str>,
    topics: Box<str>,
    /// How many events of a topic are kept.
    pub(super) events: usize,
    /// How long a topic is kept behind its last event.
    pub(super) idle: Duration,
}

impl Keys {
    pub(super) fn new(prefix: &str, events: usize, idle: Duration) -> Self {
        let key = |rest: &str| format!("{{{prefix}}}:{rest}").into();
        Self {
            head: key("head"),
            epoch: key("epoch"),
            wake: key(&format!("wake:{}", random())),
            topics: key("topic:"),
            events,
            idle,
        }
    }

    pub(super) fn topic(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.topics)
    }

    pub(super) fn idle_millis(&self) -> u64 {
        u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX)
    }

    /// An epoch for a log that has none: so a Redis that lost all is another log.
    ///
    /// Scripts cannot make one, since theirs are not random.
    #[expect(clippy::unused_self, reason = "it is an argument as the others are")]
    pub(super) fn new_epoch(&self) -> u64 {
        random()
    }
}
