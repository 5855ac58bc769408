//! Two nodes with one log in NATS: clients go on at the other, under the same ids, and stay connected
//! while NATS is away.

#![cfg(feature = "nats")]

#[path = "support/nats.rs"]
mod nats;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::get;
use nats::{Nats, append, publish, topic};
use support::net::{Client, Version, listen, read_until};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower_sse::log::NatsLog;
use tower_sse::wire::{Decoder, MessageEvent};
use tower_sse::{Hub, KeepAliveLayer, Shutdown, SseLayer};

struct Node {
    log: NatsLog,
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Node {
    async fn start(nats: &Nats) -> Self {
        let log = nats.log().await;
        let hub = Hub::new(log.clone());
        let shutdown = Shutdown::builder().window(Duration::from_millis(200)).build().unwrap();
        let keep_alive = KeepAliveLayer::every(Duration::from_millis(50));
        let events = async move |request: Parts| {
            hub.subscribe(topic("t")).resume(&request).into_response().into_response()
        };
        let app = Router::new()
            .route("/events", get(events))
            .layer(SseLayer::new().keep_alive(keep_alive).shutdown(shutdown.clone()));
        let (listener, address) = listen().await;
        let (guard, until) = (shutdown.clone(), shutdown.clone());
        let task = tokio::spawn(async move {
            let until = async move { until.triggered().await };
            let listener = guard.listen(listener);
            axum::serve(listener, app).with_graceful_shutdown(until).await.unwrap();
        });
        Self { log, address, shutdown, task }
    }

    /// What a client gets that saw this event last, until `enough` or the end of the stream.
    async fn read(&self, last: &str, enough: impl Fn(&str) -> bool) -> (String, Vec<MessageEvent>) {
        let mut client = Client::connect(self.address, Version::H1).await;
        let mut body = client.get(&format!("/events?last_event_id={last}")).await.into_body();
        let mut text = String::new();
        read_until(&mut body, &mut text, enough).await.unwrap();
        let events = Decoder::new().decode(text.as_bytes());
        (text, events)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_drained_from_one_node_goes_on_at_the_other() {
    let nats = Nats::start().await;
    let (a, b) = (Node::start(&nats).await, Node::start(&nats).await);
    let over = Arc::new(Notify::new());
    let publishing = publish(b.log.clone(), "t", Arc::clone(&over));
    let draining = tokio::spawn({
        let shutdown = a.shutdown.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            shutdown.drain().await
        }
    });
    // To the end, which the drain makes.
    let (text, mut events) = a.read("earliest", |_| false).await;
    assert!(text.contains("event: close\n"), "it is told: {text:.300}");
    draining.await.unwrap();
    a.task.await.unwrap();
    let close = events.pop().unwrap();
    assert_eq!(close.last_event_id, events.last().unwrap().last_event_id, "its place");

    over.notify_one();
    let count = publishing.await.unwrap();
    let last = format!("data: {}\n", count - 1);
    let (_, rest) = b.read(&close.last_event_id, |text| text.contains(&last)).await;
    let at_a = events.len();
    assert!(at_a > 0 && at_a < count, "{at_a} of {count}");
    events.extend(rest);
    let said: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
    assert_eq!(said, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());

    // The same ids on both: what the first gave the second gives, too.
    let (_, again) = b.read("earliest", |text| text.contains(&last)).await;
    assert_eq!(again, events);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_stay_connected_while_the_server_is_away() {
    let mut nats = Nats::start().await;
    let node = Node::start(&nats).await;
    append(&node.log, "t", "before").await;
    let mut client = Client::connect(node.address, Version::H1).await;
    let mut body = client.get("/events?last_event_id=earliest").await.into_body();
    let mut text = String::new();
    read_until(&mut body, &mut text, |text| text.contains("before")).await.unwrap();
    nats.kill();
    let comments = |text: &str| text.lines().filter(|line| line.starts_with(':')).count();
    let so_far = comments(&text);
    read_until(&mut body, &mut text, |text| comments(text) > so_far + 10).await.unwrap();
    nats.restart().await;
    append(&node.log, "t", "behind").await;
    read_until(&mut body, &mut text, |text| text.contains("behind\n")).await.unwrap();
    let events = Decoder::new().decode(text.as_bytes());
    let said: Vec<_> = events.iter().map(|event| &*event.data).collect();
    assert_eq!(said, ["before", "behind"]);
}
