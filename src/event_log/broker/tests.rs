//! A follower of a broker that answers when the test says so, which a real broker does only now and
//! then.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::advance;

use super::topic::TopicRequest;
use super::{
    Announcement, BrokerEvent, BrokerFollower, BrokerFuture, BrokerSource, BrokerTopic,
    BrokerTopics, FetchFuture, LINGER, LoadedTopic, WindowLimits,
};
use crate::event_log::{Follow, Logged, Start, Step, Topic, Topics, finish_event};
use crate::wire::{Event, EventId};

/// A broker that answers requests in order, each with what the test sent for it.
#[derive(Clone, Default)]
struct ScriptedSource {
    pages: Arc<Answers<Vec<BrokerEvent>>>,
    reserved: Arc<Answers<(u64, u64)>>,
    live: Arc<AtomicU64>,
}

type Answers<T> = Mutex<VecDeque<oneshot::Receiver<T>>>;

fn request<T: Send + 'static>(answers: &Answers<T>) -> BrokerFuture<T> {
    let answer = answers.lock().unwrap().pop_front().expect("there are no more requests");
    Box::pin(async { answer.await.unwrap() })
}

fn answer<T>(answers: &Answers<T>) -> oneshot::Sender<T> {
    let (send, answer) = oneshot::channel();
    answers.lock().unwrap().push_back(answer);
    send
}

impl BrokerSource for ScriptedSource {
    fn load(&self, _: &Topic, _: WindowLimits) -> FetchFuture<LoadedTopic> {
        unreachable!("the tests load")
    }

    fn page(&self, _: &Topic, _: u64) -> BrokerFuture<Vec<BrokerEvent>> {
        request(&self.pages)
    }

    fn fill(&self, _: &Topic, _: u64) -> FetchFuture<Vec<BrokerEvent>> {
        unreachable!("the tests fill")
    }

    fn head(&self) -> BrokerFuture<(u64, u64)> {
        unreachable!("all positions are known")
    }

    fn reserve(&self) -> BrokerFuture<(u64, u64)> {
        request(&self.reserved)
    }

    fn known(&self) -> u64 {
        0
    }

    fn live(&self, _: Instant) -> u64 {
        self.live.load(Ordering::SeqCst)
    }
}

/// A log with one topic, and what its reader does.
struct ScriptedLog {
    source: ScriptedSource,
    topics: Arc<BrokerTopics>,
    topic: Arc<BrokerTopic>,
    // So that the topic stays.
    _follower: BrokerFollower,
}

impl ScriptedLog {
    fn with(loaded: LoadedTopic) -> Self {
        let source = ScriptedSource::default();
        let limits = WindowLimits { events: 2, bytes: 1 << 20 };
        let topics = Arc::new(BrokerTopics::new(Box::new(source.clone()), limits));
        let follower = follow(&topics, Start::Live);
        let topic = topics.all().remove(0);
        topic.load(loaded, 0);
        assert_eq!(topic.next_request(), None);
        Self { source, topics, topic, _follower: follower }
    }

    fn follow(&self, from: Start) -> BrokerFollower {
        follow(&self.topics, from)
    }

    /// Reads events as after Redis has lost everything.
    fn read_in_new_epoch(&self, epoch: u64, before: u64, sequences: &[u64]) {
        let last = *sequences.last().unwrap();
        self.topic.reset(epoch, 0);
        assert!(self.topic.compare(Some(last), true));
        let events = events(epoch, before, sequences);
        self.topic.load(LoadedTopic { epoch, head: last, floor: 0, events, whole: false }, last);
        assert_eq!(self.topic.next_request(), None);
        self.topics.set_watermark(last);
        self.topic.wake();
    }

    fn read(&self, epoch: u64, before: u64, sequences: &[u64]) {
        for event in events(epoch, before, sequences) {
            assert!(!self.topic.announce(announcement(event, true)));
        }
        self.topics.set_watermark(*sequences.last().unwrap());
        self.topic.wake();
    }
}

fn announcement(event: BrokerEvent, is_short: bool) -> Announcement {
    let BrokerEvent { epoch, sequence, before, .. } = event;
    let event = is_short.then_some(event);
    Announcement { epoch, sequence, before, continues: false, event }
}

fn follow(topics: &Arc<BrokerTopics>, from: Start) -> BrokerFollower {
    BrokerFollower::new(Arc::clone(topics), &name().into(), from)
}

fn name() -> Topic {
    Topic::new("t").unwrap()
}

