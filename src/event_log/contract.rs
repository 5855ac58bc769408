//! The contract of an [`EventLog`], as checks that the author of a log runs over it.
//!
//! With the features `hub` and `testing`. Each check appends to topics of its own, whose names
//! begin with a prefix, follows them, and panics with what is wrong. The logs of this crate pass
//! them.
//!
//! # Examples
//!
//! ```
//! use tower_sse::event_log::{MemoryLog, contract};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_sse::InvalidSetting> {
//! // A log of your own, which here keeps 20 events a topic.
//! let log = MemoryLog::builder().events(20).build()?;
//! contract::check(&log, "contract").await;
//! contract::check_gaps(&log, "contract", 20).await;
//! contract::check_idempotent(&log, "contract").await;
//! # Ok(())
//! # }
//! ```

use std::future::poll_fn;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{
    Appended, EventLog, Follow, Gap, GapReason, Logged, MessageId, Start, Step, Topic, Topics,
    finish_event,
};
use crate::wire::{Event, EventId};

/// Makes all checks that suit any log, each in topics of its own: all of this module but
/// [`check_gaps`] and [`check_idempotent`].
///
/// No topic whose name begins with `prefix` may have had events.
///
/// # Panics
///
/// If the log breaks its contract, or if it does not answer within ten seconds.
pub async fn check<L: EventLog>(log: &L, prefix: &str) {
    check_order(log, prefix).await;
    check_exactly_once(log, prefix).await;
    check_positions(log, prefix).await;
    check_read(log, prefix).await;
    check_last(log, prefix).await;
    check_forget(log, prefix).await;
    check_stalled(log, prefix).await;
}

/// Checks that all followers see one order: that in which a caller appended, over all topics.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_order<L: EventLog>(log: &L, prefix: &str) {
    let names = ["order.a", "order.b", "order.c"].map(|name| topic(prefix, name));
    let all = Topics::new(&names).expect("names");
    let mut live = Reader::new(log, &all, Start::Live);
    let mut one = Reader::new(log, &(&names[1]).into(), Start::Live);
    live.expect_nothing("a follower from now on, before any event").await;
    one.expect_nothing("a follower from now on, before any event").await;
    let mut ids = Vec::new();
    for n in 0..EVENTS {
        ids.push(append(log, &names[n * 7 % 3], n).await);
    }
    let of_one = |n: &usize| n * 7 % 3 == 1;
    live.expect_events(0..EVENTS, "a follower of several topics").await;
    one.expect_events((0..EVENTS).filter(of_one), "a follower of one topic").await;
    let mut replay = Reader::new(log, &all, Start::Earliest);
    replay.expect_events(0..EVENTS, "a follower from the earliest event on").await;
    let mut late = Reader::new(log, &all, Start::After(ids[4].clone()));
    late.expect_events(5..EVENTS, "a follower after the fifth event").await;
    late.expect_nothing("a follower that has all events").await;
}

/// Checks that a client that comes back again and again, while events are appended, gets each event
/// once and in order.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_exactly_once<L: EventLog>(log: &L, prefix: &str) {
    let names = ["once.a", "once.b"].map(|name| topic(prefix, name));
    let all = Topics::new(&names).expect("names");
    let mut position = log.latest(&all).await.expect("the log knows its last event");
    let (mut appended, mut seen) = (0, 0);
    while seen < 4 * EVENTS {
        // Ahead of the client, but not so far that a small log loses events.
        while appended < 4 * EVENTS && appended < seen + 6 {
            append(log, &names[appended % 3 % 2], appended).await;
            appended += 1;
        }
        let mut client = Reader::new(log, &all, Start::After(position));
        let until = (seen + 1 + seen % 4).min(appended);
        client.expect_events(seen..until, "a client that comes back").await;
        (position, seen) = (client.last(), until);
    }
}

/// Checks where followers start: after the latest position they miss no later event, and a text
/// that is no id of the log is a gap before all that there is.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_positions<L: EventLog>(log: &L, prefix: &str) {
    let topic = topic(prefix, "positions");
    let set = Topics::from(&topic);
    let first = append(log, &topic, 0).await;
    let latest = log.latest(&set).await.expect("the log knows its last event");
    append(log, &topic, 1).await;
    let mut reader = Reader::new(log, &set, Start::After(latest));
    reader.expect_events(1..2, "a follower after the latest position").await;
    let mut reader = Reader::new(log, &set, Start::After(first));
    reader.expect_events(1..2, "a follower after the first event").await;
    for start in [Start::Unknown, Start::After(EventId::from_static("no id"))] {
        let mut reader = Reader::new(log, &set, start.clone());
        let gap = reader.expect_gap("a follower from an unknown position").await;
        assert_eq!(gap.reason, GapReason::Unknown, "the reason for {start:?}");
        reader.expect_events(0..2, "a follower after a gap").await;
    }
    let mut reader = Reader::new(log, &set, Start::After(EventId::from_static("1-1")));
    reader.expect_gap("a follower from a position of another log").await;
    reader.expect_events(0..2, "a follower after a gap").await;
}

