//! Two nodes with one log in PostgreSQL: clients on real sockets go on at the other, under the same
//! ids, and stay connected while PostgreSQL is away.

use tower_sse::event_log::PostgresLog;

use crate::harness::hub_nodes;
use crate::harness::postgres::{Server, Way, address, connect, log};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_drained_from_one_node_goes_on_at_the_other() {
    let server = Server::start().await;
    let keeps = || PostgresLog::builder().events(1_000_000);
    let log = async || connect(keeps(), &server.address()).await;
    let logs = [log().await, log().await];
    hub_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_stay_open_and_whole_while_the_broker_is_killed() {
    let mut server = Server::start().await;
    let keeps = || PostgresLog::builder().events(1_000_000);
    let log = async || connect(keeps(), &server.address()).await;
    let logs = [log().await, log().await];
    hub_nodes::streams_stay_open_and_whole_while_the_broker_is_killed(logs, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_ten_seconds_delays_and_loses_nothing() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let logs = [log(&address(&way.url())).await, log(&server.address()).await];
    hub_nodes::a_partition_of_ten_seconds_delays_and_loses_nothing(logs, &mut way).await;
}
