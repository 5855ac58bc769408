//! A stream of one node is gone on with at another, by Redis: every event once, and then its end.

use std::time::Duration;

use tower_sse::event_log::RedisLog;

use crate::harness::redis;
use crate::harness::redis::{Server, Way};
use crate::harness::resume_nodes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_goes_on_at_the_other_node() {
    let server = Server::durable().await;
    let logs = [redis::log(&server.url()).await, redis::log(&server.url()).await];
    resume_nodes::a_client_goes_on_at_the_other_node(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_a_drained_node_goes_on_at_the_other() {
    let server = Server::durable().await;
    let logs = [redis::log(&server.url()).await, redis::log(&server.url()).await];
    resume_nodes::a_client_of_a_drained_node_goes_on_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_another_principal_counts_as_none() {
    let server = Server::durable().await;
    let logs = [redis::log(&server.url()).await, redis::log(&server.url()).await];
    resume_nodes::an_id_of_another_principal_counts_as_none(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_and_repeats_nothing() {
    let mut server = Server::durable().await;
    let logs = [redis::log(&server.url()).await, redis::log(&server.url()).await];
    resume_nodes::a_killed_broker_loses_and_repeats_nothing(logs, &mut server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_whose_answer_was_lost_is_there_once() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let quick = Duration::from_millis(300);
    let first = RedisLog::builder().append_timeout(quick).connect(&way.url()).await.unwrap();
    let logs = [first, redis::log(&server.url()).await];
    resume_nodes::an_event_whose_answer_was_lost_is_there_once(logs, &mut way).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_at_one_node_ends_what_runs_at_the_other() {
    let server = Server::durable().await;
    let logs = [redis::log(&server.url()).await, redis::log(&server.url()).await];
    resume_nodes::a_stop_at_one_node_ends_what_runs_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_joins_at_one_node_what_runs_at_the_other() {
    let server = Server::durable().await;
    let logs = [redis::log(&server.url()).await, redis::log(&server.url()).await];
    resume_nodes::a_client_joins_at_one_node_what_runs_at_the_other(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_node_that_died_are_told_so() {
    let server = Server::durable().await;
    let logs = [redis::log(&server.url()).await, redis::log(&server.url()).await];
    resume_nodes::readers_of_a_node_that_died_are_told_so(logs).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_ids_leave_nothing() {
    let server = Server::start().await;
    let log = redis::log(&server.url()).await;
    let keys = async || server.cli(&["KEYS", "*"]);
    resume_nodes::made_up_ids_leave_nothing(log, keys).await;
}