/// Checks that a look at a topic is what a follower gets at once.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_read<L: EventLog>(log: &L, prefix: &str) {
    let topic = topic(prefix, "read");
    let read = |from: Start, limit| {
        let topic = &topic;
        async move { log.read(topic, from, limit).await.expect("the log can be read") }
    };
    let page = read(Start::Earliest, 10).await;
    assert!(page.events.is_empty() && !page.has_more, "a topic that never was has nothing");
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(append(log, &topic, n).await);
    }
    // Page by page, since a log may return fewer events than it is asked for.
    let (mut seen, mut from) = (0, Start::Earliest);
    loop {
        let page = read(from, 2).await;
        assert!(page.gap.is_none() && page.events.len() <= 2, "a page of at most two events");
        for event in &page.events {
            assert_eq!(number(event), seen, "a page");
            seen += 1;
        }
        if !page.has_more {
            break;
        }
        let last = page.events.last().expect("a page before others has events");
        from = Start::requested(last.id());
    }
    assert_eq!(seen, 5, "all pages");
    let page = read(Start::After(ids[4].clone()), 2).await;
    assert!(page.gap.is_none() && page.events.is_empty(), "after the last event there is nothing");
    assert!(read(Start::Unknown, 2).await.gap.is_some(), "an unknown position is a gap");
}

/// Checks that the last events of topics are those that a follower gets last, in one order over all
/// topics, and that a follower goes on where they end.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_last<L: EventLog>(log: &L, prefix: &str) {
    let names = ["last.a", "last.b"].map(|name| topic(prefix, name));
    let both = Topics::new(&names).expect("names");
    let none = log.last(&both, 2).await.expect("the log can be read");
    assert!(none.is_empty(), "topics that never were have no last events");
    let mut ids = Vec::new();
    for n in 0..EVENTS {
        ids.push(append(log, &names[n % 2], n).await);
    }
    let of_one = (1..EVENTS).step_by(2).skip(EVENTS / 2 - 2).collect();
    let [a, b] = names.clone();
    let with_none = Topics::new([a, b, topic(prefix, "last.none")]).expect("names");
    for (topics, count, expected) in [
        (Topics::from(&names[1]), 2, of_one),
        (both.clone(), 4, (EVENTS - 4..EVENTS).collect::<Vec<_>>()),
        (both.clone(), EVENTS, (0..EVENTS).collect()),
        (both.clone(), 4 * EVENTS, (0..EVENTS).collect()),
        (both.clone(), 0, Vec::new()),
        (with_none, 3, (EVENTS - 3..EVENTS).collect()),
    ] {
        let last = log.last(&topics, count).await.expect("the log can be read");
        let numbers: Vec<_> = last.iter().map(number).collect();
        assert_eq!(numbers, expected, "the last {count} events of {topics:?}");
        for event in &last {
            assert_eq!(event.id(), ids[number(event)].as_str(), "the id of a last event");
            assert_eq!(event.topic(), &names[number(event) % 2], "the topic of a last event");
        }
    }
    append(log, &names[0], EVENTS).await;
    let mut reader = Reader::new(log, &both, Start::After(ids[EVENTS - 1].clone()));
    reader.expect_events(EVENTS..=EVENTS, "a follower after the last events").await;
    // The end of a topic is none of its events, and not the end of what it had.
    log.append(&names[0], finish_event()).await.expect("the log takes an event");
    expect_last(log, &(&names[0]).into(), EVENTS..=EVENTS).await;
    expect_last(log, &both, EVENTS - 1..=EVENTS).await;
    append(log, &names[0], EVENTS + 1).await;
    expect_last(log, &both, EVENTS - 1..=EVENTS + 1).await;
}

/// Fails if others than these are as many of the last events of topics.
async fn expect_last<L: EventLog>(log: &L, topics: &Topics, expected: RangeInclusive<usize>) {
    let count = expected.clone().count();
    let last = log.last(topics, count).await.expect("the log can be read");
    let last: Vec<_> = last.iter().map(number).collect();
    assert_eq!(last, expected.collect::<Vec<_>>(), "the last {count} events of {topics:?}");
}

