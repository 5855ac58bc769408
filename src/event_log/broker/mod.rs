//! What logs of brokers share: one poller fills a window for each topic, and any number of
//! followers read from the windows.
//!
//! A [`BrokerSource`] is what the code for one broker implements. Sequences are in one order over
//! all topics, and a [`BrokerEvent`] names the sequence that was before it in its topic. So a
//! follower at any position knows whether events are missing before the next event, wherever that
//! comes from: a window, a page that the broker returned, or a poller that was away for a time.
//! This chain of predecessors is the only loss detection.

mod cursor;
mod follower;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::timeout;

use super::{Logged, Topic};
use crate::sync::{lock, now};

pub(super) use follower::BrokerFollower;
pub(super) use topic::{BrokerTopic, LoadedTopic};

/// A future that waits for a broker, however long it is away.
pub(super) type BrokerFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What followers ask of a broker, beside what its poller reads.
pub(super) trait BrokerSource: Send + Sync + 'static {
    /// The last events of a topic, up to the limit of a window, and the head of the log at the same
    /// moment.
    fn load(&self, topic: &Topic) -> BrokerFuture<LoadedTopic>;

    /// The next events of a topic after a position; empty if there are none.
    fn page(&self, topic: &Topic, position: u64) -> BrokerFuture<Vec<BrokerEvent>>;

    /// The epoch and the last sequence of the log.
    fn head(&self) -> BrokerFuture<(u64, u64)>;

    /// The epoch, and a sequence after which all events are that are appended from now on.
    fn reserve(&self) -> BrokerFuture<(u64, u64)>;

    /// A position before all events that are appended from now on, and after nearly all that were
    /// appended before.
    fn live(&self) -> u64;
}

/// An event as a broker keeps it.
#[derive(Clone, Debug)]
pub(super) struct BrokerEvent {
    /// The epoch of the log, which is another one after the broker has lost everything.
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// The sequence before this one in its topic; if it is not known, one that is not smaller.
    pub(super) before: u64,
    pub(super) logged: Logged,
}

/// How much a topic's window keeps in this process.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowLimits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// All topics that this process follows.
pub(super) struct BrokerTopics {
    source: Box<dyn BrokerSource>,
    limits: WindowLimits,
    topics: Mutex<HashMap<Topic, Arc<BrokerTopic>>>,
    /// Counts topics that were loaded or dropped, so that the poller knows when to update its list.
    changes: AtomicU64,
    /// Each topic that was polled once has had all of its events up to this in its window.
    watermark: AtomicU64,
}

impl BrokerTopics {
    pub(super) fn new(source: Box<dyn BrokerSource>, limits: WindowLimits) -> Self {
        Self {
            source,
            limits,
            topics: Mutex::default(),
            changes: AtomicU64::new(0),
            watermark: AtomicU64::new(0),
        }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Arc<BrokerTopic>>> {
        lock(&self.topics)
    }

    /// Adds a follower to the topic of this name, and returns the topic and whether it is new: then
    /// the caller must have it [loaded](Self::load).
    fn add_follower(&self, topic: &Topic) -> (Arc<BrokerTopic>, bool) {
        let mut topics = self.topics();
        let mut new = false;
        let topic = topics.entry(topic.clone()).or_insert_with(|| {
            new = true;
            Arc::new(BrokerTopic::new(topic.clone(), self.limits))
        });
        // Under the lock, so that a sweep does not drop the topic in between.
        topic.add_follower();
        (Arc::clone(topic), new)
    }

    /// Fills a new topic, and returns whether it did: a topic that nobody follows any more is
    /// dropped. The caller must wake the poller afterwards.
    pub(super) async fn load(&self, topic: &BrokerTopic) -> bool {
        let mut loading = self.source.load(&topic.name);
        loop {
            match timeout(CHECK_INTERVAL, loading.as_mut()).await {
                Ok(loaded) => break topic.load(loaded),
                Err(_) if self.drop_if_unused(topic) => return false,
                Err(_) => {}
            }
        }
        self.changes.fetch_add(1, Ordering::SeqCst);
        true
    }

    fn drop_if_unused(&self, topic: &BrokerTopic) -> bool {
        let mut topics = self.topics();
        // Under the lock, under which followers are added.
        let unused = topic.is_unused(now(), Duration::ZERO);
        let dropped = if unused { topics.remove(&topic.name) } else { None };
        drop(topics);
        dropped.is_some()
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// The topics that the poller reads.
    pub(super) fn loaded(&self) -> Vec<Arc<BrokerTopic>> {
        self.topics().values().filter(|topic| topic.is_loaded()).cloned().collect()
    }

    /// Drops topics that have had no follower for a time.
    pub(super) fn sweep(&self) {
        let now = now();
        let mut dropped = Vec::new();
        let mut topics = self.topics();
        topics.retain(|_, topic| {
            let unused = topic.is_unused(now, LINGER);
            if unused {
                dropped.push(Arc::clone(topic));
            }
            !unused
        });
        drop(topics);
        if !dropped.is_empty() {
            self.changes.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(super) fn watermark(&self) -> u64 {
        self.watermark.load(Ordering::SeqCst)
    }

    /// Must be called after all events up to `to` are in the windows, and before followers are
    /// woken.
    pub(super) fn set_watermark(&self, to: u64) {
        self.watermark.store(to, Ordering::SeqCst);
    }
}

impl fmt::Debug for BrokerTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerTopics").field("topics", &self.topics().len()).finish_non_exhaustive()
    }
}

/// How long a topic without followers stays. Clients come back within seconds, and find the window
/// as it was.
const LINGER: Duration = Duration::from_secs(30);

/// How often a topic that cannot be loaded, since the broker is away, is checked for followers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
