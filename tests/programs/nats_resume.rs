//! A stream of one node is gone on with at another, by NATS: every event once, and then its end.

use std::time::Duration;

use crate::harness::nats;
use crate::harness::nats::{Nats, Way};
use crate::harness::resume_nodes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_at_the_other_node() {
    let server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    resume_nodes::a_client_goes_on_at_the_other_node(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_drained_node_goes_on_at_the_other() {
    let server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    resume_nodes::a_client_of_a_drained_node_goes_on_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_another_principal_counts_as_none() {
    let server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    resume_nodes::an_id_of_another_principal_counts_as_none(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_and_repeats_nothing() {
    let mut server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    resume_nodes::a_killed_broker_loses_and_repeats_nothing(logs, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_answer_was_lost_is_there_once() {
    let server = Nats::start().await;
    let mut way = Way::to(&server).await;
    let quick = Duration::from_millis(300);
    let first = nats::settings().append_timeout(quick).connect(&way.url()).await.unwrap();
    let logs = [first, server.log().await];
    resume_nodes::an_event_whose_answer_was_lost_is_there_once(logs, &mut way).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_one_node_ends_what_runs_at_the_other() {
    let server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    resume_nodes::a_stop_at_one_node_ends_what_runs_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_joins_at_one_node_what_runs_at_the_other() {
    let server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    resume_nodes::a_client_joins_at_one_node_what_runs_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_node_that_died_are_told_so() {
    let server = Nats::start().await;
    let logs = [server.log().await, server.log().await];
    resume_nodes::readers_of_a_node_that_died_are_told_so(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_ids_leave_nothing() {
    let server = Nats::start().await;
    let log = server.log().await;
    let held = async || {
        let info = server.stream().await.get_info().await.unwrap();
        (info.state.consumer_count, info.state.subjects_count, info.state.messages)
    };
    resume_nodes::made_up_ids_leave_nothing(log, held).await;
}