/// Events, each right after the one before, and the first right after `before`.
fn events(epoch: u64, before: u64, sequences: &[u64]) -> Vec<BrokerEvent> {
    let event = |(before, sequence): (u64, u64)| {
        let id = EventId::with_epoch(epoch, sequence);
        let logged = Logged::new(name(), &id, Event::new().data("x")).unwrap();
        BrokerEvent { epoch, sequence, before, follows_expired: false, logged }
    };
    let before = std::iter::once(before).chain(sequences.iter().copied());
    before.zip(sequences.iter().copied()).map(event).collect()
}

/// What the broker has of the topic, or the last of it.
fn loaded(head: u64, floor: u64, events: Vec<BrokerEvent>) -> LoadedTopic {
    LoadedTopic { epoch: 1, head, floor, events, whole: false }
}

/// A log with two topics, of which one is finished by the event 5, and the other lost some events.
fn of_two(from: Start, events_of_other: Vec<BrokerEvent>) -> (ScriptedSource, BrokerFollower) {
    let source = ScriptedSource::default();
    let limits = WindowLimits { events: 2, bytes: 1 << 20 };
    let topics = Arc::new(BrokerTopics::new(Box::new(source.clone()), limits));
    let names = Topics::from_static(&["over", "t"]);
    let follower = BrokerFollower::new(Arc::clone(&topics), &names, from);
    let over = Topic::from_static("over");
    let logged = Logged::new(over, &EventId::with_epoch(1, 5), finish_event()).unwrap();
    let end = BrokerEvent { epoch: 1, sequence: 5, before: 4, follows_expired: false, logged };
    for topic in topics.all() {
        let events = match topic.name.as_str() {
            "over" => vec![end.clone()],
            _ => events_of_other.clone(),
        };
        topic.load(LoadedTopic { whole: true, ..loaded(30, 20, events) }, 0);
        assert_eq!(topic.next_request(), None);
    }
    topics.set_watermark(30);
    (source, follower)
}

/// The end of a topic is before the place of the client, and the gap does not send it back there.
#[test]
fn a_topic_that_was_over_before_a_gap_is_told_and_sends_no_client_back() {
    let (source, mut follower) = of_two(after(1, 10), events(1, 20, &[21, 22]));
    answer(&source.pages).send(Vec::new()).unwrap();
    assert_eq!(ready_ids(&mut follower), ["1-5", "gap 1-20", "1-21", "1-22"]);

    let (source, mut follower) = of_two(after(1, 10), Vec::new());
    for _ in 0..3 {
        answer(&source.pages).send(Vec::new()).unwrap();
    }
    answer(&source.reserved).send((1, 40)).unwrap();
    assert_eq!(ready_ids(&mut follower), ["1-5", "gap 1-41b"]);
}

fn after(epoch: u64, sequence: u64) -> Start {
    Start::After(EventId::with_epoch(epoch, sequence))
}

/// Follows topics of a log that has no events, from the beginning.
pub(in crate::event_log) fn follow_empty(
    topics: &Arc<BrokerTopics>,
    names: &[&'static str],
) -> BrokerFollower {
    let names = Topics::from_static(names);
    let follower = BrokerFollower::new(Arc::clone(topics), &names, Start::Earliest);
    for topic in topics.all() {
        if topic.next_request().is_some() {
            topic.load(LoadedTopic { epoch: 7, ..loaded(0, 0, Vec::new()) }, 0);
            assert_eq!(topic.next_request(), None);
        }
    }
    follower
}

/// The ids that a follower returns now; those of gaps begin with `gap`.
pub(in crate::event_log) fn ready_ids(follower: &mut BrokerFollower) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut ids = Vec::new();
    while let Poll::Ready(step) = Pin::new(&mut *follower).poll_next(&mut cx) {
        ids.push(match step.expect("the follower does not end") {
            Step::Event(event) => event.id().to_owned(),
            Step::Gap(gap) => format!("gap {}", gap.position),
        });
    }
    ids
}

