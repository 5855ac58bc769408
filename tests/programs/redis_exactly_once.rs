//! A client that comes back gets what it missed from Redis, exactly once and in order, on whichever
//! node it lands.

use tower_sse::event_log::RedisLog;

use crate::harness::reconnects::{AHEAD, a_thousand_reconnects_lose_and_repeat_nothing};
use crate::harness::redis::{Server, connect, log};
use crate::harness::two_nodes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_to_two_nodes_lose_and_repeat_nothing() {
    reconnect(&["orders"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_over_several_topics_lose_and_repeat_nothing() {
    reconnect(&["a", "b", "c.1"]).await;
}

async fn reconnect(names: &[&'static str]) {
    let server = Server::start().await;
    // A small window, so that many of the reads go to Redis.
    let settings =
        || RedisLog::builder().events(3 * AHEAD as usize).window_events(64).window_bytes(1 << 20);
    let node = async || connect(settings(), &server.url()).await;
    let nodes = [node().await, node().await, node().await];
    a_thousand_reconnects_lose_and_repeat_nothing(nodes, names).await;
}

#[tokio::test]
async fn an_event_has_one_id_on_all_nodes() {
    let server = Server::start().await;
    let nodes = [log(&server.url()).await, log(&server.url()).await];
    two_nodes::an_event_has_one_id_on_all_nodes(nodes).await;
}

#[tokio::test]
async fn a_follower_gets_each_event_from_then_on_wherever_it_is_appended() {
    let server = Server::start().await;
    let nodes = [log(&server.url()).await, log(&server.url()).await];
    two_nodes::a_follower_gets_each_event_from_then_on_wherever_it_is_appended(nodes).await;
}

#[tokio::test]
async fn pages_that_follow_their_state_miss_nothing() {
    let server = Server::start().await;
    let nodes = [log(&server.url()).await, log(&server.url()).await];
    two_nodes::pages_that_follow_their_state_miss_nothing(nodes).await;
}
