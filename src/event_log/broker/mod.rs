//! What a log of a broker has in this process: a window for each topic that is followed, which one
//! reader fills, and any number of followers that read from the windows.
//!
//! [`BrokerRequests`] are what the code for the broker implements. Sequences are in one order over
//! all topics, and a [`BrokerEvent`] names the sequence that was before it in its topic. So a
//! follower at any position knows whether events are missing before the next event, wherever that
//! comes from: a window, a page that the broker returned, or a reader that was away for a time.
//! This chain of predecessors is the only loss detection.
//!
//! The reader tells a topic of each event that is appended, as an [`Announcement`]. A topic has, or
//! fetches, all events that it was told of; up to the watermark it was told of all.

mod clock;
mod cursor;
mod fetches;
mod follower;
mod last;
mod log;
mod patience;
mod settings;
#[cfg(test)]
pub(super) mod tests;
mod topic;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::wake_list::Ticket;
use super::{BrokerError, Logged, Page, Start, Topic};
use crate::sync::{lock, now};

pub(super) use clock::{LogClock, LogHead};
use fetches::FetchQueue;
pub(super) use follower::BrokerFollower;
pub(super) use last::LastPage;
use last::read_last;
pub(super) use log::BrokerLog;
#[cfg(feature = "redis")]
pub(super) use patience::RESPONSE_TIMEOUT;
pub(super) use patience::{
    BrokerRequests, MAX_PATIENCE, PAGE, PageReader, Patience, PatientSource,
};
pub(super) use settings::{BrokerSettings, check_all};
#[cfg(feature = "redis")]
pub(super) use settings::{TOO_MANY, is_too_many};
pub(super) use topic::{Announcement, BrokerTopic, LoadedTopic};
use topic::{TopicRequest, Unused};

/// A future that waits for a broker, however long it is away.
pub(super) type BrokerFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that waits for a broker, however long it is away, and ends with an error if the broker
/// refuses the request.
pub(super) type FetchFuture<T> = BrokerFuture<Result<T, BrokerError>>;

/// What topics and followers ask of a broker, beside what its reader reads.
pub(super) trait BrokerSource: Send + Sync + 'static {
    /// The last events of a topic, up to these limits, and the head of the log at the same moment,
    /// unless the broker refuses this topic.
    fn load(&self, topic: &Topic, limits: WindowLimits) -> FetchFuture<LoadedTopic>;

    /// The next events of a topic after a position, for one follower; empty if there are none.
    fn page(&self, topic: &Topic, position: u64) -> BrokerFuture<Vec<BrokerEvent>>;

    /// The same for a window, which no follower's page delays, unless the broker refuses this
    /// topic.
    fn fill(&self, topic: &Topic, position: u64) -> FetchFuture<Vec<BrokerEvent>>;

    /// The epoch and the last sequence of the log.
    fn head(&self) -> BrokerFuture<(u64, u64)>;

    /// The epoch, and a sequence after which all events are that are appended from now on.
    fn reserve(&self) -> BrokerFuture<(u64, u64)>;

    /// The last sequence that this process knows of.
    fn known(&self) -> u64;

    /// A position before all events that are appended after a time, by the clock of the broker, and
    /// after nearly all that were appended before.
    fn live(&self, at: Instant) -> u64;
}

/// An event as a broker keeps it.
#[derive(Clone, Debug)]
pub(super) struct BrokerEvent {
    /// The epoch of the log, which is another one after the broker has lost everything.
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// The sequence before this one in its topic; if it is not known, one that is not smaller.
    pub(super) before: u64,
    /// `before` is not known: the topic had no event for so long that it expired.
    pub(super) follows_expired: bool,
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
    queue: FetchQueue,
    /// Why topics are refused that the broker is asked for again.
    refused: Mutex<BTreeMap<Topic, Box<str>>>,
    /// Topics whose last follower was removed, and when they are looked at: those that are still
    /// without one are dropped.
    unused: Mutex<VecDeque<(Instant, Arc<BrokerTopic>)>>,
    /// Topics were told of all events up to this.
    watermark: AtomicU64,
    /// The reader has ended, and so do followers.
    ended: AtomicBool,
}