/// Redis comes back empty while a client that is far behind requests what it missed.
#[test]
fn events_of_a_new_epoch_that_a_page_had_are_not_returned_again() {
    for noticed_first in [true, false] {
        let log = ScriptedLog::with(loaded(100, 0, events(1, 98, &[99, 100])));
        let (page, rest) = (answer(&log.source.pages), answer(&log.source.pages));
        let mut follower = log.follow(after(1, 50));
        assert!(ready_ids(&mut follower).is_empty());
        if noticed_first {
            log.read_in_new_epoch(2, 1499, &[1500, 1600]);
        }
        // The second one is of the position where the client begins in the new epoch.
        for page in [page, rest] {
            page.send(events(2, 1499, &[1500, 1600])).unwrap();
        }
        assert_eq!(ready_ids(&mut follower), ["gap 2-1499", "2-1500", "2-1600"], "{noticed_first}");
        if !noticed_first {
            log.read_in_new_epoch(2, 1499, &[1500, 1600]);
            assert!(ready_ids(&mut follower).is_empty());
        }
        log.read(2, 1600, &[1700]);
        assert_eq!(ready_ids(&mut follower), ["2-1700"]);
    }
}

/// A follower asks for a topic that had no event, and reads the first one before the reader does.
#[test]
fn the_first_event_of_a_topic_is_no_gap_for_a_follower_that_reads_it_early() {
    let log = ScriptedLog::with(loaded(99, 50, Vec::new()));
    answer(&log.source.pages).send(first_event()).unwrap();
    assert_eq!(ready_ids(&mut log.follow(Start::Earliest)), ["1-100"]);
    // If events may have come and expired meanwhile, it is.
    log.topic.compare(None, false);
    answer(&log.source.pages).send(first_event()).unwrap();
    assert_eq!(ready_ids(&mut log.follow(Start::Earliest)), ["gap 1-60", "1-100"]);
}

fn first_event() -> Vec<BrokerEvent> {
    let mut first = events(1, 60, &[100]);
    first[0].follows_expired = true;
    first
}

#[test]
fn what_was_loaded_is_returned_without_another_request() {
    let log = ScriptedLog::with(loaded(100, 100, events(1, 98, &[99, 100])));
    assert_eq!(ready_ids(&mut log.follow(after(1, 98))), ["1-99", "1-100"]);
}

#[test]
fn a_topic_that_was_loaded_whole_is_asked_for_no_more_from_its_earliest_event_on() {
    let log = ScriptedLog::with(LoadedTopic {
        whole: true,
        ..loaded(100, 98, events(1, 98, &[99, 100]))
    });
    assert_eq!(ready_ids(&mut log.follow(Start::Earliest)), ["1-99", "1-100"]);
    // What was there before is gone.
    assert_eq!(ready_ids(&mut log.follow(after(1, 50))), ["gap 1-98", "1-99", "1-100"]);
    // The window has two events.
    log.read(1, 100, &[101]);
    answer(&log.source.pages).send(events(1, 98, &[99, 100])).unwrap();
    assert_eq!(ready_ids(&mut log.follow(Start::Earliest)), ["1-99", "1-100", "1-101"]);
    // A new life of the log has events of which nothing is known.
    log.read_in_new_epoch(2, 1499, &[1500]);
    answer(&log.source.pages).send(events(2, 1399, &[1400, 1500])).unwrap();
    assert_eq!(ready_ids(&mut log.follow(Start::Earliest)), ["2-1400", "2-1500"]);
}

#[test]
fn a_new_epoch_without_events_is_one_gap() {
    let log = ScriptedLog::with(loaded(100, 100, Vec::new()));
    let mut follower = log.follow(Start::Unknown);
    answer(&log.source.reserved).send((2, 1400)).unwrap();
    for _ in 0..2 {
        answer(&log.source.pages).send(Vec::new()).unwrap();
    }
    assert_eq!(ready_ids(&mut follower), ["gap 2-1401b"]);
    log.read_in_new_epoch(2, 1300, &[1500]);
    assert_eq!(ready_ids(&mut follower), ["2-1500"]);
}

