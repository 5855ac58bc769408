//! Topics that are over: when their time has come, their events are rolled up into one message
//! without an event, which says so.
//!
//! A subject that was only purged would leave no trace, and a client that missed its last events
//! would not be told. A message that [rolls up](super::link::RolledUp) its subject replaces the
//! events at once, and only if no event was appended meanwhile. It has a place in its topic:
//! whoever should have had the events comes to it later than to the place of any of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::NatsLogInner;
use super::link::{ROLLUP, RetryLater};
use super::stream::{created, last_message};
use crate::event_log::Topic;
use crate::sync::lock;

/// The topics of a log that are to be forgotten, and when.
#[derive(Debug, Default)]
pub(super) struct ForgetQueue {
    pending: Mutex<PendingTopics>,
    /// Notified when there is a topic that may be due first.
    changed: Notify,
}

#[derive(Debug, Default)]
struct PendingTopics {
    topics: HashMap<Topic, PendingTopic>,
    order: BTreeSet<(Instant, Topic)>,
}

#[derive(Clone, Copy, Debug)]
struct PendingTopic {
    at: Instant,
    epoch: u64,
    /// An event after this keeps the topic.
    last: u64,
}

impl ForgetQueue {
    /// Has a topic forgotten after a time, unless it has events after `last` by then. What was said
    /// of it before holds no more.
    pub(super) fn push(&self, topic: &Topic, after: Duration, epoch: u64, last: u64) {
        // A stream keeps nothing for longer.
        let Some(at) = Instant::now().checked_add(after) else {
            return;
        };
        lock(&self.pending).push(topic.clone(), PendingTopic { at, epoch, last });
        self.changed.notify_one();
    }

    /// Waits until a topic is due, and takes it.
    async fn take(&self) -> (Topic, PendingTopic) {
        loop {
            let first = match lock(&self.pending).take(Instant::now()) {
                Ok(due) => return due,
                Err(first) => first,
            };
            let changed = self.changed.notified();
            match first {
                Some(at) => {
                    let _ = timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }
}

impl PendingTopics {
    fn push(&mut self, topic: Topic, pending: PendingTopic) {
        if let Some(before) = self.topics.remove(&topic) {
            self.order.remove(&(before.at, topic.clone()));
        }
        // The stream keeps one more as long as any other.
        if self.topics.len() < MAX_PENDING {
            self.order.insert((pending.at, topic.clone()));
            self.topics.insert(topic, pending);
        }
    }

    /// A topic that is due, or when the first one is.
    fn take(&mut self, now: Instant) -> Result<(Topic, PendingTopic), Option<Instant>> {
        match self.order.first() {
            Some((at, _)) if *at > now => return Err(Some(*at)),
            None => return Err(None),
            Some(_) => {}
        }
        let (_, topic) = self.order.pop_first().ok_or(None)?;
        let pending = self.topics.remove(&topic).ok_or(None)?;
        Ok((topic, pending))
    }
}

/// Forgets topics when they are due, one after the other, for ever.
pub(super) async fn run(log: Arc<NatsLogInner>) {
    loop {
        let (topic, pending) = log.forgetting.take().await;
        for _ in 0..MAX_ATTEMPTS {
            log.link.appends.up().await;
            if roll_up(&log, &topic, pending).await.is_ok() {
                break;
            }
            log.link.appends.pause().await;
        }
    }
}

/// Replaces the events of a topic, unless there are later ones.
async fn roll_up(
    log: &NatsLogInner,
    topic: &Topic,
    pending: PendingTopic,
) -> Result<(), RetryLater> {
    let (link, connection) = (&log.link, &log.link.appends);
    let stream = link.get_stream(connection).await?;
    let info = stream.cached_info();
    if created(info) != pending.epoch || !info.config.allow_rollup {
        return Ok(());
    }
    let subject = link.subject(topic.as_str());
    let Some(last) = last_message(&stream, &subject).await? else {
        return Ok(());
    };
    if last.sequence > pending.last || last.payload.is_empty() {
        return Ok(());
    }
    let mut headers = HeaderMap::new();
    headers.insert(ROLLUP, "sub");
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, last.sequence.to_string());
    let publish = connection.jetstream.publish_with_headers(subject, headers, Bytes::new());
    let rolled_up = async { publish.await?.await };
    match rolled_up.await {
        Ok(_) => Ok(()),
        // There is a later event, or an answer was lost and this was done before.
        Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(()),
        Err(error) => Err(RetryLater::because(error)),
    }
}

/// The most topics that wait to be forgotten. Each takes about 200 bytes, and names may come from
/// clients.
const MAX_PENDING: usize = 65_536;

/// After so many failures a topic is left to the stream, so that it does not hold up the others.
const MAX_ATTEMPTS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn topics_are_due_in_the_order_of_their_times_and_the_last_word_on_each_counts() {
        let (queue, second) = (ForgetQueue::default(), Duration::from_secs(1));
        let topic = Topic::from_static;
        queue.push(&topic("a"), 3 * second, 7, 1);
        queue.push(&topic("b"), second, 7, 2);
        queue.push(&topic("c"), 2 * second, 7, 3);
        queue.push(&topic("b"), 4 * second, 7, 4);
        queue.push(&topic("never"), Duration::MAX, 7, 5);
        let began = Instant::now();
        for (name, after, last) in [("c", 2, 3), ("a", 3, 1), ("b", 4, 4)] {
            let (taken, pending) = queue.take().await;
            assert_eq!((taken.as_str(), pending.last), (name, last));
            assert_eq!(began.elapsed().as_secs(), after);
        }
        assert!(lock(&queue.pending).topics.is_empty());
    }

    #[test]
    fn topics_that_wait_to_be_forgotten_are_bounded() {
        let queue = ForgetQueue::default();
        for n in 0..MAX_PENDING + 10 {
            queue.push(&Topic::new(n.to_string()).unwrap(), Duration::from_secs(1), 7, 1);
        }
        let pending = lock(&queue.pending);
        assert_eq!((pending.topics.len(), pending.order.len()), (MAX_PENDING, MAX_PENDING));
    }
}