impl BrokerTopics {
    pub(super) fn new(source: Box<dyn BrokerSource>, limits: WindowLimits) -> Self {
        Self {
            source,
            limits,
            topics: Mutex::default(),
            queue: FetchQueue::new(),
            refused: Mutex::default(),
            unused: Mutex::default(),
            watermark: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<Topic, Arc<BrokerTopic>>> {
        lock(&self.topics)
    }

    /// Adds a follower to the topic of this name, and returns the topic, which waits to be loaded
    /// if it is new.
    fn add_follower(&self, topic: &Topic) -> Arc<BrokerTopic> {
        let mut topics = self.topics();
        let mut new = false;
        let topic = topics.entry(topic.clone()).or_insert_with(|| {
            new = true;
            Arc::new(BrokerTopic::new(topic.clone(), self.limits))
        });
        // Under the lock, so that a sweep does not drop the topic in between.
        topic.add_follower();
        let topic = Arc::clone(topic);
        drop(topics);
        if new {
            self.add_to_fetch(&topic);
        }
        topic
    }

    fn remove_follower(&self, topic: &Arc<BrokerTopic>, ticket: &mut Ticket) {
        if topic.remove_follower(ticket) {
            // Its clients would find nothing when they come back.
            if topic.loaded_state().is_none() && self.drop_if_unused(topic) {
                return;
            }
            lock(&self.unused).push_back((now() + LINGER, Arc::clone(topic)));
        }
    }

    /// Has a topic fetched that says that it must be. [`run_fetches`](Self::run_fetches) does it.
    pub(super) fn add_to_fetch(&self, topic: &Arc<BrokerTopic>) {
        self.queue.add(Arc::clone(topic));
    }

    /// Loads a topic that is new, and fetches events that it was told of and does not have.
    ///
    /// It ends when the topic has them all, or when nobody follows it any more while the broker is
    /// away: then the topic is dropped.
    ///
    /// # Errors
    ///
    /// If the broker refuses this topic. The topic is then to be fetched again.
    async fn fetch(&self, topic: &Arc<BrokerTopic>) -> Result<(), BrokerError> {
        while let Some(request) = topic.next_request() {
            let answered = match request {
                TopicRequest::Load(asked) => {
                    let load = self.source.load(&topic.name, topic.limits());
                    let loaded = self.while_used(topic, load).await;
                    loaded.map(|loaded| loaded.map(|loaded| topic.load(loaded, asked)))
                }
                TopicRequest::Fill { after, asked } => {
                    let page = self.while_used(topic, self.source.fill(&topic.name, after)).await;
                    page.map(|page| page.map(|page| topic.fill(page, asked)))
                }
            };
            match answered {
                Some(answer) => answer?,
                None => break,
            }
            topic.wake();
        }
        Ok(())
    }

    /// Reads what a follower of a topic would return at once, up to so many events, and leaves
    /// nothing.
    ///
    /// # Errors
    ///
    /// If the broker refuses this topic.
    pub(super) async fn read(
        self: Arc<Self>,
        name: &Topic,
        from: Start,
        limit: usize,
    ) -> Result<Page, BrokerError> {
        let topic = Arc::new(BrokerTopic::for_look(name.clone()));
        let follower = BrokerFollower::of_one(Arc::clone(&self), &topic, from);
        self.fetch(&topic).await?;
        Ok(follower.read(limit).await)
    }

    /// Waits for an answer; `None` if the topic is dropped before it comes.
    async fn while_used<T>(
        &self,
        topic: &Arc<BrokerTopic>,
        mut answer: BrokerFuture<T>,
    ) -> Option<T> {
        loop {
            match timeout(CHECK_INTERVAL, answer.as_mut()).await {
                Ok(answer) => return Some(answer),
                Err(_) if self.drop_if_unused(topic) => return None,
                Err(_) => {}
            }
        }
    }

    /// Drops a topic without followers, and returns whether it has none.
    fn drop_if_unused(&self, topic: &Arc<BrokerTopic>) -> bool {
        let mut topics = self.topics();
        // Under the lock, under which followers are added.
        let unused = topic.is_unused();
        let mut dropped = None;
        if unused && topics.get(&topic.name).is_some_and(|it| Arc::ptr_eq(it, topic)) {
            dropped = topics.remove(&topic.name);
        }
        drop(topics);
        if let Some(dropped) = dropped {
            self.queue.remove(&dropped);
            self.note_refusal(&dropped.name, None);
        }
        unused
    }

    /// The topic of this name, if it is followed.
    pub(super) fn find(&self, name: &str) -> Option<Arc<BrokerTopic>> {
        self.topics().get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<BrokerTopic>> {
        self.topics().values().cloned().collect()
    }

    /// Drops topics that have had no follower for a time. It looks only at those that lost their
    /// last follower so long ago.
    pub(super) fn sweep(&self) {
        let now = now();
        let due = || {
            let mut unused = lock(&self.unused);
            let is_due = unused.front().is_some_and(|(at, _)| *at <= now);
            if is_due { unused.pop_front().map(|(_, topic)| topic) } else { None }
        };
        while let Some(topic) = due() {
            match topic.unused_for(now) {
                Unused::For(time) if time >= LINGER && self.drop_if_unused(&topic) => {}
                Unused::For(time) => {
                    let left = LINGER.saturating_sub(time).max(CHECK_INTERVAL);
                    lock(&self.unused).push_back((now + left, topic));
                }
                Unused::No => {}
            }
        }
    }

    /// Tells a topic of an event, if it is followed, and returns it. The caller has its followers
    /// [woken](Self::wake_at).
    pub(super) fn announce(
        &self,
        name: &str,
        announcement: impl FnOnce(&Topic) -> Option<Announcement>,
    ) -> Option<Arc<BrokerTopic>> {
        let topic = self.find(name)?;
        if announcement(&topic.name).is_some_and(|it| topic.announce(it)) {
            self.add_to_fetch(&topic);
        }
        Some(topic)
    }

    /// [Tells](BrokerTopic::compare) a topic of the last sequence that the broker has of it.
    pub(super) fn compare(&self, topic: &Arc<BrokerTopic>, last: Option<u64>, none_expired: bool) {
        if topic.compare(last, none_expired) {
            self.add_to_fetch(topic);
        }
    }

    /// Has all topics fetched anew, and goes on at a position: this process read events of a server
    /// that had another history than the one that it reads now. All clients are told of a gap.
    #[cfg(feature = "redis")]
    pub(super) fn branch(&self, position: u64) {
        let topics = self.all();
        for topic in topics.iter().filter(|topic| topic.branch()) {
            self.add_to_fetch(topic);
        }
        self.wake_at(position, &topics);
    }

    /// Wakes the followers of topics that were told of all events up to the watermark.
    pub(super) fn wake_at(&self, watermark: u64, topics: &[Arc<BrokerTopic>]) {
        self.set_watermark(watermark);
        for topic in topics {
            topic.wake();
        }
    }

    /// Spawns the reader, which fills the windows, and what fetches topics.
    pub(super) fn spawn_reading(
        self: &Arc<Self>,
        reader: impl Future<Output = ()> + Send + 'static,
        runtime: &Handle,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn_on(reader, runtime);
        tasks.spawn_on(Arc::clone(self).run_fetches(), runtime);
        tasks
    }

    pub(super) fn watermark(&self) -> u64 {
        self.watermark.load(Ordering::SeqCst)
    }

    /// Must be called after topics were told of all events up to `to`, and before followers are
    /// woken, as [`wake_at`](Self::wake_at) does.
    pub(super) fn set_watermark(&self, to: u64) {
        self.watermark.store(to, Ordering::SeqCst);
    }

    /// Ends all followers: nothing is read any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        for topic in self.all() {
            topic.wake();
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for BrokerTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerTopics").field("topics", &self.topics().len()).finish_non_exhaustive()
    }
}

/// How long a log waits after one more failure, before it asks its broker again.
pub(super) fn next_delay(delay: Duration) -> Duration {
    (delay * 2).min(MAX_RETRY_DELAY)
}

pub(super) const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);

/// After a broker is back, streams are silent for as much longer.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// How long a topic without followers stays. Clients come back within seconds, and find the window
/// as it was.
const LINGER: Duration = Duration::from_secs(30);

/// How often a topic that waits for the broker, as while that is away, is checked for followers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
