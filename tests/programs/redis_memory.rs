//! What a log keeps in Redis takes as much memory as the documentation says.

use futures_util::{StreamExt, stream};
use tower_sse::event_log::{EventLog, MessageId, RedisLog, RedisLogBuilder, Topic};

use crate::harness::figures::figure;
use crate::harness::redis::{LONG, Server, data};

/// Where most of the figures are said.
const BUILDER: &str = "src/event_log/redis/builder.rs";

async fn connect(server: &Server, settings: RedisLogBuilder) -> RedisLog {
    settings.append_timeout(LONG).connect(&server.url()).await.unwrap()
}

fn name(n: u32, len: usize) -> Topic {
    Topic::new(format!("{n:0len$}")).unwrap()
}

/// Appends many events, the n-th of them to this topic and with this message id.
async fn append_all(
    log: &RedisLog,
    count: u32,
    topic: impl Fn(u32) -> Topic,
    text: &str,
    id: impl Fn(u32) -> Option<MessageId>,
) {
    let append = async |n| match id(n) {
        Some(id) => drop(log.append_once(&topic(n), data(text), &id).await.unwrap().unwrap()),
        None => drop(log.append(&topic(n), data(text)).await.unwrap()),
    };
    let appends = stream::iter(0..count).map(append);
    appends.buffer_unordered(64).for_each(|()| std::future::ready(())).await;
}

/// Bytes that Redis has allocated.
fn used(server: &Server) -> f64 {
    let info = server.cli(&["INFO", "memory"]);
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().trim().parse().unwrap()
}

#[track_caller]
fn assert_about(measured: f64, said: f64) {
    assert!((measured / said - 1.0).abs() < 0.1, "{measured} is not about {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_id_takes_what_the_documentation_says() {
    const COUNT: u32 = 10_000;
    let server = Server::start().await;
    let log = connect(&server, RedisLog::builder().events(10).feed_events(10)).await;
    let topic = |_| name(0, 12);
    // From then on the topic and the feed grow no more.
    append_all(&log, 1_000, topic, "x", |_| None).await;
    let before = used(&server);
    let uuid = |n: u32| MessageId::new(format!("{n:036}")).ok();
    append_all(&log, COUNT, topic, "x", uuid).await;
    let each = (used(&server) - before) / f64::from(COUNT);
    println!("a message id: {each} bytes");
    let said = figure(BUILDER, "for this time, which takes about ", " bytes");
    assert_about(each, said);
    let second = figure(BUILDER, "So ", " messages a second take");
    let all = figure(BUILDER, "messages a second take ", " MB");
    let two_minutes = said * second * 120.0 / 1e6;
    assert!((all - two_minutes).abs() < 0.5, "{all} MB, and not {two_minutes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_takes_at_most_what_the_documentation_says() {
    let server = Server::start().await;
    let log = connect(&server, RedisLog::builder()).await;
    // The longest events that are in the feed itself, and the longest names of topics.
    let text = "x".repeat(512 - "data: \n\n".len());
    append_all(&log, 11_000, |n| name(n % 100, 256), &text, |_| None).await;
    let usage = server.cli(&["MEMORY", "USAGE", "{tower-sse}:feed", "SAMPLES", "0"]);
    let usage: f64 = usage.trim().parse().unwrap();
    println!("the feed: {usage} bytes of {} events", server.cli(&["XLEN", "{tower-sse}:feed"]));
    let said = 1024.0 * 1024.0 * figure(BUILDER, "which take at most ", " MiB in Redis");
    assert!(usage <= said && usage > said / 2.0, "{usage}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_takes_what_the_documentation_says() {
    const COUNT: u32 = 10_000;
    let said = |before, after| 1000.0 * figure("src/event_log/redis/mod.rs", before, after);
    for (node, said) in [
        ("4096", said("A topic with one short event takes ", " KB of Redis")),
        ("256", said("With `stream-node-max-bytes 256` it takes ", " KB")),
        ("1024", said("`1024` makes it ", " KB")),
    ] {
        let server = Server::start().await;
        server.cli(&["CONFIG", "SET", "stream-node-max-bytes", node]);
        let log = connect(&server, RedisLog::builder().feed_events(10)).await;
        append_all(&log, 1_000, |_| name(0, 36), "x", |_| None).await;
        let before = used(&server);
        append_all(&log, COUNT, |n| name(n + 1, 36), "x", |_| None).await;
        let each = (used(&server) - before) / f64::from(COUNT);
        println!("a topic, {node}: {each} bytes");
        assert_about(each, said);
    }
}
