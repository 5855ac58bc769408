//! What an event costs on the wire to Redis, and what it costs to follow one more topic: the same,
//! however many topics are followed.

use std::time::{Duration, Instant};

use tower_sse::event_log::{RedisFollower, RedisLog, Start};

use crate::harness::redis::{LONG, Server, append, follow, said};

/// What Redis has counted since it started.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    commands: f64,
    bytes: f64,
}

impl Traffic {
    fn of(server: &Server) -> Self {
        let info = server.cli(&["INFO", "stats"]);
        let number = |name: &str| -> f64 {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap().trim().parse().unwrap()
        };
        let bytes = number("total_net_input_bytes") + number("total_net_output_bytes");
        Self { commands: number("total_commands_processed"), bytes }
    }

    /// Whether there is more in a while than the question.
    async fn grows(self, server: &Server) -> bool {
        tokio::time::sleep(Duration::from_millis(200)).await;
        Self::of(server).commands > self.commands + 4.0
    }

    /// What there was since, for each of the events.
    fn since(server: &Server, before: Self) -> Self {
        let now = Self::of(server);
        let each = |now: f64, before: f64| (now - before) / f64::from(EVENTS);
        Self { commands: each(now.commands, before.commands), bytes: each(now.bytes, before.bytes) }
    }
}

/// A node that follows so many topics, and what an event costs there and one more topic.
async fn costs(topics: usize) -> [Traffic; 2] {
    let server = Server::start().await;
    let log = async || {
        let patient = RedisLog::builder().append_timeout(LONG);
        patient.connect(&server.url()).await.unwrap()
    };
    let (node, writer) = (log().await, log().await);
    let follow = |n: usize| follow(&node, &[&name(n)], Start::Live);
    let began = Instant::now();
    let mut followers: Vec<RedisFollower> = (0..topics).map(follow).collect();
    for n in (0..topics).step_by(topics / 50) {
        publish(&writer, &mut followers, n).await;
    }
    // The last topics may still be loaded, whose events nobody waits for.
    while Traffic::of(&server).grows(&server).await {}
    println!("{topics} topics are followed after {:?}", began.elapsed());

    let events = usize::from(EVENTS);
    let before = Traffic::of(&server);
    for n in 0..events {
        publish(&writer, &mut followers, n * (topics / events)).await;
    }
    let event = Traffic::since(&server, before);

    let (before, began) = (Traffic::of(&server), Instant::now());
    for n in topics..topics + events {
        followers.push(follow(n));
        publish(&writer, &mut followers, n).await;
    }
    let one_more = Traffic::since(&server, before);
    let time = began.elapsed() / u32::from(EVENTS);
    println!("{topics} topics: an event {event:?}, one more {one_more:?} in {time:?}");
    [event, one_more]
}

fn name(n: usize) -> String {
    format!("topic.{n:06}")
}

/// Waits for each event, so that none share a reply.
async fn publish(writer: &RedisLog, followers: &mut [RedisFollower], n: usize) {
    append(writer, &name(n), "x").await;
    assert_eq!(said(&mut followers[n]).await, "x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_costs_the_same_however_many_topics_are_followed() {
    let many = std::env::var("TOPICS").map_or(3_000, |many| many.parse().unwrap());
    let (few, many) = (costs(100).await, costs(many).await);
    for (few, many) in few.into_iter().zip(many) {
        assert!(many.commands <= few.commands * 1.1, "{few:?} {many:?}");
        assert!(many.bytes <= few.bytes * 1.1, "{few:?} {many:?}");
    }
}

const EVENTS: u16 = 100;
