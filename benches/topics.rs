//! What topics of a log in memory cost, and whether more of them make each dearer.
//!
//! ```text
//! cargo bench --features hub --bench topics             # the table, in short
//! cargo bench --features hub --bench topics -- --full   # a million topics, 100,000 followed
//! cargo bench --features hub --bench topics -- --check  # fails if a promise is not kept
//! ```
//!
//! Bytes, allocations and wake-ups are counted. Times are those of the thread on a processor, most
//! of which is the counting.

// Each bench uses its part of this.
#[allow(dead_code)]
#[path = "fanout/cost.rs"]
mod cost;

use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use cost::{cpu, per_delivery};
use tower_sse::Event;
use tower_sse::event_log::{
    EventLog, Follow, MemoryFollower, MemoryLog, Start, Step, Topic, Topics,
};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// How much dearer anything may be among many topics than among few.
const MOST: f64 = 1.1;

/// The most bytes of a topic with one event of 100 bytes.
const MOST_BYTES: f64 = 750.0;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What something cost, once.
#[derive(Clone, Copy)]
struct Cost {
    blocks: f64,
    bytes: f64,
    nanoseconds: f64,
}

fn main() -> ExitCode {
    let _profiler = dhat::Profiler::builder().testing().build();
    let is = |word: &str| std::env::args().any(|argument| argument == word);
    let (topics, followed) = if is("--full") { (1_000_000, 100_000) } else { (50_000, 10_000) };
    let mut broken = 0;

    println!("{:<58}{:>10}{:>10}{:>12}", "", "blocks", "bytes", "ns");
    let log = log(topics);
    let one = cost_of(topics, |n| publish(&log, &name(n)));
    row(&format!("one of {topics} topics, with an event of 100 bytes"), one);
    broken += usize::from(one.bytes > MOST_BYTES);

    let [few, many] = [100, followed].map(|count| following(&log, count));
    broken += compare("to follow one more", 100, followed, [few.0, many.0]);
    broken += compare("an event, read by its follower", 100, followed, [few.1, many.1]);

    let [few, many] = [100, topics].map(pattern);
    broken += compare("to follow a pattern from now on", 100, topics, [few.0, many.0]);
    broken += compare("an event, read by a follower of a pattern", 100, topics, [few.1, many.1]);

    let woken = new_topics(1_000);
    println!("wake-ups of a follower of another pattern by 1000 new topics: {woken}");
    broken += usize::from(woken > 0);
    let (first, longest, events) = patterns(256, 20_000);
    println!(
        "256 patterns of 20000 topics, {events} events: following {first:.1} ms, longest poll {longest:.1} ms"
    );

    if broken > 0 && is("--check") {
        println!("\n{broken} figures are above what is promised");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn log(topics: usize) -> MemoryLog {
    MemoryLog::builder().topics(2 * topics).build().expect("it can work")
}

fn name(n: usize) -> Topic {
    Topic::new(format!("orders.{n}")).expect("a name")
}

fn publish(log: &MemoryLog, topic: &Topic) {
    let event = Event::new().data("x".repeat(80));
    log.append_now(topic, event).expect("it has room");
}

#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn cost_of(times: usize, mut work: impl FnMut(usize)) -> Cost {
    let (before, started) = (dhat::HeapStats::get(), cpu());
    (0..times).for_each(&mut work);
    let nanoseconds = per_delivery(cpu().saturating_sub(started), times);
    let (after, times) = (dhat::HeapStats::get(), times as f64);
    Cost {
        nanoseconds,
        blocks: (after.total_blocks - before.total_blocks) as f64 / times,
        bytes: (after.curr_bytes as f64 - before.curr_bytes as f64) / times,
    }
}

fn row(name: &str, cost: Cost) {
    println!("{name:<58}{:>10.2}{:>10.0}{:>12.0}", cost.blocks, cost.bytes, cost.nanoseconds);
}

/// Prints both, and returns whether the second has more allocations than it may.
fn compare(name: &str, few: usize, many: usize, costs: [Cost; 2]) -> usize {
    row(&format!("{name}, of {few}"), costs[0]);
    row(&format!("{name}, of {many}"), costs[1]);
    usize::from(costs[1].blocks > costs[0].blocks * MOST)
}

/// What it costs to follow one more topic when so many are followed, and an event then.
fn following(log: &MemoryLog, count: usize) -> (Cost, Cost) {
    const MORE: usize = 1_000;
    let waker = Waker::from(Arc::new(Wakes::default()));
    let mut followers: Vec<_> = Vec::with_capacity(count + MORE);
    let mut follow = |n: usize| {
        let mut follower = log.follow((&name(n)).into(), Start::Live);
        assert!(!poll(&mut follower, &waker));
        followers.push(follower);
    };
    (0..count).for_each(&mut follow);
    let more = cost_of(MORE, |n| follow(count + n));
    let mut event = |at: usize| {
        publish(log, &name(at));
        assert!(poll(&mut followers[at], &waker));
        assert!(!poll(&mut followers[at], &waker));
    };
    // So that each has room for some events and wakers.
    (0..4 * count).for_each(|n| event(n % count));
    // Over all of them, and not one after the other.
    let event = cost_of(MORE, |n| event(n * 7_919 % count));
    (more, event)
}

/// What it costs to follow a pattern of so many topics, and an event then.
fn pattern(count: usize) -> (Cost, Cost) {
    const TIMES: usize = 200;
    let log = log(count);
    (0..4 * count).for_each(|n| publish(&log, &name(n % count)));
    let waker = Waker::from(Arc::new(Wakes::default()));
    let all = Topics::try_from("orders.*").expect("a pattern");
    let follow = |_| {
        let mut follower = log.follow(all.clone(), Start::Live);
        assert!(!poll(&mut follower, &waker));
        follower
    };
    let one = cost_of(20, |n| drop(follow(n)));
    let mut follower = follow(0);
    let event = cost_of(TIMES, |n| {
        publish(&log, &name(n * 7_919 % count));
        assert!(poll(&mut follower, &waker));
        assert!(!poll(&mut follower, &waker));
    });
    (one, event)
}

/// How often a follower of a pattern is woken by so many topics that do not match it.
fn new_topics(count: usize) -> usize {
    let (log, woken) = (log(count), Arc::new(Wakes::default()));
    let waker = Waker::from(Arc::clone(&woken));
    let mut follower = log.follow(Topics::try_from("news.*").expect("a pattern"), Start::Live);
    assert!(!poll(&mut follower, &waker));
    for n in 0..count {
        publish(&log, &name(n));
        assert!(!poll(&mut follower, &waker));
    }
    woken.0.load(Ordering::Relaxed)
}

/// Milliseconds to follow many patterns that all match many topics, from the first event on, and
/// the longest poll until the follower has all events.
fn patterns(patterns: usize, topics: usize) -> (f64, f64, usize) {
    let log = log(topics);
    let first = log.append_now(&name(0), Event::new().data("x")).expect("it has room");
    for n in 0..topics {
        let topic = Topic::new(format!("a.{}.{n}", n % 100)).expect("a name");
        publish(&log, &topic);
    }
    let names = (0..patterns - 100).map(|n| format!("a.*.{n}"));
    let names = names.chain((0..100).map(|n| format!("a.{n}.*")));
    let all = Topics::new(names).expect("patterns");
    let waker = Waker::from(Arc::new(Wakes::default()));
    let milliseconds = |from| cpu().saturating_sub(from).as_secs_f64() * 1e3;
    let started = cpu();
    let mut follower = log.follow(all, Start::After(first));
    let call = milliseconds(started);
    let (mut longest, mut events) = (0.0_f64, 0);
    // The later polls return one event each.
    for _ in 0..100 {
        let started = cpu();
        events += usize::from(poll(&mut follower, &waker));
        longest = longest.max(milliseconds(started));
    }
    while poll(&mut follower, &waker) {
        events += 1;
    }
    (call, longest, events)
}

fn poll(follower: &mut MemoryFollower, waker: &Waker) -> bool {
    let polled = Pin::new(follower).poll_next(&mut Context::from_waker(waker));
    matches!(polled, Poll::Ready(Some(Step::Event(_))))
}
