//! What holds of resumable streams at two nodes that share a log, whatever broker that is in.

#![allow(unreachable_pub, reason = "every test that uses this is a crate of its own")]

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_stream::wrappers::IntervalStream;
use tower_sse::event_log::EventLog;
use tower_sse::resume::{Join, ResumeHandle, ResumeKey};
use tower_sse::{KeepAliveLayer, Shutdown, SseLayer};

use crate::harness::LONG;
use crate::harness::broker::{Broker, Way};
use crate::harness::net::listen;
use crate::harness::resume::{events, layer, post as ask, unchunked};

/// A server that answers `/answer` with so many events, and a `close` event.
struct Node<L: EventLog> {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    shutdown: Shutdown,
    streams: ResumeHandle<L>,
}

impl<L: EventLog> Node<L> {
    /// `wait` is for streams of the other node: longer than any broker is away.
    async fn start(log: L, count: usize, each: Duration, wait: Duration) -> Self {
        let calls = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&calls);
        let handler = async move |_: String| {
            counted.fetch_add(1, Ordering::SeqCst);
            let ticks = IntervalStream::new(interval(each)).take(count).enumerate();
            let events = ticks.map(|(n, _)| {
                let event = format!("event: tick\ndata: {n}\n{}\n", "data: \u{e9}\n".repeat(n % 5));
                Ok::<_, std::convert::Infallible>(Bytes::from(event))
            });
            ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
        };
        let resume = layer().log(log).other_nodes(wait).lease(LEASE).join(Join::FromBeginning);
        let resume = resume.linger(Duration::from_secs(60)).close_event(Duration::from_secs(20));
        let (streams, stop) = (resume.handle(), resume.stop_service());
        let shutdown = Shutdown::builder().window(Duration::from_millis(50)).build().unwrap();
        let keep_alive = KeepAliveLayer::every(Duration::from_millis(50));
        let outer = SseLayer::new().keep_alive(keep_alive).shutdown(shutdown.clone());
        let none = async || StatusCode::NO_CONTENT;
        let answer = post(handler).get(none).delete_service(stop);
        let app = Router::new().route("/answer", answer).layer(resume).layer(outer);
        let (listener, address) = listen().await;
        let listener = shutdown.listen(listener);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, calls, shutdown, streams }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

/// One that is cut off, and comes back where it was.
#[derive(Default)]
struct Client {
    last: String,
    /// The first line of each event, and its id.
    seen: Vec<String>,
    ids: Vec<String>,
}

impl Client {
    /// Reads so many bytes, or to the end, and gives the status.
    async fn read<L: EventLog>(&mut self, node: &Node<L>, user: &str, enough: usize) -> u16 {
        let got = ask(node.address, "/answer", user, &self.last, enough).await;
        for (data, id) in events(&got.text) {
            if data != SHUTDOWN {
                self.seen.push(data.split('\n').next().unwrap().to_owned());
                self.ids.push(id.clone());
            }
            self.last = id;
        }
        got.status
    }

    /// Reads to the end of the stream, now here and now there, cut off at random places.
    async fn read_all<L: EventLog>(&mut self, nodes: [&Node<L>; 2], longest: usize) -> usize {
        let (mut random, mut connections) = (7_u64, 0);
        while self.seen.last().is_none_or(|last| last != FINISHED) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let enough = 300 + usize::try_from(random >> 33).unwrap() % longest;
            let node = nodes[usize::try_from(random >> 62).unwrap() % 2];
            assert_eq!(self.read(node, "ann", enough).await, 200);
            connections += 1;
        }
        connections
    }
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).chain([FINISHED.to_owned()]).collect()
}

