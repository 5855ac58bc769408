//! What it costs to follow topics, an event and one more topic between Redis and a node: the same,
//! however many topics are followed, of a log that has ten times as many.

use std::ops::Range;
use std::time::Instant;

use futures_util::{StreamExt, stream};
use tower_sse::event_log::{RedisFollower, RedisLog, Start};

use crate::harness::redis::{LONG, Server, append, follow, said};

/// What Redis has counted since it started.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    /// Calls of scripts, and reads.
    requests: f64,
    bytes: f64,
}

impl Traffic {
    fn of(server: &Server) -> Self {
        let info = server.cli(&["INFO", "all"]);
        let calls = |command| number(&info, &format!("cmdstat_{command}:calls="));
        let bytes = |direction| number(&info, &format!("total_net_{direction}_bytes:"));
        Self {
            requests: calls("evalsha") + calls("xread"),
            bytes: bytes("input") + bytes("output"),
        }
    }

    /// What there was since, for each of so many.
    fn since(server: &Server, before: Self, count: u32) -> Self {
        let now = Self::of(server);
        let each = |now: f64, before: f64| (now - before) / f64::from(count);
        Self { requests: each(now.requests, before.requests), bytes: each(now.bytes, before.bytes) }
    }
}

/// The number after `name` in what Redis says of itself; zero if it says nothing.
fn number(info: &str, name: &str) -> f64 {
    let value = info.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    value.split(',').next().unwrap().trim().parse().unwrap()
}

async fn connect(server: &Server) -> RedisLog {
    RedisLog::builder().append_timeout(LONG).connect(&server.url()).await.unwrap()
}

/// Appends an event to each of so many topics.
async fn fill(server: &Server, topics: u32) -> RedisLog {
    let memory = || number(&server.cli(&["INFO", "memory"]), "used_memory:");
    let (log, before, began) = (&connect(server).await, memory(), Instant::now());
    let appends = stream::iter(0..topics).map(async |n| drop(append(log, &name(n), "old").await));
    appends.buffer_unordered(64).for_each(|()| std::future::ready(())).await;
    let each = (memory() - before) / f64::from(topics);
    println!("{topics} topics: {each:.0} bytes of Redis each, after {:?}", began.elapsed());
    log.clone()
}

/// What it costs a node to follow each of these topics at once, an event then, and one more topic
/// with its next event.
async fn costs(server: &Server, writer: &RedisLog, topics: Range<u32>) -> [Traffic; 3] {
    let (node, count) = (connect(server).await, topics.end - topics.start);
    let follow = |n, from| (n, follow(&node, &[&name(n)], from));
    let (before, began) = (Traffic::of(server), Instant::now());
    let mut followers: Vec<_> = topics.clone().map(|n| follow(n, Start::Earliest)).collect();
    for (_, follower) in &mut followers {
        assert_eq!(said(follower).await, "old");
    }
    let at_once = Traffic::since(server, before, count);
    println!("{count} topics at once, after {:?}: {at_once:?}", began.elapsed());

    let before = Traffic::of(server);
    for at in 0..EVENTS {
        publish(writer, &mut followers[(at * (count / EVENTS)) as usize]).await;
    }
    let event = Traffic::since(server, before, EVENTS);

    let (before, began) = (Traffic::of(server), Instant::now());
    for n in topics.end..topics.end + EVENTS {
        // The topic is loaded then: else, on a busy machine, some events would come meanwhile, and
        // be asked for once more.
        let mut follower = follow(n, Start::Earliest);
        assert_eq!(said(&mut follower.1).await, "old");
        publish(writer, &mut follower).await;
        followers.push(follower);
    }
    let one_more = Traffic::since(server, before, EVENTS);
    let took = began.elapsed() / EVENTS;
    println!("{count} topics: an event {event:?}, one more {one_more:?} in {took:?}");
    [at_once, event, one_more]
}

fn name(n: u32) -> String {
    format!("topic.{n:07}")
}

/// Waits for the event, so that no two share a reply.
async fn publish(writer: &RedisLog, (n, follower): &mut (u32, RedisFollower)) {
    append(writer, &name(*n), "new").await;
    assert_eq!(said(follower).await, "new");
}

/// A million topics by `TOPICS=1000000`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_and_one_more_topic_cost_the_same_however_many_topics_are_followed() {
    let topics = std::env::var("TOPICS").map_or(20_000, |topics| topics.parse().unwrap());
    let server = Server::start().await;
    let writer = fill(&server, topics).await;
    let few = costs(&server, &writer, topics / 2..topics / 2 + EVENTS).await;
    let many = costs(&server, &writer, 0..topics / 10).await;
    assert!(many[0].requests < 1.1, "one request loads a topic: {many:?}");
    for (few, many) in few.into_iter().zip(many) {
        assert!(many.requests <= few.requests * 1.1, "{few:?} {many:?}");
        assert!(many.bytes <= few.bytes * 1.1, "{few:?} {many:?}");
    }
}

const EVENTS: u32 = 100;
