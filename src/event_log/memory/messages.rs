//! The ids of messages that a log in memory took, so that it takes each once.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use super::MemoryLogBuilder;
use super::topic::later;
use crate::event_log::{MessageId, Topic};

/// Which messages were taken within the last time, of all topics.
#[derive(Debug, Default)]
pub(super) struct MessageIds {
    taken: HashMap<MessageKey, TakenMessage>,
    /// In the order in which they were taken. A message that is taken again after its time is here
    /// twice, until its first time is dropped.
    order: VecDeque<(Instant, MessageKey)>,
}

/// A message id is one of its topic.
type MessageKey = (Topic, MessageId);

#[derive(Debug)]
struct TakenMessage {
    sequence: u64,
    /// The id may be taken again from then on.
    until: Instant,
}

impl MessageIds {
    /// The sequence of the event of a message that was taken.
    pub(super) fn find(&self, topic: &Topic, message: &MessageId, now: Instant) -> Option<u64> {
        let taken = self.taken.get(&(topic.clone(), message.clone()))?;
        (now < taken.until).then_some(taken.sequence)
    }

    /// Notes that a message was taken, and drops the oldest before if there are too many.
    pub(super) fn take(
        &mut self,
        (topic, message): (&Topic, &MessageId),
        sequence: u64,
        now: Instant,
        limits: &MemoryLogBuilder,
    ) {
        // First, so that the room for as many as there may be does not double.
        while self.order.len() >= limits.message_ids {
            self.drop_first();
        }
        let until = later(now, limits.duplicate_window);
        let key = (topic.clone(), message.clone());
        self.order.push_back((until, key.clone()));
        self.taken.insert(key, TakenMessage { sequence, until });
    }

    /// Drops ids whose time has passed, but not more than so many.
    pub(super) fn sweep(&mut self, now: Instant, most: usize) {
        for _ in 0..most {
            match self.order.front() {
                Some((until, _)) if *until <= now => self.drop_first(),
                _ => break,
            }
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            *self = Self::default();
        }
    }

    fn drop_first(&mut self) {
        if let Some((until, key)) = self.order.pop_front() {
            if self.taken.get(&key).is_some_and(|taken| taken.until == until) {
                self.taken.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_kept_is_bounded_by_count_and_by_time_and_none_is_kept_when_all_is_over() {
        let second = Duration::from_secs(1);
        let limits = MemoryLogBuilder::default().message_ids(3).duplicate_window(10 * second);
        let (mut ids, start) = (MessageIds::default(), Instant::now());
        let topic = Topic::from_static("t");
        let id = |n: u64| MessageId::new(n.to_string()).unwrap();
        for n in 0..100 {
            ids.take((&topic, &id(n)), n, start, &limits);
            assert!(ids.taken.len() <= 3 && ids.order.len() <= 3);
        }
        assert_eq!(ids.find(&topic, &id(96), start), None);
        assert_eq!(ids.find(&topic, &id(97), start), Some(97));
        assert_eq!(ids.find(&topic, &id(99), start + 9 * second), Some(99));
        let after = start + 10 * second;
        assert_eq!(ids.find(&topic, &id(99), after), None);
        // Taken again before it was dropped: its second time counts.
        ids.take((&topic, &id(99)), 7, after, &limits);
        ids.sweep(after, 256);
        assert_eq!((ids.find(&topic, &id(99), after), ids.taken.len()), (Some(7), 1));
        ids.sweep(after + 10 * second, 256);
        assert_eq!((ids.taken.capacity(), ids.order.capacity()), (0, 0));
    }
}
