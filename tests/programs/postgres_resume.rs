//! A stream of one node is gone on with at another, by PostgreSQL: every event once, and then its
//! end.

use std::time::Duration;

use tower_sse::event_log::PostgresLog;

use crate::harness::postgres::{Server, Way, address, log};
use crate::harness::resume_nodes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_at_the_other_node() {
    let server = Server::start().await;
    let logs = [log(&server.address()).await, log(&server.address()).await];
    resume_nodes::a_client_goes_on_at_the_other_node(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_drained_node_goes_on_at_the_other() {
    let server = Server::start().await;
    let logs = [log(&server.address()).await, log(&server.address()).await];
    resume_nodes::a_client_of_a_drained_node_goes_on_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_another_principal_counts_as_none() {
    let server = Server::start().await;
    let logs = [log(&server.address()).await, log(&server.address()).await];
    resume_nodes::an_id_of_another_principal_counts_as_none(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_and_repeats_nothing() {
    let mut server = Server::start().await;
    let logs = [log(&server.address()).await, log(&server.address()).await];
    resume_nodes::a_killed_broker_loses_and_repeats_nothing(logs, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_answer_was_lost_is_there_once() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let quick = Duration::from_millis(300);
    let first = PostgresLog::builder().append_timeout(quick);
    let first = first.connect(&address(&way.url())).await.unwrap();
    let logs = [first, log(&server.address()).await];
    resume_nodes::an_event_whose_answer_was_lost_is_there_once(logs, &mut way).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_one_node_ends_what_runs_at_the_other() {
    let server = Server::start().await;
    let logs = [log(&server.address()).await, log(&server.address()).await];
    resume_nodes::a_stop_at_one_node_ends_what_runs_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_joins_at_one_node_what_runs_at_the_other() {
    let server = Server::start().await;
    let logs = [log(&server.address()).await, log(&server.address()).await];
    resume_nodes::a_client_joins_at_one_node_what_runs_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_node_that_died_are_told_so() {
    let server = Server::start().await;
    let logs = [log(&server.address()).await, log(&server.address()).await];
    resume_nodes::readers_of_a_node_that_died_are_told_so(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_ids_leave_nothing() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let held = async || {
        server.sql("SELECT (SELECT count(*) FROM tower_sse_events), (SELECT count(*) FROM tower_sse_topics)")
    };
    resume_nodes::made_up_ids_leave_nothing(log, held).await;
}