/// It begins at one node, which is drained, and is read to its end at both of them.
pub async fn a_client_goes_on_at_the_other_node<L: EventLog>(logs: [L; 2]) {
    let each = Duration::from_millis(10);
    let [a, b] = logs.map(|log| Node::start(log, 150, each, LONG));
    let (a, b) = (a.await, b.await);
    let mut client = Client::default();
    // In the middle of an event.
    assert_eq!(client.read(&a, "ann", 700).await, 200);
    assert!(!client.seen.is_empty() && client.seen.len() < 50, "{:?}", client.seen);
    let before = client.seen.len();
    let connections = client.read_all([&a, &b], 700).await;
    assert_eq!(client.seen, numbers(150));
    assert!(before > 0 && connections > 10, "{connections}");

    for node in [&b, &a] {
        assert_eq!(client.read(node, "ann", usize::MAX).await, 204);
    }
    assert_eq!((a.calls(), b.calls()), (1, 0));
}

pub async fn a_client_of_a_drained_node_goes_on_at_the_other<L: EventLog>(logs: [L; 2]) {
    let [a, b] = logs.map(|log| Node::start(log, 100, Duration::from_millis(10), LONG));
    let (a, b) = (a.await, b.await);
    let mut client = Client::default();
    let drain = async {
        while a.calls() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(300)).await;
        a.shutdown.drain().await
    };
    let (status, _) = tokio::join!(client.read(&a, "ann", usize::MAX), drain);
    let (at_a, last) = (client.seen.len(), client.last.clone());
    assert!(status == 200 && at_a > 0 && at_a < 100, "{at_a}");
    assert_eq!(client.read(&b, "ann", usize::MAX).await, 200);
    assert_eq!(client.seen, numbers(100));
    assert_eq!(client.read(&b, "ann", usize::MAX).await, 204);
    // Who has not seen the end is sent it, though it is over.
    let mut late = Client { last, seen: numbers(at_a)[..at_a].into(), ..Client::default() };
    assert_eq!(late.read(&b, "ann", usize::MAX).await, 200);
    assert_eq!(late.seen, client.seen);
    assert_eq!((a.calls(), b.calls()), (1, 0));
}

pub async fn an_id_of_another_principal_counts_as_none<L: EventLog>(logs: [L; 2]) {
    let [a, b] =
        logs.map(|log| Node::start(log, 5, Duration::from_millis(10), Duration::from_millis(500)));
    let (a, b) = (a.await, b.await);
    let mut ann = Client::default();
    ann.read(&a, "ann", 450).await;
    let stolen = ann.last.clone();
    ann.read(&b, "ann", usize::MAX).await;
    for (calls, id) in [(1, stolen), (2, ann.last.clone())] {
        let mut thief = Client { last: id, ..Client::default() };
        assert_eq!(thief.read(&b, "thief", usize::MAX).await, 200);
        assert_eq!(thief.seen, numbers(5), "a stream of its own");
        assert_ne!(thief.last[..23], ann.last[..23]);
        assert_eq!((a.calls(), b.calls()), (1, calls));
    }
}

/// The broker is killed and started again, twice, under a stream and a client that changes nodes.
pub async fn a_killed_broker_loses_and_repeats_nothing<L: EventLog>(
    logs: [L; 2],
    broker: &mut Broker,
) {
    const EVENTS: usize = 800;
    let [a, b] = logs.map(|log| Node::start(log, EVENTS, Duration::from_millis(4), LONG));
    let (a, b) = (a.await, b.await);
    let (mut client, mut steady) = (Client::default(), Client::default());
    assert_eq!(client.read(&a, "ann", 700).await, 200);
    // The same stream, by one who stays.
    steady.last.clone_from(&client.last);
    steady.seen.clone_from(&client.seen);
    let kills = async {
        for _ in 0..2 {
            sleep(Duration::from_millis(700)).await;
            broker.kill();
            sleep(Duration::from_millis(500)).await;
            broker.restart().await;
        }
    };
    let staying = steady.read(&b, "ann", usize::MAX);
    let (connections, status, ()) = tokio::join!(client.read_all([&a, &b], 2_000), staying, kills);
    assert_eq!((&client.seen, &steady.seen), (&numbers(EVENTS), &numbers(EVENTS)));
    assert!(status == 200 && connections > 10, "{connections}");
    for node in [&a, &b] {
        assert_eq!(client.read(node, "ann", usize::MAX).await, 204);
    }
    assert_eq!((a.calls(), b.calls()), (1, 0));
}

