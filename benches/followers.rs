//! Heap of a follower of a log, and allocations an event.
//!
//! ```text
//! cargo bench --features hub --bench followers            # the table
//! cargo bench --features hub --bench followers -- --check # fails if a promise is not kept
//! ```

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use http_body::Body;
use tower_sse::event_log::{EventLog, Follow, MemoryLog, Start, Step, Topic};
use tower_sse::hub::HubBody;
use tower_sse::{Event, Hub};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// The most that a follower may take, with its waker's place, in bytes.
const MOST: f64 = 128.0;

/// The most allocations an event, however many follow: its bytes, and beside them their owners'
/// count.
const MOST_BLOCKS: f64 = 1.0;

/// The same in bursts, of which the frame that all share takes two more.
const MOST_IN_BURSTS: f64 = 1.0 + 2.0 / 50.0;

const FOLLOWERS: usize = 10_000;

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

fn main() -> ExitCode {
    let _profiler = dhat::Profiler::builder().testing().build();
    let mut broken = 0;

    println!("heap of a follower that waits, in bytes");
    for (name, events) in [("before any event", 0), ("behind many events", 200)] {
        let follower = heap(events, |hub, topic| hub.log().follow(topic.into(), Start::Live), poll);
        let body = heap(events, |hub, topic| hub.subscribe(topic).into_body(), frame);
        println!("{name:<24}{follower:>8.1}, in a hub's body{body:>8.1}");
        broken += usize::from(follower > MOST) + usize::from(body > MOST);
    }

    println!("\nallocations an event, published one at a time or 50 at once, and read by so many");
    for followers in [0, 1, 100, FOLLOWERS] {
        let [single, burst] = [1, 50].map(|at_once| blocks(followers, at_once));
        println!("{followers:<24}{single:>8.2}{burst:>8.2}");
        broken += usize::from(single > MOST_BLOCKS) + usize::from(burst > MOST_IN_BURSTS);
    }

    if broken > 0 && std::env::args().any(|argument| argument == "--check") {
        println!("\n{broken} figures are above what is promised");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Heap of one of many followers that wait, after so many events that each of them read.
#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn heap<F>(
    events: usize,
    make: impl Fn(&Hub, &Topic) -> F,
    poll: impl Fn(&mut F, &Waker) -> bool,
) -> f64 {
    let (hub, topic) = (Hub::new(log()), Topic::new("t").expect("a name"));
    let waker = Waker::from(Arc::new(Nobody));
    // The window is there before, so that it does not show.
    for _ in 0..2 * WINDOW {
        hub.publish_blocking(&topic, event()).expect("it has room");
    }
    let before = dhat::HeapStats::get().curr_bytes;
    // Exactly so many, as streams have their followers: in place.
    let mut all = Vec::with_capacity(FOLLOWERS);
    for _ in 0..FOLLOWERS {
        let mut follower = make(&hub, &topic);
        assert!(!poll(&mut follower, &waker));
        all.push(follower);
    }
    for _ in 0..events {
        hub.publish_blocking(&topic, event()).expect("it has room");
        for follower in &mut all {
            while poll(follower, &waker) {}
        }
    }
    (dhat::HeapStats::get().curr_bytes - before) as f64 / FOLLOWERS as f64
}

#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn blocks(followers: usize, at_once: usize) -> f64 {
    const EVENTS: usize = 100;
    let (hub, topic) = (Hub::new(log()), Topic::new("t").expect("a name"));
    let waker = Waker::from(Arc::new(Nobody));
    let mut bodies: Vec<_> = (0..followers).map(|_| hub.subscribe(&topic).into_body()).collect();
    let mut events = Vec::new();
    let mut turn = |events: &mut Vec<Event>| {
        while !events.is_empty() {
            for event in events.drain(..at_once.min(events.len())) {
                hub.publish_blocking(&topic, event).expect("it has room");
            }
            for body in &mut bodies {
                while frame(body, &waker) {}
            }
        }
    };
    // The first fill the window and the lists of wakers.
    events.extend((0..2 * WINDOW).map(|_| event()));
    turn(&mut events);
    // Made before, since what an event is made of is not the log's.
    events.extend((0..EVENTS).map(|_| event()));
    let before = dhat::HeapStats::get().total_blocks;
    turn(&mut events);
    // One is the id that the publisher gets.
    (dhat::HeapStats::get().total_blocks - before) as f64 / EVENTS as f64 - 1.0
}

fn log() -> MemoryLog {
    MemoryLog::builder().events(WINDOW).build().expect("it can work")
}

fn event() -> Event {
    Event::new().data("x".repeat(100))
}

fn poll<F: Follow + Unpin>(follower: &mut F, waker: &Waker) -> bool {
    let polled = Pin::new(follower).poll_next(&mut Context::from_waker(waker));
    matches!(polled, Poll::Ready(Some(Step::Event(_))))
}

fn frame(body: &mut HubBody<MemoryLog>, waker: &Waker) -> bool {
    Pin::new(body).poll_frame(&mut Context::from_waker(waker)).is_ready()
}

const WINDOW: usize = 64;
