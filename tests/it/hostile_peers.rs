//! Peers of HTTP/2 that do harm: they leave nothing behind, hold no more than the settings allow,
//! and take no event from a client beside them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::pending;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::Frame as BodyFrame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower::{Layer, service_fn};
use tower_sse::wire::Decoder;
use tower_sse::{Event, Limit, Registry, SseLayer};

use crate::harness::LONG;
use crate::harness::frames::{Frame, Reads, connect};
use crate::harness::net::Version::H2;
use crate::harness::net::{Client, listen, read_until, serve};

/// How many events a stream has. Half of them wait for the gate, if there is one.
const EVENTS: usize = 400;

/// The data of each event, beside its number: so all of them are more than a window.
const PADDING: usize = 400;

/// How many events that nobody has read a registry keeps for a stream.
const MAILBOX: usize = 16;

struct Server {
    address: SocketAddr,
    registry: Registry,
    limit: Limit,
    /// Lets the second half of the streams of `/gated` go on.
    gate: Arc<Semaphore>,
    /// How many events were made for `/stalled`.
    made: Arc<AtomicUsize>,
}

fn event(n: usize) -> String {
    format!("data: {n} {}\n\n", "x".repeat(PADDING))
}

impl Server {
    async fn start() -> Self {
        let (listener, address) = listen().await;
        let registry = Registry::builder().mailbox(MAILBOX).build().unwrap();
        let limit = Limit::builder().max(1_000).build().unwrap();
        let (gate, made) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
        let layer = SseLayer::new().registry(registry.clone()).limit(limit.clone());
        let (gates, counts) = (Arc::clone(&gate), Arc::clone(&made));
        let handler = service_fn(move |request: Request<Incoming>| {
            let (gate, made) = (Arc::clone(&gates), Arc::clone(&counts));
            let is_gated = request.uri().path() == "/gated";
            let is_stalled = request.uri().path() == "/stalled";
            let events = stream::unfold(0, move |n| {
                let (gate, made) = (Arc::clone(&gate), Arc::clone(&made));
                async move {
                    if is_gated && n == EVENTS / 2 {
                        gate.acquire().await.unwrap().forget();
                    }
                    made.fetch_add(usize::from(is_stalled), Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    let frame = BodyFrame::data(Bytes::from(event(n)));
                    (n < EVENTS).then_some((Ok::<_, Infallible>(frame), n + 1))
                }
            });
            let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
            let response = response.body(StreamBody::new(Box::pin(events))).unwrap();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        tokio::spawn(serve(listener, layer.layer(handler), pending()));
        Self { address, registry, limit, gate, made }
    }

    /// A client that has half of the events of a stream and waits for the rest.
    async fn neighbour(&self) -> JoinHandle<()> {
        let mut client = Client::connect(self.address, H2).await;
        let (mut body, mut text) = (client.get("/gated").await.into_body(), String::new());
        let half = event(EVENTS / 2 - 1);
        read_until(&mut body, &mut text, |text| text.ends_with(&half)).await.unwrap();
        tokio::spawn(async move {
            let _client = client;
            read_until(&mut body, &mut text, |_| false).await.unwrap();
            assert_is_whole(&text);
        })
    }

    /// Waits until so many streams are open: a server learns of the end of a client a moment later.
    async fn until_open(&self, count: usize) {
        let wait = async {
            while self.registry.len() != count || self.limit.open() != count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, wait).await.unwrap_or_else(|_| {
            panic!("{} and {} are open", self.registry.len(), self.limit.open())
        });
    }

    /// What has to hold after any attack: the neighbour gets the rest, and nothing is left.
    async fn is_unharmed(&self, neighbour: JoinHandle<()>) {
        self.until_open(1).await;
        self.gate.add_permits(1);
        neighbour.await.unwrap();
        self.until_open(0).await;
    }
}

#[track_caller]
fn assert_is_whole(text: &str) {
    let events = Decoder::new().decode(text.as_bytes());
    // Those that the registry sent to all are not the stream's own.
    let own = events.iter().filter(|event| event.data != "to all");
    let numbers = own.map(|event| event.data.split(' ').next().unwrap().parse::<usize>().unwrap());
    assert!(numbers.eq(0..EVENTS), "{} bytes", text.len());
}

/// The n-th stream of a client.
fn nth(n: u32) -> u32 {
    2 * n + 1
}

#[tokio::test]
async fn streams_that_are_reset_at_once_leave_nothing_behind() {
    let server = Server::start().await;
    let neighbour = server.neighbour().await;
    for _ in 0..10 {
        let (mut writes, mut reads) = connect(server.address, 65_535).await;
        for n in 0..300 {
            // Until the server gives up on this client.
            if !(writes.get(nth(n), "/gated").await && writes.reset(nth(n)).await) {
                break;
            }
        }
        // It stays on the line, and the server takes what it sent.
        writes.ping().await;
        while !matches!(reads.next().await, None | Some(Frame::Pong | Frame::GoAway)) {}
    }
    server.is_unharmed(neighbour).await;
}

#[tokio::test]
async fn streams_that_are_reset_when_they_have_begun_leave_nothing_behind() {
    let server = Server::start().await;
    let neighbour = server.neighbour().await;
    let (mut writes, mut reads) = connect(server.address, 65_535).await;
    for n in 0..300 {
        assert!(writes.get(nth(n), "/gated").await);
        let is_first = |frame| matches!(frame, Frame::Data(of, _) if of == nth(n));
        while !is_first(reads.next().await.expect("it is served")) {}
        assert!(writes.reset(nth(n)).await);
    }
    // The client is still there.
    server.is_unharmed(neighbour).await;
    drop((writes, reads));
}

#[tokio::test]
async fn a_client_that_never_opens_its_window_holds_no_more_than_its_mailbox() {
    let server = Server::start().await;
    let neighbour = server.neighbour().await;
    let (mut writes, mut reads) = connect(server.address, 0).await;
    for n in 0..8 {
        assert!(writes.get(nth(n), "/stalled").await);
        while reads.next().await.expect("it is served") != Frame::Head(nth(n)) {}
    }
    server.until_open(9).await;
    let deliveries: Vec<_> =
        (0..100).map(|_| server.registry.broadcast(Event::new().data("to all"))).collect();
    let sent: usize = deliveries.iter().map(|delivery| delivery.sent).sum();
    assert!(sent <= 9 * MAILBOX, "{sent}");
    // A stream beside them, on the same connection, gets all: its window is opened.
    assert!(writes.window(nth(0), 1 << 30).await);
    let text = read_whole(&mut reads, nth(0)).await;
    assert_is_whole(&text);
    server.until_open(8).await;
    let made = server.made.load(Ordering::Relaxed).saturating_sub(EVENTS);
    assert!(made <= 8 * MOST_AHEAD, "{made} events were made that nobody has read");
    drop((writes, reads));
    server.is_unharmed(neighbour).await;
}

/// How many events hyper takes of a body before the window is open for the first of them.
const MOST_AHEAD: usize = 2;

/// Reads a stream to its end.
async fn read_whole(reads: &mut Reads, stream: u32) -> String {
    let mut text = Vec::new();
    loop {
        match reads.next().await.expect("it goes on") {
            Frame::Data(of, bytes) if of == stream => text.extend(bytes),
            Frame::End(of) if of == stream => return String::from_utf8(text).unwrap(),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_window_that_opens_a_byte_at_a_time_cuts_nothing_and_holds_nothing() {
    let server = Server::start().await;
    let neighbour = server.neighbour().await;
    let (mut writes, mut reads) = connect(server.address, 0).await;
    assert!(writes.get(nth(0), "/stalled").await);
    let mut got = Vec::new();
    for _ in 0..1_000 {
        assert!(writes.window(nth(0), 1).await);
        loop {
            match reads.next().await.expect("it goes on") {
                Frame::Data(_, bytes) => {
                    assert_eq!(bytes.len(), 1);
                    got.extend(bytes);
                    break;
                }
                Frame::Head(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    let made = server.made.load(Ordering::Relaxed);
    assert!(made <= 1_000 / PADDING + MOST_AHEAD, "{made} events for 1,000 bytes");
    // Then it takes the rest, and not a byte is wrong.
    assert!(writes.window(nth(0), 1 << 30).await);
    let rest = read_whole(&mut reads, nth(0)).await;
    assert_is_whole(&(String::from_utf8(got).unwrap() + &rest));
    server.is_unharmed(neighbour).await;
}

#[tokio::test]
async fn a_flood_of_pings_takes_no_event_of_the_stream_beside_it() {
    let server = Server::start().await;
    let neighbour = server.neighbour().await;
    let (mut writes, mut reads) = connect(server.address, 1 << 30).await;
    assert!(writes.get(nth(0), "/numbers").await);
    let pings = tokio::spawn(async move {
        for _ in 0..20_000 {
            if !writes.ping().await {
                break;
            }
        }
        writes
    });
    let mut text = Vec::new();
    loop {
        match reads.next().await.expect("it goes on") {
            Frame::Data(_, bytes) => text.extend(bytes),
            Frame::End(_) => break,
            _ => {}
        }
    }
    assert_is_whole(&String::from_utf8(text).unwrap());
    pings.abort();
    server.is_unharmed(neighbour).await;
}

#[tokio::test]
async fn a_client_that_goes_away_amid_a_stream_gets_the_rest_of_it_or_leaves_nothing() {
    for error in [0, 2] {
        let server = Server::start().await;
        let neighbour = server.neighbour().await;
        let (mut writes, mut reads) = connect(server.address, 1 << 30).await;
        assert!(writes.get(nth(0), "/gated").await);
        let mut text = Vec::new();
        while !text.ends_with(event(EVENTS / 2 - 1).as_bytes()) {
            if let Frame::Data(_, bytes) = reads.next().await.expect("it goes on") {
                text.extend(bytes);
            }
        }
        assert!(writes.go_away(error).await);
        writes.ping().await;
        // Each of the two gets the rest.
        server.gate.add_permits(2);
        let mut is_ended = false;
        while let Some(frame) = reads.next().await {
            match frame {
                Frame::Data(_, bytes) => text.extend(bytes),
                Frame::End(_) => is_ended = true,
                _ => {}
            }
        }
        assert!(is_ended || error != 0, "a connection that is shut in order ends its streams");
        if is_ended {
            assert_is_whole(&String::from_utf8(text).unwrap());
        }
        neighbour.await.unwrap();
        server.until_open(0).await;
    }
}