/// The broker has what the first node sends it, and its answers are lost.
pub async fn an_event_whose_answer_was_lost_is_there_once<L: EventLog>(
    logs: [L; 2],
    way: &mut Way,
) {
    const EVENTS: usize = 320;
    let [a, b] = logs.map(|log| Node::start(log, EVENTS, Duration::from_millis(10), LONG));
    let (a, b) = (a.await, b.await);
    let mut client = Client::default();
    assert_eq!(client.read(&a, "ann", 700).await, 200);
    let losses = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(100)).await;
            way.lose_answers();
            sleep(Duration::from_millis(100)).await;
            way.close().await;
            sleep(Duration::from_millis(500)).await;
            way.open().await;
            sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::join!(client.read(&b, "ann", usize::MAX), losses);
    assert_eq!(client.seen, numbers(EVENTS));
    // An event that is there twice is sent to who comes back behind the first of them.
    for (at, id) in client.ids.iter().enumerate().take(EVENTS) {
        let mut back = Client { last: id.clone(), ..Client::default() };
        assert_eq!(back.read(&b, "ann", usize::MAX).await, 200, "behind {at}");
        assert_eq!(back.seen, numbers(EVENTS)[at + 1..], "behind {at}");
    }
    assert_eq!(client.read(&b, "ann", usize::MAX).await, 204);
    assert_eq!((a.calls(), b.calls()), (1, 0));
}

/// Several clients read at both nodes; one of them stops the stream, at the node that does not run
/// it.
pub async fn a_stop_at_one_node_ends_what_runs_at_the_other<L: EventLog>(logs: [L; 2]) {
    let [a, b] = logs.map(|log| Node::start(log, 100_000, Duration::from_millis(10), LONG));
    let (a, b) = (a.await, b.await);
    let mut here = Client::default();
    assert_eq!(here.read(&a, "ann", 700).await, 200);
    let (last, seen) = (here.last.clone(), here.seen.clone());
    let mut there = Client { last, seen, ..Client::default() };
    let key = ResumeKey::new("/answer", "ann");
    let stop = async {
        // The directory has it a moment after it began.
        while b.streams.list("ann").await.unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        let [running] = &b.streams.list("ann").await.unwrap()[..] else {
            panic!("one runs");
        };
        assert_eq!((running.node(), running.readers()), (a.streams.node(), None));
        assert_eq!(running.key(), &key);
        sleep(Duration::from_millis(300)).await;
        let answer = request(b.address, "DELETE", "/answer", "eve").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        let answer = request(b.address, "DELETE", "/answer", "ann").await;
        assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    };
    let (one, other, ()) =
        tokio::join!(here.read(&a, "ann", usize::MAX), there.read(&b, "ann", usize::MAX), stop,);
    assert_eq!((one, other), (200, 200));
    let (last, ticks) = here.seen.split_last().unwrap();
    assert_eq!(last, "{\"reason\":\"stopped\"}");
    assert_eq!(ticks, &numbers(ticks.len())[..ticks.len()]);
    assert_eq!(here.seen, there.seen);
    for node in [&a, &b] {
        assert_eq!(here.read(node, "ann", usize::MAX).await, 204, "it does not begin anew");
        while !node.streams.list("ann").await.unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(node.streams.stop(&key).await.unwrap(), 0);
    }
    assert_eq!((a.calls(), b.calls()), (1, 0));
}

