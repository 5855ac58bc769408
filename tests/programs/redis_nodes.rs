//! Two nodes with one log in Redis: clients on real sockets go on at the other, under the same ids,
//! and stay connected while Redis is away.

use tower_sse::event_log::RedisLog;

use crate::harness::hub_nodes;
use crate::harness::redis;
use crate::harness::redis::{Server, Way};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_drained_from_one_node_goes_on_at_the_other() {
    let server = Server::durable().await;
    let keeps = || RedisLog::builder().events(1_000_000);
    let log = async || redis::connect(keeps(), &server.url()).await;
    let logs = [log().await, log().await];
    hub_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_stay_open_and_whole_while_the_broker_is_killed() {
    let mut server = Server::durable().await;
    let keeps = || RedisLog::builder().events(1_000_000);
    let log = async || redis::connect(keeps(), &server.url()).await;
    let logs = [log().await, log().await];
    hub_nodes::streams_stay_open_and_whole_while_the_broker_is_killed(logs, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_ten_seconds_delays_and_loses_nothing() {
    let server = Server::durable().await;
    let mut way = Way::to(&server).await;
    let logs = [redis::log(&way.url()).await, redis::log(&server.url()).await];
    hub_nodes::a_partition_of_ten_seconds_delays_and_loses_nothing(logs, &mut way).await;
}