/// An event was read from a server that another one had replaced by then.
#[cfg(feature = "redis")]
#[test]
fn after_a_branch_each_client_gets_a_gap_and_goes_on_where_it_was() {
    let log = ScriptedLog::with(loaded(100, 90, events(1, 90, &[98, 100])));
    let mut there = log.follow(after(1, 98));
    assert_eq!(ready_ids(&mut there), ["1-100"]);
    // It starts when it is polled first.
    let mut new = log.follow(after(1, 90));
    let named = events(1, 100, &[102]).remove(0);
    assert!(log.topic.announce(announcement(named.clone(), false)));
    assert_eq!(log.topic.next_request(), Some(TopicRequest::Fill { after: 100, asked: 102 }));
    log.topics.branch(101);
    // What the old server answers does not count.
    log.topic.fill(vec![named], 102);
    for follower in [&mut there, &mut new] {
        assert!(ready_ids(follower).is_empty(), "it waits for what the new one has");
    }
    assert_eq!(log.topic.next_request(), Some(TopicRequest::Load(0)));
    log.topic.load(loaded(110, 90, events(1, 98, &[99, 101])), 0);
    assert_eq!(log.topic.next_request(), None);
    assert_eq!(ready_ids(&mut there), ["gap 1-100", "1-101"]);
    answer(&log.source.pages).send(events(1, 90, &[98, 99, 101])).unwrap();
    assert_eq!(ready_ids(&mut new), ["1-98", "1-99", "1-101"]);
    // The broker names what was lost before the next event, of whomever it was sent to. One that
    // was told before does not know that this is the same: what it had to get meanwhile may be
    // trimmed.
    assert!(log.topic.announce(announcement(events(1, 110, &[111]).remove(0), true)));
    log.topics.set_watermark(111);
    assert_eq!(log.topic.next_request(), Some(TopicRequest::Load(111)));
    log.topic.load(loaded(111, 90, events(1, 110, &[111])), 111);
    for follower in [&mut there, &mut new] {
        answer(&log.source.pages).send(events(1, 110, &[111])).unwrap();
        assert_eq!(ready_ids(follower), ["gap 1-110", "1-111"]);
    }
}

#[test]
fn a_clock_that_was_set_back_hides_no_event_before_the_first_poll() {
    let log = ScriptedLog::with(loaded(100, 90, Vec::new()));
    log.topics.set_watermark(110);
    log.source.live.store(1_000_000, Ordering::SeqCst);
    let mut follower = log.follow(Start::Live);
    log.read(1, 90, &[111, 112]);
    assert_eq!(ready_ids(&mut follower), ["1-111", "1-112"]);
    // And no event from before the follower was made is returned.
    let mut follower = log.follow(Start::Live);
    log.read(1, 112, &[113]);
    assert_eq!(ready_ids(&mut follower), ["1-113"]);
}

#[test]
fn an_event_that_is_fetched_is_waited_for_and_fetched_once() {
    let log = ScriptedLog::with(loaded(10, 10, Vec::new()));
    log.topics.set_watermark(10);
    let mut follower = log.follow(Start::Live);
    let [first, second] = <[_; 2]>::try_from(events(1, 10, &[11, 12])).unwrap();
    assert!(log.topic.announce(announcement(first.clone(), false)));
    // A short one does not overtake it, and has it fetched no second time.
    assert!(!log.topic.announce(announcement(second.clone(), true)));
    log.topics.set_watermark(12);
    assert!(ready_ids(&mut follower).is_empty());
    assert_eq!(log.topic.next_request(), Some(TopicRequest::Fill { after: 10, asked: 12 }));
    log.topic.fill(vec![first], 12);
    assert_eq!(ready_ids(&mut follower), ["1-11"]);
    assert_eq!(log.topic.next_request(), Some(TopicRequest::Fill { after: 11, asked: 12 }));
    log.topic.fill(vec![second], 12);
    assert_eq!(ready_ids(&mut follower), ["1-12"]);
    assert_eq!(log.topic.next_request(), None);
}

#[test]
fn an_event_that_was_named_and_is_gone_is_a_gap() {
    let log = ScriptedLog::with(loaded(10, 10, Vec::new()));
    let mut follower = log.follow(after(1, 10));
    let named = events(1, 10, &[11]).remove(0);
    assert!(log.topic.announce(announcement(named, false)));
    assert!(ready_ids(&mut follower).is_empty());
    log.topic.fill(Vec::new(), 11);
    assert_eq!(log.topic.next_request(), None);
    for _ in 0..2 {
        answer(&log.source.pages).send(Vec::new()).unwrap();
    }
    answer(&log.source.reserved).send((1, 20)).unwrap();
    assert_eq!(ready_ids(&mut follower), ["gap 1-21b"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_followed_again_stays_and_one_that_is_not_is_dropped() {
    let log = ScriptedLog::with(loaded(10, 10, Vec::new()));
    let ScriptedLog { topics, topic, _follower: follower, .. } = log;
    drop(topic);
    drop(follower);
    topics.sweep();
    assert_eq!(topics.all().len(), 1, "its clients may come back");
    let again = follow(&topics, Start::Live);
    advance(LINGER).await;
    topics.sweep();
    assert_eq!(topics.all().len(), 1);
    drop(again);
    topics.sweep();
    assert_eq!(topics.all().len(), 1);
    advance(LINGER).await;
    topics.sweep();
    assert!(topics.all().is_empty());
}
