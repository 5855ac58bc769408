//! What holds of two nodes that share a log, for clients on real sockets, whatever broker that is
//! in.

#![allow(unreachable_pub, reason = "every test that uses this is a crate of its own")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_sse::event_log::{EventLog, Start};
use tower_sse::wire::{Decoder, MessageEvent};
use tower_sse::{Hub, KeepAliveLayer, Shutdown, SseLayer};

use crate::harness::broker::{Broker, LONG, Way, append, data, publish, topic};
use crate::harness::net::{Client, Version, listen};

struct Node {
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl Node {
    async fn start<L: EventLog>(log: &L) -> Self {
        let hub = Hub::new(log.clone());
        let shutdown = Shutdown::builder().window(Duration::from_millis(200)).build().unwrap();
        let keep_alive = KeepAliveLayer::every(KEEP_ALIVE);
        let events = async move |start: Start| hub.subscribe(topic("t")).start(start);
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
        Self { address, shutdown, task }
    }

    async fn open(&self, last: &str) -> Stream {
        let mut client = Client::connect(self.address, Version::H1).await;
        let body = client.get(&format!("/events?last_event_id={last}")).await.into_body();
        Stream { _client: client, body, text: String::new() }
    }
}

/// What a client is sent.
struct Stream {
    _client: Client,
    body: Incoming,
    text: String,
}

impl Stream {
    /// Until `enough` says so of what came with the last chunk and some before it, or to the end.
    async fn until(&mut self, mut enough: impl FnMut(&str) -> bool) {
        let read = async {
            while let Some(frame) = self.body.frame().await {
                let from = self.text.len().saturating_sub("data: 1234567\n".len());
                let chunk = frame.unwrap().into_data().unwrap();
                self.text.push_str(std::str::from_utf8(&chunk).unwrap());
                if enough(&self.text[from..]) {
                    break;
                }
            }
        };
        // It is kept alive for ever.
        let is_over = timeout(LONG, read).await.is_err();
        assert!(!is_over, "it comes after {:?}", self.events().last());
    }

    async fn until_data(&mut self, data: &str) {
        let line = format!("data: {data}\n");
        if !self.text.contains(&line) {
            self.until(|text| text.contains(&line)).await;
        }
    }

    /// Until so many keepalives have come.
    async fn keeps_alive(&mut self, mut count: usize) {
        self.until(|text| {
            count -= usize::from(text.ends_with(":\n"));
            count == 0
        })
        .await;
    }

    fn events(&self) -> Vec<MessageEvent> {
        Decoder::new().decode(self.text.as_bytes())
    }

    fn said(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.data).collect()
    }

    fn comments(&self) -> usize {
        self.text.lines().filter(|line| line.starts_with(':')).count()
    }
}