/// Checks that a topic that was let go of, and is used again, hides no loss: a client that comes
/// back from before gets all events after its position, or a gap first.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_forget<L: EventLog>(log: &L, prefix: &str) {
    let topic = topic(prefix, "forget");
    let seen = append(log, &topic, 0).await;
    append(log, &topic, 1).await;
    log.forget(&topic, Duration::from_millis(1)).await.expect("the log notes it");
    // A log may keep the events for longer.
    for _ in 0..50 {
        let page = log.read(&topic, Start::Earliest, 1).await.expect("the log can be read");
        if page.events.is_empty() {
            let last = log.last(&(&topic).into(), 2).await.expect("the log can be read");
            assert!(last.is_empty(), "a topic without events has no last ones: {last:?}");
            break;
        }
        sleep(Duration::from_millis(20)).await;
    }
    append(log, &topic, 2).await;
    let mut back = Reader::new(log, &(&topic).into(), Start::After(seen));
    // The second event, or word of its loss.
    let mut is_told = false;
    loop {
        match back.next("a client of a topic that was let go of").await {
            Step::Gap(_) => is_told = true,
            Step::Event(event) if number(&event) == 1 => is_told = true,
            Step::Event(event) => {
                assert_eq!(number(&event), 2, "the event after the topic was let go of");
                break;
            }
        }
    }
    assert!(is_told, "an event that was let go of is lost without a gap");
    back.expect_nothing("a client that has all events").await;
}

/// Checks that a follower that does not poll delays no other.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_stalled<L: EventLog>(log: &L, prefix: &str) {
    let topic = topic(prefix, "stalled");
    let set = Topics::from(&topic);
    let mut stalled = Reader::new(log, &set, Start::Live);
    stalled.expect_nothing("a follower from now on").await;
    let mut reader = Reader::new(log, &set, Start::Live);
    for n in 0..EVENTS {
        append(log, &topic, n).await;
        reader.expect_events(n..=n, "a follower beside one that does not poll").await;
    }
}

/// Checks that what a log lost is told, for a log that keeps at most `kept` events of a topic.
///
/// # Panics
///
/// As [`check`] does.
pub async fn check_gaps<L: EventLog>(log: &L, prefix: &str, kept: usize) {
    let topic = topic(prefix, "gaps");
    let set = Topics::from(&topic);
    let mut stalled = Reader::new(log, &set, Start::Live);
    stalled.expect_nothing("a follower from now on").await;
    let first = append(log, &topic, 0).await;
    // A broker may keep somewhat more than it is asked to.
    let count = 4 * kept + 1_000;
    for n in 1..count {
        append(log, &topic, n).await;
    }
    for (start, name) in [
        (Some(Start::After(first.clone())), "a client that comes back after a loss"),
        (None, "a follower that is there and did not poll"),
    ] {
        let requested = start.is_some().then_some(&first);
        let mut made = start.map(|start| Reader::new(log, &set, start));
        let reader = made.as_mut().unwrap_or(&mut stalled);
        let gap = reader.expect_gap(name).await;
        assert_eq!((gap.reason, gap.requested.as_ref()), (GapReason::Expired, requested), "{name}");
        let next = reader.next(name).await;
        let Step::Event(event) = next else { panic!("{name} gets {next:?} after a gap") };
        assert_eq!(
            gap.earliest.as_ref().map(EventId::as_str),
            Some(event.id()),
            "{name}: earliest"
        );
        let from = number(&event);
        reader.expect_events(from + 1..count, name).await;
        // A client that has the gap only can go on there.
        let mut again = Reader::new(log, &set, Start::After(gap.position));
        again.expect_events(from..count, "a client that comes back at the position of a gap").await;
    }
}

