//! Patterns over Redis follow what is appended, and come back as far as the feed reaches.

use std::future::ready;

use tower_sse::event_log::{GapReason, RedisLog};

use crate::harness::patterns;
use crate::harness::redis::{Server, Way, append, append_all, connect, gap, log, said};

#[tokio::test]
async fn a_follower_of_patterns_gets_each_event_that_matches_once_and_in_order() {
    let server = Server::start().await;
    let nodes = [log(&server.url()).await, log(&server.url()).await];
    patterns::a_follower_of_patterns_gets_each_event_that_matches_once_and_in_order(nodes).await;
}

#[tokio::test]
async fn what_the_feed_does_not_reach_is_a_gap_for_a_follower_of_a_pattern() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let settings = || RedisLog::builder().feed_events(100);
    let log = connect(settings(), &way.url()).await;
    let other = connect(settings(), &server.url()).await;
    let node = ready(other.clone());
    let mut live =
        patterns::what_is_not_listed_is_a_gap_for_a_follower_of_a_pattern(&log, &other, node).await;
    // And who was away for as long is told.
    way.close().await;
    append_all(&other, "secret", 0..300).await;
    append(&other, "a.2", "fourth").await;
    way.open().await;
    assert_eq!(gap(&mut live).await.reason, GapReason::Expired);
    assert_eq!(said(&mut live).await, "fourth");
}
