//! What PostgreSQL does not have any more is said, whatever the cause, and what it has is no gap.

use std::time::Duration;

use tower_sse::EventId;
use tower_sse::event_log::{EventLog, GapReason, PostgresLog, Start, contract};

use crate::harness::postgres::{
    LONG, Server, after, all, append, append_all, connect, follow, gap, log, nothing, said, topic,
    topics,
};

fn sequence(id: &EventId) -> u64 {
    id.as_str().split_once('-').unwrap().1.parse().unwrap()
}

fn shifted(id: &EventId, by: u64) -> EventId {
    let (epoch, _) = id.as_str().split_once('-').unwrap();
    EventId::new(format!("{epoch}-{}", sequence(id) + by)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_postgres_keeps_the_contract() {
    let server = Server::start().await;
    contract::check(&log(&server.address()).await, "wide").await;
    let narrow = PostgresLog::builder().window(2, 1 << 20);
    contract::check(&connect(narrow, &server.address()).await, "narrow").await;
    contract::check_idempotent(&log(&server.address()).await, "idempotent").await;
    for (name, window) in [("few", 100), ("fewer", 2)] {
        let few = PostgresLog::builder().name(name).events(16).window(window, 1 << 20);
        contract::check_gaps(&connect(few, &server.address()).await, "t", 16).await;
    }
}

#[tokio::test]
async fn every_cause_is_told_and_then_comes_what_there_is() {
    let server = Server::start().await;
    let settings = || PostgresLog::builder().events(100);
    let log = connect(settings(), &server.address()).await;
    let other = connect(PostgresLog::builder().name("other"), &server.address()).await;
    let first = append(&log, "t", "0").await;
    append_all(&log, "t", 1..399).await;
    let last = append(&log, "t", "399").await;
    let secret = append(&log, "secret", "x").await;
    let foreign = append(&other, "t", "x").await;
    // Of two nodes, one of which has it in its window.
    let second = connect(settings().window(7, 1 << 20), &server.address()).await;
    let id = |text: &str| EventId::new(text).unwrap();
    for log in [&log, &second] {
        for (start, requested, reason) in [
            // Trimmed.
            (after(&first), true, GapReason::Expired),
            // Of another log.
            (after(&foreign), true, GapReason::Restarted),
            // Malformed.
            (Start::After(id("7")), true, GapReason::Unknown),
            // Newer than the head.
            (Start::After(shifted(&secret, 1_000_000)), true, GapReason::Unknown),
            // Not even an id.
            (Start::Unknown, false, GapReason::Unknown),
        ] {
            let mut follower = follow(log, &["t"], start.clone());
            let gap = gap(&mut follower).await;
            assert_eq!(gap.reason, reason, "{start:?}");
            assert_eq!(gap.requested.map(Start::After), requested.then_some(start));
            assert_eq!(gap.latest.as_ref(), Some(&last));
            let begin: usize = said(&mut follower).await.parse().unwrap();
            assert!((280..=300).contains(&begin), "{begin}");
            assert!(sequence(&gap.position) < sequence(gap.earliest.as_ref().unwrap()));
            let rest = all(&mut follower, 399 - begin).await;
            let expected: Vec<String> = (begin + 1..400).map(|n| n.to_string()).collect();
            assert_eq!(rest, expected);
            // To come back with the position of the gap is no gap.
            let mut again = follow(log, &["t"], Start::After(gap.position));
            assert_eq!(said(&mut again).await, begin.to_string());
            // What is there is no gap.
            let mut earliest = follow(log, &["t"], Start::Earliest);
            assert_eq!(said(&mut earliest).await, begin.to_string());
        }
    }
}

#[tokio::test]
async fn a_gap_without_events_gives_a_place_to_come_back_to() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let secret = append(&log, "secret", "x").await;
    let mut follower = follow(&log, &["t", "u"], Start::Unknown);
    let gap = gap(&mut follower).await;
    assert_eq!((&gap.earliest, &gap.latest), (&None, &None));
    assert_ne!(gap.position, secret, "nothing is said of other topics");
    append(&log, "u", "1").await;
    append(&log, "t", "2").await;
    for follower in [&mut follower, &mut follow(&log, &["t", "u"], Start::After(gap.position))] {
        assert_eq!(all(follower, 2).await, ["1", "2"]);
    }
}

/// Sweeps, as a node does every few seconds.
fn sweep(server: &Server, idle: Duration) {
    while server.sql(&format!("SELECT tower_sse_sweep({})", idle.as_micros())) == "t" {}
}

#[tokio::test]
async fn a_topic_that_expired_hides_no_loss_and_makes_none_up() {
    let idle = Duration::from_millis(300);
    let server = Server::start().await;
    let settings = || PostgresLog::builder().idle(idle);
    let log = connect(settings(), &server.address()).await;
    let first = append(&log, "t", "1").await;
    append(&log, "t", "2").await;
    let mut open = follow(&log, &["t"], after(&first));
    assert_eq!(said(&mut open).await, "2");
    tokio::time::sleep(idle).await;
    sweep(&server, idle);
    assert_eq!(server.sql("SELECT count(*) FROM tower_sse_events"), "0");
    assert_eq!(server.sql("SELECT count(*) FROM tower_sse_topics"), "0");
    let place = log.latest(&topics(&["t"])).await.unwrap();
    // Who was there all the time missed nothing, nor did who has a place from afterwards.
    append(&log, "t", "3").await;
    assert_eq!(said(&mut open).await, "3");
    let second = connect(settings(), &server.address()).await;
    assert_eq!(said(&mut follow(&second, &["t"], Start::After(place))).await, "3");
    assert_eq!(all(&mut follow(&second, &["t"], after(&first)), 2).await, ["gap", "3"]);
}

#[tokio::test]
async fn a_topic_that_is_forgotten_leaves_no_event_and_hides_no_loss() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let first = append(&log, "over", "1").await;
    append(&log, "over", "2").await;
    append(&log, "goes.on", "1").await;
    for name in ["over", "goes.on", "never.was"] {
        log.forget(&topic(name), Duration::from_millis(1)).await.unwrap();
    }
    // This one is kept.
    append(&log, "goes.on", "2").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let day = Duration::from_secs(24 * 60 * 60);
    sweep(&server, day);
    let left = server.sql("SELECT topic, count(*) FROM tower_sse_events GROUP BY topic");
    assert_eq!(left, "goes.on|2");
    // It may begin anew.
    append(&log, "over", "3").await;
    let second = connect(PostgresLog::builder(), &server.address()).await;
    for log in [&log, &second] {
        assert_eq!(all(&mut follow(log, &["over"], after(&first)), 2).await, ["gap", "3"]);
    }
}

#[tokio::test]
async fn what_is_due_is_deleted_by_a_node() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    append(&log, "over", "1").await;
    log.forget(&topic("over"), Duration::from_millis(1)).await.unwrap();
    let is_deleted = async {
        while server.sql("SELECT count(*) FROM tower_sse_events") != "0" {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LONG, is_deleted).await.expect("it is deleted");
}

#[tokio::test]
async fn a_log_that_was_dropped_is_another_log() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let before = append(&log, "t", "1").await;
    let mut follower = follow(&log, &["t"], after(&before));
    append(&log, "t", "2").await;
    assert_eq!(said(&mut follower).await, "2");
    server.sql("DROP TABLE tower_sse_log, tower_sse_events, tower_sse_topics");
    let next = append(&log, "t", "3").await;
    assert_ne!(before.as_str().split('-').next(), next.as_str().split('-').next());
    for follower in [&mut follower, &mut follow(&log, &["t"], after(&before))] {
        assert_eq!(gap(follower).await.reason, GapReason::Restarted);
        assert_eq!(said(follower).await, "3");
    }
    nothing(&mut follow(&log, &["t"], after(&next))).await;
}