/// Checks that a message is taken once in its topic, for a log that implements
/// [`append_once`](EventLog::append_once).
///
/// # Panics
///
/// As [`check`] does, and if the log does not implement it.
pub async fn check_idempotent<L: EventLog>(log: &L, prefix: &str) {
    let (topic, other) = (topic(prefix, "message.a"), topic(prefix, "message.b"));
    let refused = log.append_once(&topic, Event::new(), &message(0)).await;
    assert!(matches!(refused, Some(Err(_))), "an event without data is refused: {refused:?}");
    let first = append_once(log, &topic, 0, 0).await;
    assert!(!first.is_repeat, "an event that was refused takes no message id");
    append(log, &topic, 1).await;
    for repeat in [append_once(log, &topic, 0, 0).await, append_once(log, &topic, 7, 0).await] {
        assert_eq!(repeat, Appended::repeat(first.id.clone()), "a repeat has the id of the first");
    }
    let next = append_once(log, &topic, 2, 1).await;
    assert!(!next.is_repeat && next.id != first.id, "another message is another event");
    let elsewhere = append_once(log, &other, 0, 0).await;
    assert!(!elsewhere.is_repeat, "a message id is one of its topic");
    let mut calls = JoinSet::new();
    for _ in 0..8 {
        let (log, topic) = (log.clone(), topic.clone());
        calls.spawn(async move { append_once(&log, &topic, 3, 2).await });
    }
    let calls = calls.join_all().await;
    let appended = calls.iter().filter(|call| !call.is_repeat).count();
    assert_eq!(appended, 1, "of several calls at the same time one appends: {calls:?}");
    assert!(calls.iter().all(|call| call.id == calls[0].id), "all have one id: {calls:?}");
    append(log, &topic, 4).await;
    append(log, &other, 1).await;
    for (topic, count) in [(&topic, 5), (&other, 2)] {
        let mut reader = Reader::new(log, &topic.into(), Start::Earliest);
        reader.expect_events(0..count, "a follower of messages that were repeated").await;
    }
    // The id of a repeat is that of the event.
    let mut reader = Reader::new(log, &(&topic).into(), Start::After(first.id));
    reader.expect_events(1..5, "a follower after a message that was repeated").await;
}

/// A follower, and the last event that it returned.
struct Reader<F> {
    follower: Pin<Box<F>>,
    last: Option<EventId>,
}

impl<F: Follow> Reader<F> {
    fn new<L: EventLog<Follower = F>>(log: &L, topics: &Topics, from: Start) -> Self {
        let follower = Box::pin(log.follow(topics.clone(), from));
        Self { follower, last: None }
    }

    async fn next(&mut self, name: &str) -> Step {
        let next = poll_fn(|cx| self.follower.as_mut().poll_next(cx));
        let Ok(step) = timeout(PATIENCE, next).await else {
            panic!("{name} gets nothing for {PATIENCE:?}");
        };
        step.unwrap_or_else(|| panic!("{name} ends"))
    }

    async fn expect_events(&mut self, numbers: impl IntoIterator<Item = usize>, name: &str) {
        for expected in numbers {
            match self.next(name).await {
                Step::Event(event) => {
                    assert_eq!(number(&event), expected, "{name}");
                    self.last = EventId::new(event.id()).ok();
                }
                Step::Gap(gap) => panic!("{name} gets {gap:?} and not event {expected}"),
            }
        }
    }

    async fn expect_gap(&mut self, name: &str) -> Gap {
        match self.next(name).await {
            Step::Gap(gap) => gap,
            Step::Event(event) => panic!("{name} gets no gap but {event:?}"),
        }
    }

    /// Polls for a moment: a follower is not there before it was polled, as far as a broker knows.
    async fn expect_nothing(&mut self, name: &str) {
        let next = poll_fn(|cx| self.follower.as_mut().poll_next(cx));
        if let Ok(step) = timeout(MOMENT, next).await {
            panic!("{name} gets {step:?}");
        }
    }

    fn last(&self) -> EventId {
        self.last.clone().expect("there was an event, and its id is one")
    }
}

fn topic(prefix: &str, name: &str) -> Topic {
    Topic::new(format!("{prefix}.{name}")).expect("the prefix is the name of a topic")
}

/// Appends an event with a number.
async fn append<L: EventLog>(log: &L, topic: &Topic, n: usize) -> EventId {
    let event = Event::new().data(n.to_string());
    log.append(topic, event).await.expect("the log takes an event")
}

/// Appends an event with a number as that of a message.
async fn append_once<L: EventLog>(log: &L, topic: &Topic, n: usize, of: usize) -> Appended {
    let event = Event::new().data(n.to_string());
    let appended = log.append_once(topic, event, &message(of)).await;
    let appended = appended.expect("the log implements `append_once`");
    appended.expect("the log takes an event")
}

fn message(n: usize) -> MessageId {
    MessageId::new(format!("message-{n}")).expect("it has no space")
}

fn number(event: &Logged) -> usize {
    let text = std::str::from_utf8(event.bytes()).expect("an event is UTF-8");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let number = lines.next().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("an event of the log was appended by nobody: {text:?}"))
}

/// How many events most checks append. Logs keep more of a topic.
const EVENTS: usize = 15;

const PATIENCE: Duration = Duration::from_secs(10);

const MOMENT: Duration = Duration::from_millis(50);
