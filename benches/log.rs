//! Heap of what a log in memory keeps: events, topics, names that are followed, and ids of
//! messages.
//!
//! ```text
//! cargo bench --bench log            # the table
//! cargo bench --bench log -- --check # fails if the documentation of its settings says otherwise
//! ```

// Tests use it, too.
#[allow(unreachable_pub)]
#[path = "../tests/it/harness/figures.rs"]
mod figures;

use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Waker};

use figures::figure;
use tower_sse::Event;
use tower_sse::event_log::{EventLog, Follow, MemoryLog, MessageId, Start, Topic};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// How far what is measured may be from what is said.
const ABOUT: f64 = 0.05;

/// The greatest and the least lengths that take the same.
const SIZES: [usize; 18] = [
    64, 65, 96, 97, 128, 129, 256, 257, 512, 513, 1024, 1025, 1792, 1793, 2048, 2049, 4096, 65_536,
];

/// The defaults, and the length of a UUID.
const TOPICS: usize = 65_536;
const FOLLOWED: usize = 262_144;
const MESSAGES: usize = 65_536;
const UUID: usize = 36;

const MIB: f64 = 1024.0 * 1024.0;

fn main() -> ExitCode {
    let _profiler = dhat::Profiler::builder().testing().build();
    let said = |before, after| figure("src/event_log/memory/builder.rs", before, after);
    let mut broken = 0;
    let mut row = |what: &str, heap: f64, said: f64| {
        println!("{what:<64}{heap:>10.1}{said:>10.0}");
        broken += usize::from((heap - said).abs() > said * ABOUT);
    };
    println!("{:<64}{:>10}{:>10}", "", "heap", "said");

    let beside = SIZES.map(|size| beside(size).max(0.0)).into_iter().fold(0.0, f64::max);
    let most = said("takes up to a quarter more than its bytes, and ", " bytes");
    row("the most of an event, beside five quarters of its bytes", beside, most);

    let most = said("A topic takes about ", " bytes with an event of 100 bytes");
    row("a topic with an event of 100 bytes", topics() / count(TOPICS), most);

    let followed = followed();
    let most = said("each takes about ", " bytes with its follower");
    row("a name that is followed", followed / count(FOLLOWED), most);
    let most = said("more clients than a process serves, and ", " MiB");
    row("as many names as may be followed, in MiB", followed / MIB, most);

    let most = said("as a UUID that is ", " MiB");
    row("as many ids of messages as are kept, in MiB", messages(UUID, UUID) / MIB, most);
    let most = said("MiB, and ", " MiB if both are the longest");
    row("as many of the longest, in MiB", messages(255, 256) / MIB, most);

    if broken > 0 && std::env::args().any(|argument| argument == "--check") {
        println!("\n{broken} figures are not what is said");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Heap of an event of about `size` bytes beside five quarters of its bytes, in a topic whose list
/// of events has just grown.
fn beside(size: usize) -> f64 {
    const EVENTS: usize = 1024 + 1;
    let log = MemoryLog::builder().events(EVENTS).bytes(1 << 30).build().expect("it can work");
    let topic = topic(0, 1);
    let before = heap();
    for _ in 0..EVENTS {
        publish(&log, &topic, size);
    }
    let (events, bytes) = log.window(&topic);
    assert_eq!(events, EVENTS);
    (heap() - before - 1.25 * count(bytes)) / count(events)
}

/// Heap of as many topics as there may be, with an event each.
fn topics() -> f64 {
    let log = MemoryLog::new();
    let before = heap();
    (0..TOPICS).for_each(|n| publish(&log, &topic(n, UUID), 100));
    heap() - before
}

/// Heap of as many names as may be followed without an event, and of a follower of each that waits.
fn followed() -> f64 {
    let log = MemoryLog::new();
    let before = heap();
    let mut followers = Vec::with_capacity(FOLLOWED);
    for n in 0..FOLLOWED {
        let mut follower = log.follow(topic(n, UUID).into(), Start::Live);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut follower).poll_next(&mut context).is_pending());
        followers.push(follower);
    }
    heap() - before
}

/// Heap of as many ids as are remembered, which are so long, as are the names of their topics.
fn messages(id_len: usize, topic_len: usize) -> f64 {
    let log = MemoryLog::new();
    publish(&log, &topic(0, topic_len), 64);
    let before = heap();
    // Those that are forgotten leave room.
    for n in 0..2 * MESSAGES {
        let message = MessageId::new(numbered(n, id_len)).expect("an id");
        let event = Event::new().data("x");
        log.append_once_now(&topic(0, topic_len), event, &message).expect("it has room");
    }
    heap() - before
}

fn publish(log: &MemoryLog, topic: &Topic, size: usize) {
    // About so long, with an id and the ends of lines.
    let event = Event::new().data("x".repeat(size - 34));
    log.append_now(topic, event).expect("it has room");
}

fn topic(n: usize, len: usize) -> Topic {
    Topic::new(numbered(n, len)).expect("a name")
}

fn numbered(n: usize, len: usize) -> String {
    format!("{n:0len$}")
}

fn heap() -> f64 {
    count(dhat::HeapStats::get().curr_bytes)
}

#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn count(count: usize) -> f64 {
    count as f64
}
