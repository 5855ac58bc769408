//! Which topics wait to be fetched, and the workers that fetch them.
//!
//! A topic that waits is an entry of a queue: it has no task, no timer and no request. So it costs
//! the same to follow one more topic, however many wait, and for how long the broker is away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{BrokerTopic, BrokerTopics, MIN_RETRY_DELAY, next_delay};
use crate::event_log::{BrokerError, Topic};
use crate::sync::lock;

/// Topics that wait to be fetched.
///
/// Topics that are loaded do not wait for those that are not, of which there may be many at once.
#[derive(Debug)]
pub(super) struct FetchQueue {
    new: Lane,
    loaded: Lane,
}

/// Topics in the order in which they are fetched.
#[derive(Debug)]
struct Lane {
    waiting: Mutex<Waiting>,
    /// A permit for each topic that was added.
    added: Semaphore,
}

#[derive(Debug, Default)]
struct Waiting {
    topics: BTreeMap<u64, Arc<BrokerTopic>>,
    /// Counts topics that were added.
    turn: u64,
}

/// The turn of a topic in its lane, which tells where it waits.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU64);

impl FetchQueue {
    pub(super) fn new() -> Self {
        Self { new: Lane::new(), loaded: Lane::new() }
    }

    /// Adds a topic that nobody fetches and that does not wait.
    pub(super) fn add(&self, topic: Arc<BrokerTopic>) {
        self.lane_of(&topic).add(topic);
    }

    /// Removes a topic that is dropped, if it waits.
    pub(super) fn remove(&self, topic: &Arc<BrokerTopic>) {
        let removed = self.lane_of(topic).remove(topic);
        drop(removed);
    }

    /// Only a fetch loads a topic, so the lane is the same for as long as the topic waits.
    fn lane_of(&self, topic: &BrokerTopic) -> &Lane {
        if topic.loaded_state().is_some() { &self.loaded } else { &self.new }
    }
}

impl Lane {
    fn new() -> Self {
        Self { waiting: Mutex::default(), added: Semaphore::new(0) }
    }

    fn add(&self, topic: Arc<BrokerTopic>) {
        let mut waiting = lock(&self.waiting);
        waiting.turn += 1;
        let turn = waiting.turn;
        topic.turn.0.store(turn, Ordering::Relaxed);
        waiting.topics.insert(turn, topic);
        drop(waiting);
        self.added.add_permits(1);
    }

    fn remove(&self, topic: &Arc<BrokerTopic>) -> Option<Arc<BrokerTopic>> {
        let mut waiting = lock(&self.waiting);
        let turn = topic.turn.0.load(Ordering::Relaxed);
        waiting.topics.get(&turn).filter(|it| Arc::ptr_eq(it, topic))?;
        waiting.topics.remove(&turn)
    }

    /// The topic that has waited longest. Waits for one if there is none.
    async fn next(&self) -> Arc<BrokerTopic> {
        loop {
            // The semaphore is never closed. The topic may have been removed.
            if let Ok(permit) = self.added.acquire().await {
                permit.forget();
            }
            if let Some((_, topic)) = lock(&self.waiting).topics.pop_first() {
                return topic;
            }
        }
    }
}

impl BrokerTopics {
    /// Fetches topics for ever, in the order in which they were added to the queue, some at a time.
    pub(super) async fn run_fetches(self: Arc<Self>) {
        let mut workers = JoinSet::new();
        let lanes: [fn(&FetchQueue) -> &Lane; 2] = [|queue| &queue.new, |queue| &queue.loaded];
        for lane in lanes {
            for _ in 0..WORKERS {
                let topics = Arc::clone(&self);
                workers.spawn(async move {
                    let mut delay = MIN_RETRY_DELAY;
                    loop {
                        let topic = lane(&topics.queue).next().await;
                        let refusal = topics.fetch(&topic).await.err();
                        topics.note_refusal(&topic.name, refusal.as_ref());
                        if refusal.is_none() {
                            delay = MIN_RETRY_DELAY;
                            continue;
                        }
                        // It is fetched again after the others, which the broker may accept.
                        sleep(delay).await;
                        delay = next_delay(delay);
                        match topics.drop_if_unused(&topic) {
                            true => topics.note_refusal(&topic.name, None),
                            false => topics.add_to_fetch(&topic),
                        }
                    }
                });
            }
        }
        while workers.join_next().await.is_some() {}
    }

