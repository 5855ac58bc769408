//! A message is in PostgreSQL once, although its publisher was not told and tried again.

use std::time::Duration;

use tokio::time::sleep;
use tower_sse::event_log::{Appended, PostgresLog, Start};

use crate::harness::once::{once, publish_over_a_broken_way};
use crate::harness::postgres::{Server, Way, address, all, append, connect, follow, log, nothing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_tried_until_they_are_taken_are_there_once_and_in_order() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let hasty = PostgresLog::builder().append_timeout(Duration::from_millis(500)).events(100_000);
    let publisher = hasty.connect(&address(&way.url())).await.unwrap();
    let pause = Duration::from_millis(67);
    let count = publish_over_a_broken_way(publisher, &mut way, pause).await;
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    let mut follower = follow(&log(&server.address()).await, &["t"], Start::Earliest);
    assert_eq!(all(&mut follower, count).await, expected);
    nothing(&mut follower).await;
}

#[tokio::test]
async fn a_repeat_is_recognised_by_another_node_and_for_the_window_only() {
    let server = Server::start().await;
    let first = once(&log(&server.address()).await, "t", "1", "m").await;
    let long = log(&server.address()).await;
    assert_eq!(once(&long, "t", "1", "m").await, Appended::repeat(first.id.clone()));
    append(&long, "t", "2").await;
    // As after two minutes.
    server.sql("UPDATE tower_sse_messages SET until = 0");
    let short = PostgresLog::builder().duplicate_window(Duration::from_millis(1));
    let short = connect(short, &server.address()).await;
    let second = once(&short, "t", "3", "m").await;
    assert!(!second.is_repeat && second.id != first.id);
    assert_eq!(all(&mut follow(&short, &["t"], Start::Earliest), 3).await, ["1", "2", "3"]);
    sleep(Duration::from_millis(10)).await;
    server.sql("SELECT tower_sse_sweep(1000000000)");
    assert_eq!(server.sql("SELECT count(*) FROM tower_sse_messages"), "0");
}
