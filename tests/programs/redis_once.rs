//! A message is in Redis once, although its publisher was not told and tried again.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tower_sse::event_log::{Appended, BrokerError, EventLog, RedisLog, Start};

use crate::harness::once::{is_done, message, once, publish_over_a_broken_way};
use crate::harness::redis::{
    LONG, Server, Way, all, append, connect, data, follow, log, nothing, topic,
};

/// The answer is lost, as if the connection broke between the two.
#[tokio::test]
async fn a_message_whose_answer_was_lost_is_there_once_when_it_is_tried_again() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let hasty = || RedisLog::builder().append_timeout(Duration::from_millis(500));
    let log = hasty().connect(&way.url()).await.unwrap();
    append(&log, "t", "0").await;
    way.lose_answers();
    let unknown = log.append_once(&topic("t"), data("1"), &message("m")).await.unwrap();
    let is_unknown = matches!(unknown, Err(BrokerError::TimedOut | BrokerError::Away(_)));
    assert!(is_unknown, "{unknown:?}");
    timeout(LONG, server.has("t", 2)).await.expect("it is appended");
    way.close().await;
    way.open().await;
    let again = is_done(&log, "t", "1", "m").await;
    assert!(again.is_repeat);
    // Another node is told the same.
    let other = hasty().connect(&server.url()).await.unwrap();
    assert_eq!(once(&other, "t", "other", "m").await, again);
    append(&log, "t", "2").await;
    assert_eq!(all(&mut follow(&log, &["t"], Start::Earliest), 3).await, ["0", "1", "2"]);
    assert_eq!(all(&mut follow(&log, &["t"], Start::After(again.id)), 1).await, ["2"]);
}

#[tokio::test]
async fn a_message_is_there_once_though_redis_was_killed_before_it_answered() {
    let mut server = Server::durable().await;
    let way = Way::to(&server).await;
    let hasty = RedisLog::builder().append_timeout(Duration::from_millis(500));
    let log = hasty.connect(&way.url()).await.unwrap();
    // After this Redis has the script, and needs no answer to get the next event.
    append(&log, "t", "0").await;
    way.lose_answers();
    log.append_once(&topic("t"), data("1"), &message("m")).await.unwrap().unwrap_err();
    timeout(LONG, server.has("t", 2)).await.expect("it is appended");
    server.kill();
    server.restart().await;
    // Of a publisher that was restarted, too.
    let log = connect(RedisLog::builder(), &server.url()).await;
    assert!(is_done(&log, "t", "1", "m").await.is_repeat);
    assert_eq!(server.cli(&["XLEN", "{tower-sse}:topic:t"]).trim(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_tried_until_they_are_taken_are_there_once_and_in_order() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let hasty = RedisLog::builder().append_timeout(Duration::from_millis(500));
    let publisher = hasty.connect(&way.url()).await.unwrap();
    let pause = Duration::from_millis(37);
    let count = publish_over_a_broken_way(publisher, &mut way, pause).await;
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    let settings = RedisLog::builder().window_events(1_000_000).window_bytes(1 << 30);
    let mut follower = follow(&connect(settings, &server.url()).await, &["t"], Start::Earliest);
    // Redis keeps the last thousand.
    let first: usize = all(&mut follower, 1).await[0].parse().unwrap();
    assert_eq!(all(&mut follower, count - first - 1).await, expected[first + 1..]);
    nothing(&mut follower).await;
}

#[tokio::test]
async fn redis_keeps_a_message_id_beside_its_log_and_for_the_window_only() {
    let server = Server::start().await;
    let short = RedisLog::builder().prefix("p").duplicate_window(Duration::from_millis(300));
    let short = connect(short, &server.url()).await;
    let first = once(&short, "t", "1", "m").await;
    let key = "{p}:message:t m";
    let window: u64 = server.cli(&["PTTL", key]).trim().parse().unwrap_or_default();
    assert!(window <= 300, "{window}");
    let long = log(&server.url()).await;
    once(&long, "t", "1", "m").await;
    let window: u64 = server.cli(&["PTTL", "{tower-sse}:message:t m"]).trim().parse().unwrap();
    assert!((60_000..=120_000).contains(&window), "two minutes by default: {window}");
    // What appends an event without a message leaves no such key.
    append(&short, "t", "2").await;
    let gone = async {
        while server.cli(&["KEYS", "{p}:message:*"]).contains(key) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, gone).await.expect("Redis drops it");
    let second = once(&short, "t", "3", "m").await;
    assert!(!second.is_repeat && second.id != first.id);
    assert_eq!(all(&mut follow(&short, &["t"], Start::Earliest), 3).await, ["1", "2", "3"]);
}

/// One request for it, as for each event.
#[tokio::test]
async fn a_message_costs_no_more_requests_than_an_event() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    once(&log, "t", "0", "m0").await;
    let calls = || -> u64 {
        let stats = server.cli(&["INFO", "stats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        line.unwrap().trim().parse().unwrap()
    };
    let began = Instant::now();
    let before = calls();
    for n in 1..=100 {
        assert!(!once(&log, "t", "x", &format!("m{n}")).await.is_repeat);
    }
    let messages = calls() - before;
    let before = calls();
    for _ in 1..=100 {
        append(&log, "t", "x").await;
    }
    let events = calls() - before;
    println!("{messages} commands for messages, {events} for events, {:?}", began.elapsed());
    // In the script there are two more: whether it is taken, and that it is.
    assert!(messages <= events + 2 * 100 + 10, "{messages}, {events}");
}

#[tokio::test]
async fn a_repeat_is_recognised_by_a_node_that_has_just_connected() {
    let server = Server::start().await;
    let first = once(&log(&server.url()).await, "t", "1", "m").await;
    for protocol in ["", "?protocol=resp3"] {
        let log = log(&format!("{}{protocol}", server.url())).await;
        assert_eq!(once(&log, "t", "1", "m").await, Appended::repeat(first.id.clone()));
    }
}
