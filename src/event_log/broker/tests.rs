//! A broker that answers when it is told to: what a real one does only now and then.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use super::{BrokerFollower, Cell, Entry, Limits, Loaded, Source, Upstream, Wait};
use crate::event_log::{Follow, Logged, Start, Step, Topic};
use crate::wire::{Event, EventId};

/// Answers a question with what was sent for it, in the order of the questions.
#[derive(Clone, Default)]
struct Scripted {
    pages: Arc<Answers<Vec<Entry>>>,
    reserved: Arc<Answers<(u64, u64)>>,
    live: Arc<AtomicU64>,
}

type Answers<T> = Mutex<VecDeque<oneshot::Receiver<T>>>;

fn ask<T: Send + 'static>(answers: &Answers<T>) -> Wait<T> {
    let answer = answers.lock().unwrap().pop_front().expect("it is not asked more than this");
    Box::pin(async { answer.await.unwrap() })
}

fn answer<T>(answers: &Answers<T>) -> oneshot::Sender<T> {
    let (send, answer) = oneshot::channel();
    answers.lock().unwrap().push_back(answer);
    send
}

impl Source for Scripted {
    fn load(&self, _: &Topic) -> Wait<Loaded> {
        unreachable!("the tests load")
    }

    fn page(&self, _: &Topic, _: u64) -> Wait<Vec<Entry>> {
        ask(&self.pages)
    }

    fn head(&self) -> Wait<(u64, u64)> {
        unreachable!("all places are known")
    }

    fn reserve(&self) -> Wait<(u64, u64)> {
        ask(&self.reserved)
    }

    fn live(&self) -> u64 {
        self.live.load(Ordering::SeqCst)
    }
}

/// A log with one topic, and the part of its reader.
struct Log {
    source: Scripted,
    upstream: Arc<Upstream>,
    cell: Arc<Cell>,
    // So that the topic stays.
    _follower: BrokerFollower,
}

impl Log {
    fn with(loaded: Loaded) -> Self {
        let loaded = std::cell::Cell::new(Some(loaded));
        let source = Scripted::default();
        let limits = Limits { events: 2, bytes: 1 << 20 };
        let upstream = Arc::new(Upstream::new(Box::new(source.clone()), limits));
        let load = |cell: Arc<Cell>| cell.load(loaded.take().expect("it is one topic"));
        let follower = follow(&upstream, Start::Live, load);
        let cell = upstream.loaded().remove(0);
        Self { source, upstream, cell, _follower: follower }
    }

    fn follow(&self, from: Start) -> BrokerFollower {
        follow(&self.upstream, from, |_| unreachable!("it is loaded"))
    }

    /// What the reader does when Redis has lost all and some events came since.
    fn read_anew(&self, epoch: u64, before: u64, sequences: &[u64]) {
        assert!(self.cell.reset(epoch));
        self.read(epoch, before, sequences);
    }

    fn read(&self, epoch: u64, before: u64, sequences: &[u64]) {
        self.cell.push(entries(epoch, before, sequences));
        self.upstream.set_watermark(*sequences.last().unwrap());
        self.cell.wake();
    }
}

fn follow(upstream: &Arc<Upstream>, from: Start, load: impl Fn(Arc<Cell>)) -> BrokerFollower {
    BrokerFollower::new(Arc::clone(upstream), &topic().into(), from, load)
}

fn topic() -> Topic {
    Topic::new("t").unwrap()
}

/// Events, each right behind the one before, and the first behind `before`.
fn entries(epoch: u64, before: u64, sequences: &[u64]) -> Vec<Entry> {
    let entry = |(before, sequence): (u64, u64)| {
        let id = EventId::with_epoch(epoch, sequence);
        let logged = Logged::new(topic(), &id, Event::new().data("x")).unwrap();
        Entry { epoch, sequence, before, logged }
    };
    let before = std::iter::once(before).chain(sequences.iter().copied());
    before.zip(sequences.iter().copied()).map(entry).collect()
}

fn after(epoch: u64, sequence: u64) -> Start {
    Start::After(EventId::with_epoch(epoch, sequence))
}

/// All ids that come now; those of gaps with a `gap` in front.
fn all(follower: &mut BrokerFollower) -> Vec<String> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = Vec::new();
    while let Poll::Ready(step) = Pin::new(&mut *follower).poll_next(&mut cx) {
        all.push(match step.expect("it does not end") {
            Step::Event(event) => event.id().to_owned(),
            Step::Gap(gap) => format!("gap {}", gap.place),
        });
    }
    all
}

/// Redis came back with nothing while a client that was far behind asked for what it missed.
#[test]
fn what_a_page_had_of_a_new_epoch_is_not_given_again() {
    for noticed_first in [true, false] {
        let loaded = Loaded { epoch: 1, head: 100, floor: 0, entries: entries(1, 98, &[99, 100]) };
        let log = Log::with(loaded);
        let (page, rest) = (answer(&log.source.pages), answer(&log.source.pages));
        let mut follower = log.follow(after(1, 50));
        assert!(all(&mut follower).is_empty());
        if noticed_first {
            log.read_anew(2, 1499, &[1500, 1600]);
        }
        page.send(entries(2, 1499, &[1500, 1600])).unwrap();
        rest.send(Vec::new()).unwrap();
        assert_eq!(all(&mut follower), ["gap 2-1499", "2-1500", "2-1600"], "{noticed_first}");
        if !noticed_first {
            log.read_anew(2, 1499, &[1500, 1600]);
            assert!(all(&mut follower).is_empty());
        }
        log.read(2, 1600, &[1700]);
        assert_eq!(all(&mut follower), ["2-1700"]);
    }
}

/// The same where there was nothing as yet.
#[test]
fn a_new_epoch_without_events_is_one_gap() {
    let log = Log::with(Loaded { epoch: 1, head: 100, floor: 100, entries: Vec::new() });
    let mut follower = log.follow(Start::Unknown);
    answer(&log.source.reserved).send((2, 1400)).unwrap();
    for _ in 0..2 {
        answer(&log.source.pages).send(Vec::new()).unwrap();
    }
    assert_eq!(all(&mut follower), ["gap 2-1400"]);
    log.read_anew(2, 1300, &[1500]);
    assert_eq!(all(&mut follower), ["2-1500"]);
}

#[test]
fn a_clock_that_was_set_back_hides_nothing_that_came_before_the_first_poll() {
    let log = Log::with(Loaded { epoch: 1, head: 100, floor: 90, entries: Vec::new() });
    log.upstream.set_watermark(110);
    log.source.live.store(1_000_000, Ordering::SeqCst);
    let mut follower = log.follow(Start::Live);
    log.read(1, 90, &[111, 112]);
    assert_eq!(all(&mut follower), ["1-111", "1-112"]);
    // And nothing that came before it was asked for is for it.
    let mut follower = log.follow(Start::Live);
    log.read(1, 112, &[113]);
    assert_eq!(all(&mut follower), ["1-113"]);
}