/// Publishes numbers until it is told to end, however the broker is; gives those that it was told
/// are in the log.
fn publish_anyhow<L: EventLog>(
    log: L,
    counted: watch::Sender<usize>,
    over: Arc<AtomicBool>,
) -> JoinHandle<Vec<usize>> {
    tokio::spawn(async move {
        let (mut kept, mut n) = (Vec::new(), 0);
        while !over.load(Ordering::Relaxed) {
            match log.append(&topic("t"), data(n.to_string())).await {
                Ok(_) => {
                    kept.push(n);
                    counted.send_replace(kept.len());
                }
                // It may be there or not; the next number is another event.
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
            n += 1;
        }
        while log.append(&topic("t"), data("end")).await.is_err() {}
        kept
    })
}

pub async fn a_client_that_is_drained_from_one_node_goes_on_at_the_other<L: EventLog>(
    logs: [L; 2],
) {
    let [a, b] = [Node::start(&logs[0]).await, Node::start(&logs[1]).await];
    let over = Arc::new(Notify::new());
    let publishing = publish(logs[1].clone(), "t", Arc::clone(&over));
    let mut at_a = a.open("earliest").await;
    at_a.until_data("9").await;
    let draining = tokio::spawn({
        let shutdown = a.shutdown.clone();
        async move { shutdown.drain().await }
    });
    // To the end, which the drain makes.
    at_a.until(|_| false).await;
    assert!(at_a.text.contains("event: close\n"), "it is told: {:.300}", at_a.text);
    draining.await.unwrap();
    a.task.await.unwrap();
    let mut events = at_a.events();
    let close = events.pop().unwrap();
    assert_eq!(close.last_event_id, events.last().unwrap().last_event_id, "its place");

    over.notify_one();
    let count = publishing.await.unwrap() + 1;
    // Of those before, the first client may have had all.
    append(&logs[1], "t", &(count - 1).to_string()).await;
    let mut at_b = b.open(&close.last_event_id).await;
    at_b.until_data(&(count - 1).to_string()).await;
    let seen = events.len();
    assert!(seen > 0 && seen < count, "{seen} of {count}");
    events.extend(at_b.events());
    let said: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
    assert_eq!(said, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());

    // The same ids on both: what the first gave the second gives, too.
    let mut again = b.open("earliest").await;
    again.until_data(&(count - 1).to_string()).await;
    assert_eq!(again.events(), events);
}

pub async fn streams_stay_open_and_whole_while_the_broker_is_killed<L: EventLog>(
    logs: [L; 2],
    broker: &mut Broker,
) {
    let nodes = [Node::start(&logs[0]).await, Node::start(&logs[1]).await];
    let mut streams = [nodes[0].open("earliest").await, nodes[1].open("earliest").await];
    let over = Arc::new(AtomicBool::new(false));
    let (counted, mut count) = watch::channel(0);
    let publishing = publish_anyhow(logs[0].clone(), counted, Arc::clone(&over));
    for kills in 1..=3 {
        timeout(LONG, count.wait_for(|kept| *kept >= 100 * kills)).await.unwrap().unwrap();
        broker.kill();
        for stream in &mut streams {
            stream.keeps_alive(10).await;
        }
        broker.restart().await;
    }
    timeout(LONG, count.wait_for(|kept| *kept >= 400)).await.unwrap().unwrap();
    over.store(true, Ordering::Relaxed);
    let kept = publishing.await.unwrap();
    for stream in &mut streams {
        stream.until_data("end").await;
        let said = stream.said();
        let numbers = said[..said.len() - 1].iter().map(|it| it.parse().expect("no gap"));
        let numbers: Vec<usize> = numbers.collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and none twice");
        let lost = kept.iter().find(|n| numbers.binary_search(n).is_err());
        assert_eq!(lost, None, "it was acknowledged");
    }
    println!("{} acknowledged", kept.len());
}

/// The first of the logs goes the way, whose port refuses for the 10 seconds.
pub async fn a_partition_of_ten_seconds_delays_and_loses_nothing<L: EventLog>(
    logs: [L; 2],
    way: &mut Way,
) {
    let [cut_off, other] = [Node::start(&logs[0]).await, Node::start(&logs[1]).await];
    append(&logs[1], "t", "0").await;
    let mut live = cut_off.open("earliest").await;
    live.until_data("0").await;
    let place = live.events()[0].last_event_id.clone();
    let mut elsewhere = other.open("earliest").await;

    way.close().await;
    let closed = Instant::now();
    let publishing = tokio::spawn({
        let log = logs[1].clone();
        async move {
            for n in 1..=500 {
                append(&log, "t", &n.to_string()).await;
                sleep(Duration::from_millis(20)).await;
            }
        }
    });
    // One who comes meanwhile, and one who publishes there.
    let mut late = cut_off.open(&place).await;
    let refused = timeout(LONG, logs[0].append(&topic("u"), data("x"))).await;
    assert!(refused.expect("in time").is_err());
    let before = live.comments();
    for stream in [&mut live, &mut late] {
        while closed.elapsed() < TEN_SECONDS {
            stream.keeps_alive(1).await;
        }
        assert_eq!(stream.events().len(), usize::from(stream.text.contains("data: 0\n")));
    }
    let least = TEN_SECONDS.as_millis() / KEEP_ALIVE.as_millis() / 10;
    assert!(live.comments() - before > usize::try_from(least).unwrap(), "{}", live.comments());
    elsewhere.until_data("400").await;

    way.open().await;
    let opened = Instant::now();
    publishing.await.unwrap();
    append(&logs[1], "t", "end").await;
    let expected: Vec<String> = (0..=500).map(|n| n.to_string()).chain(["end".into()]).collect();
    for (stream, from) in [(&mut live, 0), (&mut late, 1), (&mut elsewhere, 0)] {
        stream.until_data("end").await;
        assert_eq!(stream.said(), expected[from..]);
    }
    println!("all came {:?} after the port was open", opened.elapsed());
}

const KEEP_ALIVE: Duration = Duration::from_millis(50);
const TEN_SECONDS: Duration = Duration::from_secs(10);
