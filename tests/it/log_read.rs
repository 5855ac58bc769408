//! A look at a log returns what there is, and leaves nothing.

use std::future::Future;
use std::task::{Context, Poll, Waker};

use tower_sse::event_log::{EventLog, GapReason, MemoryFollower, MemoryLog, Page, Start};
use tower_sse::event_log::{Topic, Topics};
use tower_sse::{Event, EventId};

use crate::harness::SECOND;
use crate::harness::hub::{append, data_of, id, topic};

/// A log of an application's own, which has what it must have and no more.
#[derive(Clone)]
struct Own(MemoryLog);

impl EventLog for Own {
    type Error = <MemoryLog as EventLog>::Error;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, Self::Error> {
        self.0.append(topic, event).await
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.0.follow(topics, from)
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, Self::Error> {
        self.0.latest(topics).await
    }
}

/// The data of the events of a page, and whether there are more.
fn said(page: &Page) -> (Vec<String>, bool) {
    let events = page.events.iter().map(|event| data_of(event.bytes()));
    (page.gap.iter().map(|_| "gap".to_owned()).chain(events).collect(), page.has_more)
}

async fn check<L: EventLog>(log: &L, ids: &[EventId]) {
    let after = |id: &EventId| Start::After(id.clone());
    #[rustfmt::skip]
    let table = [
        (Start::Earliest,         10, &["c", "d", "e"][..],        false),
        (Start::Earliest,         2,  &["c", "d"][..],             true),
        (Start::Live,             10, &[][..],                     false),
        (Start::Unknown,          10, &["gap", "c", "d", "e"][..], false),
        (after(&ids[0]),          10, &["gap", "c", "d", "e"][..], false),
        (after(&ids[0]),          1,  &["gap", "c"][..],           true),
        (after(&ids[3]),          10, &["e"][..],                  false),
        (after(&ids[4]),          10, &[][..],                     false),
    ];
    for (from, limit, expected, has_more) in table {
        let page = log.read(&topic("t"), from.clone(), limit).await.unwrap();
        let expected = expected.iter().map(|text| (*text).to_owned()).collect();
        assert_eq!(said(&page), (expected, has_more), "{from:?} {limit}");
    }
    let page = log.read(&topic("t"), Start::After(id("1-1")), 1).await.unwrap();
    assert_eq!(page.gap.map(|gap| gap.reason), Some(GapReason::Restarted));
}

fn filled() -> (MemoryLog, Vec<EventId>) {
    let log = MemoryLog::builder().events(3).build().unwrap();
    let ids = ["a", "b", "c", "d", "e"].map(|text| append(&log, "t", text)).into();
    (log, ids)
}

#[tokio::test]
async fn a_look_at_a_topic_is_what_a_follower_would_get_at_once() {
    let (log, ids) = filled();
    check(&log, &ids).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_log_that_has_no_read_of_its_own_is_the_same() {
    let (log, ids) = filled();
    check(&Own(log), &ids).await;
}

#[test]
fn a_look_at_a_log_registers_nothing() {
    let log = MemoryLog::new();
    for n in 0..1_000 {
        let name = topic(&format!("made.up.{n}"));
        let looked = std::pin::pin!(log.read(&name, Start::After(id("7-1")), 10));
        // At once, and without a runtime.
        let Poll::Ready(page) = looked.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("it waits");
        };
        assert_eq!(page.unwrap().gap.map(|gap| gap.reason), Some(GapReason::Restarted));
        assert_eq!(log.followers(&name), 0);
    }
    assert_eq!(log.topics(), 0);
}

/// The log remembers up to where it lost the events of a topic that ended.
#[tokio::test(start_paused = true)]
async fn a_look_at_a_topic_that_ended_says_what_was_lost() {
    let log = MemoryLog::builder().age(SECOND).idle(SECOND).build().unwrap();
    let (first, last) = (append(&log, "t", "1"), append(&log, "t", "2"));
    tokio::time::advance(5 * SECOND).await;
    assert_eq!(log.topics(), 0);
    for (from, expected) in [(first, &["gap"][..]), (last, &[])] {
        let page = log.read(&topic("t"), Start::After(from), 10).await.unwrap();
        assert_eq!(said(&page).0, expected);
    }
    assert_eq!(log.topics(), 0);
}
