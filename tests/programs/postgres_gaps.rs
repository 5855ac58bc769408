//! What PostgreSQL does not have any more is whatever the cause, and what it has is no gap.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_sse::event_log::{EventLog, PostgresLog, contract};

use crate::harness::gaps;
use crate::harness::postgres::{LONG, Server, after, all, append, connect, follow, log, topic};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_postgres_keeps_the_contract() {
    let server = Server::start().await;
    contract::check(&log(&server.address()).await, "wide").await;
    let narrow = PostgresLog::builder().window_events(2).window_bytes(1 << 20);
    contract::check(&connect(narrow, &server.address()).await, "narrow").await;
    contract::check_idempotent(&log(&server.address()).await, "idempotent").await;
    for (name, window) in [("few", 100), ("fewer", 2)] {
        let few = PostgresLog::builder()
            .name(name)
            .events(16)
            .window_events(window)
            .window_bytes(1 << 20);
        contract::check_gaps(&connect(few, &server.address()).await, "t", 16).await;
    }
}

#[tokio::test]
async fn every_cause_is_told_and_then_comes_what_there_is() {
    let server = Server::start().await;
    let settings = || PostgresLog::builder().events(100);
    let log = connect(settings(), &server.address()).await;
    let address = server.address();
    let second = connect(settings().window_events(7).window_bytes(1 << 20), &address);
    let other = connect(PostgresLog::builder().name("other"), &address).await;
    let begins = 280..=300;
    gaps::every_cause_is_told_and_then_comes_what_there_is(&log, second, &other, begins).await;
}

#[tokio::test]
async fn a_gap_without_events_gives_a_place_to_come_back_to() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    gaps::a_gap_without_events_gives_a_place_to_come_back_to(&log).await;
}

/// Sweeps, as a node does every few seconds.
fn sweep(server: &Server, idle: Duration) {
    while server.sql(&format!("SELECT tower_sse_sweep({})", idle.as_micros())) == "t" {}
}

#[tokio::test]
async fn a_topic_that_expired_hides_no_loss_and_makes_none_up() {
    let idle = Duration::from_millis(300);
    let server = Server::start().await;
    let address = server.address();
    let node = || connect(PostgresLog::builder().idle(idle), &address);
    let log = node().await;
    let expire = async {
        sleep(idle).await;
        sweep(&server, idle);
        assert_eq!(server.sql("SELECT count(*) FROM tower_sse_events"), "0");
        assert_eq!(server.sql("SELECT count(*) FROM tower_sse_topics"), "0");
    };
    gaps::a_topic_that_expired_hides_no_loss_and_makes_none_up(&log, node(), expire).await;
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
    sleep(Duration::from_millis(10)).await;
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
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, is_deleted).await.expect("it is deleted");
}

#[tokio::test]
async fn a_log_that_was_dropped_is_another_log() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let lose_all =
        || drop(server.sql("DROP TABLE tower_sse_log, tower_sse_events, tower_sse_topics"));
    gaps::a_log_that_lost_all_is_another_log(&log, lose_all).await;
}