    /// Notes why the broker refuses a topic, if it does.
    pub(super) fn note_refusal(&self, name: &Topic, refusal: Option<&BrokerError>) {
        let mut refused = lock(&self.refused);
        match refusal {
            Some(refusal) => drop(refused.insert(name.clone(), refusal.to_string().into())),
            None => drop(refused.remove(name)),
        }
    }

    /// The first topics that the broker refuses, and why.
    pub(in crate::event_log) fn refused(&self) -> Vec<(Topic, Box<str>)> {
        let refused = lock(&self.refused);
        let first = refused.iter().take(MAX_SHOWN);
        first.map(|(name, why)| (name.clone(), why.clone())).collect()
    }
}

/// So many topics are shown that a broker refuses: enough to see what they have in common.
const MAX_SHOWN: usize = 16;

/// So many topics of a lane are fetched at the same time.
const WORKERS: usize = 16;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::task::Poll;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::event_log::Start;
    use crate::event_log::broker::{
        Announcement, BrokerEvent, BrokerFollower, BrokerFuture, BrokerSource, FetchFuture,
        LoadedTopic, WindowLimits,
    };

    /// A broker that has no events, and answers or is away. It counts what it is asked, and refuses
    /// topics whose names begin with `refused`.
    #[derive(Clone, Default)]
    struct EmptySource {
        is_away: bool,
        requests: Arc<AtomicUsize>,
        /// How often requests were polled.
        polls: Arc<AtomicUsize>,
        fills: Arc<AtomicUsize>,
    }

    impl EmptySource {
        fn answer<T: Send + 'static>(&self, answer: T) -> BrokerFuture<T> {
            let (source, mut answer) = (self.clone(), Some(answer));
            self.requests.fetch_add(1, Ordering::SeqCst);
            Box::pin(poll_fn(move |_| {
                source.polls.fetch_add(1, Ordering::SeqCst);
                match answer.take().filter(|_| !source.is_away) {
                    Some(answer) => Poll::Ready(answer),
                    None => Poll::Pending,
                }
            }))
        }

        fn counts(&self) -> [usize; 2] {
            [&self.requests, &self.polls].map(|count| count.load(Ordering::SeqCst))
        }
    }

    impl BrokerSource for EmptySource {
        fn load(&self, topic: &Topic, _: WindowLimits) -> FetchFuture<LoadedTopic> {
            self.answer(match topic.as_str().starts_with("refused") {
                true => Err(BrokerError::Refused("a key has another type".into())),
                false => Ok(nothing()),
            })
        }

        fn page(&self, _: &Topic, _: u64) -> BrokerFuture<Vec<BrokerEvent>> {
            unreachable!("no follower reads")
        }

        fn fill(&self, _: &Topic, _: u64) -> FetchFuture<Vec<BrokerEvent>> {
            self.fills.fetch_add(1, Ordering::SeqCst);
            self.answer(Ok(Vec::new()))
        }

        fn head(&self) -> BrokerFuture<(u64, u64)> {
            unreachable!("no follower reads")
        }

        fn reserve(&self) -> BrokerFuture<(u64, u64)> {
            unreachable!("no follower reads")
        }

        fn known(&self) -> u64 {
            10
        }

        fn live(&self, _: Instant) -> u64 {
            10
        }
    }

    fn nothing() -> LoadedTopic {
        LoadedTopic { epoch: 1, head: 10, floor: 10, events: Vec::new(), whole: true }
    }

    fn topics_of(source: &EmptySource) -> Arc<BrokerTopics> {
        let limits = WindowLimits { events: 2, bytes: 1 << 20 };
        Arc::new(BrokerTopics::new(Box::new(source.clone()), limits))
    }

    fn follow(topics: &Arc<BrokerTopics>, n: usize) -> BrokerFollower {
        let name = Topic::new(format!("t.{n}")).unwrap();
        BrokerFollower::new(Arc::clone(topics), &name.into(), Start::Live)
    }

    /// Follows so many topics at once, and returns the requests after a minute, and how often they
    /// were polled.
    async fn counts_after_a_minute(source: EmptySource, followed: usize) -> [usize; 2] {
        let topics = topics_of(&source);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&topics).run_fetches());
        let _followers: Vec<_> = (0..followed).map(|n| follow(&topics, n)).collect();
        sleep(Duration::from_secs(60)).await;
        source.counts()
    }

    #[tokio::test(start_paused = true)]
    async fn topics_that_wait_to_be_loaded_cost_nothing_however_many_wait() {
        let away = || EmptySource { is_away: true, ..EmptySource::default() };
        let few = counts_after_a_minute(away(), 1_000).await;
        let many = counts_after_a_minute(away(), 30_000).await;
        assert_eq!(few, many);
        assert_eq!(few[0], WORKERS);
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_topic_is_one_request_however_many_are_followed() {
        for followed in [1_000, 30_000] {
            let counts = counts_after_a_minute(EmptySource::default(), followed).await;
            assert_eq!(counts, [followed; 2]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_topics_whose_clients_leave_while_the_broker_is_away() {
        let source = EmptySource { is_away: true, ..EmptySource::default() };
        let topics = topics_of(&source);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&topics).run_fetches());
        let only = follow(&topics, 0);
        for n in 1..2_000 {
            drop(follow(&topics, n));
            tokio::task::yield_now().await;
        }
        assert_eq!(topics.all().len(), 1);
        assert!(lock(&topics.queue.new.waiting).topics.is_empty());
        assert!(lock(&topics.unused).is_empty());
        // A request for a topic that is dropped ends, and its worker has time for another.
        drop(only);
        sleep(Duration::from_secs(2)).await;
        let before = source.counts()[0];
        let _followers = [1, 2].map(|n| follow(&topics, n));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(source.counts()[0], before + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_fetched_does_not_wait_for_topics_that_are_loaded() {
        let source = EmptySource { is_away: true, ..EmptySource::default() };
        let topics = topics_of(&source);
        let _follower = follow(&topics, 0);
        let topic = topics.all().remove(0);
        drop(topics.queue.new.next().await);
        topic.load(nothing(), 0);
        assert_eq!(topic.next_request(), None);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&topics).run_fetches());
        let _others: Vec<_> = (1..100).map(|n| follow(&topics, n)).collect();
        sleep(Duration::from_secs(1)).await;
        let long =
            Announcement { epoch: 1, sequence: 11, before: 10, continues: false, event: None };
        assert!(topic.announce(long));
        topics.add_to_fetch(&topic);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(source.fills.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn topics_that_a_broker_refuses_keep_no_others_from_being_loaded() {
        let source = EmptySource::default();
        let topics = topics_of(&source);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&topics).run_fetches());
        let refused = |n| {
            let name = Topic::new(format!("refused.{n}")).unwrap();
            BrokerFollower::new(Arc::clone(&topics), &name.into(), Start::Live)
        };
        let refused: Vec<_> = (0..2 * WORKERS).map(refused).collect();
        sleep(Duration::from_secs(60)).await;
        // They are told by name.
        let shown = topics.refused();
        let (name, why) = &shown[0];
        assert_eq!((shown.len(), name.as_str()), (MAX_SHOWN, "refused.0"));
        assert!(why.ends_with("a key has another type"), "{why}");
        // Each worker asks for one once a second.
        let before = source.counts()[0];
        sleep(Duration::from_secs(60)).await;
        assert!((900..=1000).contains(&(source.counts()[0] - before)), "{:?}", source.counts());

        let _followers: Vec<_> = (0..100).map(|n| follow(&topics, n)).collect();
        sleep(Duration::from_secs(10)).await;
        let is_loaded = |name: String| topics.find(&name).unwrap().loaded_state().is_some();
        assert!((0..100).all(|n| is_loaded(format!("t.{n}"))));
        // Nothing is kept of one that nobody follows any more.
        drop(refused);
        sleep(Duration::from_secs(10)).await;
        assert_eq!((topics.all().len(), topics.refused()), (100, Vec::new()));
        let before = source.counts()[0];
        sleep(Duration::from_secs(60)).await;
        assert_eq!(source.counts()[0], before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_of_a_topic_that_a_broker_refuses_is_refused() {
        let topics = topics_of(&EmptySource::default());
        for (name, is_refused) in [("refused", true), ("t", false)] {
            let name = Topic::from_static(name);
            let read = Arc::clone(&topics).read(&name, Start::Earliest, 1).await;
            assert_eq!(matches!(read, Err(BrokerError::Refused(_))), is_refused, "{name}");
        }
    }
}
