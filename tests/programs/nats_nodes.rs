//! Two nodes with one log in NATS: clients on real sockets go on at the other, under the same ids,
//! and stay connected while NATS is away.

use crate::harness::hub_nodes;
use crate::harness::nats;
use crate::harness::nats::{Nats, Way};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_drained_from_one_node_goes_on_at_the_other() {
    let server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    hub_nodes::a_client_that_is_drained_from_one_node_goes_on_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_stay_open_and_whole_while_the_broker_is_killed() {
    let mut server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    hub_nodes::streams_stay_open_and_whole_while_the_broker_is_killed(logs, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_ten_seconds_delays_and_loses_nothing() {
    let server = Nats::start().await;
    let mut way = Way::to(&server).await;
    let first = nats::settings().connect(&way.url()).await.unwrap();
    let logs = [first, server.log().await];
    hub_nodes::a_partition_of_ten_seconds_delays_and_loses_nothing(logs, &mut way).await;
}