pub async fn a_client_joins_at_one_node_what_runs_at_the_other<L: EventLog>(logs: [L; 2]) {
    let [a, b] = logs.map(|log| Node::start(log, 100_000, Duration::from_millis(10), LONG));
    let (a, b) = (a.await, b.await);
    let mut client = Client::default();
    assert_eq!(client.read(&a, "ann", 2_000).await, 200);
    while b.streams.list("ann").await.unwrap().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    // Long after the others have joined.
    let stop = async {
        let nothing = request(b.address, "GET", "/answer", "eve").await;
        sleep(Duration::from_secs(3)).await;
        assert_eq!(b.streams.stop(&ResumeKey::new("/answer", "ann")).await.unwrap(), 1);
        nothing
    };
    let (here, there, nothing) = tokio::join!(
        request(a.address, "GET", "/answer", "ann"),
        request(b.address, "GET", "/answer", "ann"),
        stop,
    );
    assert!(nothing.starts_with("HTTP/1.1 204 "), "{nothing}");
    for joined in [here, there] {
        let data: Vec<String> = events(&joined).into_iter().map(|(data, _)| data).collect();
        let ticks: Vec<&str> = data.iter().filter_map(|data| data.split('\n').next()).collect();
        let (last, ticks) = ticks.split_last().unwrap();
        assert_eq!(*last, "{\"reason\":\"stopped\"}");
        assert!(ticks.len() > 20 && ticks == &numbers(ticks.len())[..ticks.len()], "{ticks:?}");
    }
    assert_eq!((a.calls(), b.calls()), (1, 0));
}

/// A thousand requests with ids that nobody gave out. `held` is what the broker holds.
pub async fn made_up_ids_leave_nothing<L: EventLog, H: PartialEq + Debug>(
    log: L,
    held: impl AsyncFn() -> H,
) {
    let node = Node::start(log, 1, Duration::from_millis(10), LONG).await;
    let before = held().await;
    let asks = (0..1_000_u64).map(|n| {
        // A GET, so that no stream begins.
        let id = format!("{:023}7-{n}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8);
        let line = format!("user-{n}\r\nlast-event-id: {id}");
        async move { request(node.address, "GET", "/answer", &line).await }
    });
    let answers: Vec<String> = stream::iter(asks).buffer_unordered(100).collect().await;
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 204 ")));
    assert_eq!(held().await, before);
}

/// The first node runs in a runtime of its own, which is dropped in the middle of its stream, as a
/// process that is killed.
pub async fn readers_of_a_node_that_died_are_told_so<L: EventLog>([first, second]: [L; 2]) {
    let each = Duration::from_millis(10);
    let runtime = Runtime::new().unwrap();
    let a = runtime.spawn(Node::start(first, 100_000, each, LONG)).await.unwrap();
    let b = Node::start(second, 5, each, LONG).await;
    let mut client = Client::default();
    assert_eq!(client.read(&a, "ann", 700).await, 200);
    let seen = client.seen.len();
    let kill = async {
        sleep(Duration::from_millis(500)).await;
        runtime.shutdown_background();
        Instant::now()
    };
    let (status, killed_at) = tokio::join!(client.read(&b, "ann", usize::MAX), kill);
    let took = killed_at.elapsed();
    assert_eq!(status, 200);
    let (last, ticks) = client.seen.split_last().unwrap();
    assert_eq!(last, "{\"reason\":\"error\"}");
    assert_eq!(ticks, &numbers(ticks.len())[..ticks.len()]);
    assert!(ticks.len() > seen, "it read at the other node");
    // One and a half leases, and what a busy machine takes.
    assert!(took < 10 * LEASE, "{took:?}");
    // The event had no id. Who comes back gets a new stream.
    let mut back = Client { last: client.last.clone(), ..Client::default() };
    assert_eq!(back.read(&b, "ann", usize::MAX).await, 200);
    assert_eq!((back.seen, b.calls()), (numbers(5), 1));
}

/// The bytes of an answer, to its end.
async fn request(to: SocketAddr, method: &str, path: &str, user: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nx-user: {user}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(LONG, stream.read_to_end(&mut bytes)).await.expect("it ends").unwrap();
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    match String::from_utf8_lossy(&bytes[..head]).contains("chunked") {
        true => unchunked(&bytes),
        false => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Shorter than that of servers, so that tests end.
const LEASE: Duration = Duration::from_secs(3);

const FINISHED: &str = "{\"reason\":\"finished\"}";
const SHUTDOWN: &str = "{\"reason\":\"shutdown\"}";
