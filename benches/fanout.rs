//! One event to many clients: a hub, against tokio's `broadcast` and axum's `Sse` with `KeepAlive`.
//!
//! ```text
//! cargo bench --features hub --bench fanout
//! ```
//!
//! Each client's body is read by a task of one runtime, or by hyper and a socket of the loopback.
//! What is measured is the time of the server's thread that publishes and writes, for an event and a
//! client; that of the clients is not in it. Both are measured in turns, and the best of each is
//! compared: the rest is the machine's noise.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::routing::get;
use futures_util::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tower::ServiceExt;
use tower_sse::log::{MemoryLog, Topic};
use tower_sse::wire::Event;
use tower_sse::{Hub, KeepAliveLayer, SseLayer};

const TURNS: usize = 5;
const INTERVAL: Duration = Duration::from_secs(15);

/// Events that are published at once.
const BURST: usize = 64;

/// Of every event's data, to be counted by its first byte, which is nowhere else.
const TEXT: &str =
    "~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

fn main() {
    println!("nanoseconds of the server's thread for an event and a client, best of {TURNS}\n");
    println!("{:<28}{:>12}{:>12}{:>10}", "", "hub", "broadcast", "ratio");
    for clients in [1, 100, 10_000] {
        for (pace, at_once) in [("burst", BURST), ("live", 1)] {
            let deliveries: usize = if clients == 1 { 20_000 } else { 400_000 };
            let events = (deliveries / clients).next_multiple_of(at_once);
            let best =
                in_turns(|source| runtime().block_on(in_process(source, clients, events, at_once)));
            print(&format!("in process, {clients}, {pace}"), best);
        }
    }
    for clients in [1, 100, 10_000] {
        if 2 * clients + 100 > open_files() {
            println!("loopback, {clients}: more files than may be open here (`ulimit -n`)");
            continue;
        }
        for (pace, at_once) in [("burst", BURST), ("live", 1)] {
            let deliveries: usize = if clients == 1 { 2_000 } else { 60_000 };
            let events = (deliveries / clients).max(3).next_multiple_of(at_once);
            let best = in_turns(|source| over_loopback(source, clients, events, at_once));
            print(&format!("loopback, {clients}, {pace}"), best);
        }
    }
    stalled();
}

fn in_turns(mut measure: impl FnMut(Source) -> f64) -> [f64; 2] {
    let mut best = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        best[0] = best[0].min(measure(Source::hub()));
        best[1] = best[1].min(measure(Source::broadcast()));
    }
    best
}

fn print(row: &str, [hub, other]: [f64; 2]) {
    println!("{row:<28}{hub:>12.0}{other:>12.0}{:>9.2}x", hub / other);
}

/// What is published into, and followed.
#[derive(Clone)]
enum Source {
    Hub(Hub, Topic),
    Broadcast(broadcast::Sender<String>),
}

impl Source {
    fn hub() -> Self {
        let log = MemoryLog::builder().events(4 * BURST).build().expect("it can work");
        Self::Hub(Hub::new(log), Topic::new("t").expect("a name"))
    }

    fn broadcast() -> Self {
        Self::Broadcast(broadcast::channel(4 * BURST).0)
    }

    fn publish(&self) {
        match self {
            Self::Hub(hub, topic) => {
                hub.publish_blocking(topic, Event::new().data(TEXT)).expect("it has room");
            }
            Self::Broadcast(sender) => {
                sender.send(TEXT.to_owned()).expect("some follow");
            }
        }
    }

    /// What a handler answers.
    fn response(&self) -> axum::response::Response {
        match self {
            Self::Hub(hub, topic) => hub.subscribe(topic).into_response().into_response(),
            Self::Broadcast(sender) => {
                let events = BroadcastStream::new(sender.subscribe());
                let events = events.map(|text| {
                    Ok::<_, Infallible>(sse::Event::default().data(text.expect("it keeps up")))
                });
                Sse::new(events).keep_alive(KeepAlive::new().interval(INTERVAL)).into_response()
            }
        }
    }

    /// Both keep alive: the one by the layer, the other by itself.
    fn app(&self) -> Router {
        let app = Router::new()
            .route("/", get(|State(source): State<Source>| async move { source.response() }));
        let app = app.with_state(self.clone());
        match self {
            Self::Hub(..) => {
                let layer = SseLayer::off().keep_alive(KeepAliveLayer::every(INTERVAL));
                app.layer(layer)
            }
            Self::Broadcast(_) => app,
        }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Bodies that tasks read.
async fn in_process(source: Source, clients: usize, events: usize, at_once: usize) -> f64 {
    let seen = Arc::new(AtomicUsize::new(0));
    for _ in 0..clients {
        let request = Request::new(axum::body::Body::empty());
        let mut body = source.app().oneshot(request).await.expect("infallible").into_body();
        let seen = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                let data = frame.expect("infallible").into_data().expect("no trailers");
                seen.fetch_add(count(&data), Ordering::Relaxed);
            }
        });
    }
    tokio::task::yield_now().await;
    let before = cpu();
    publish_all(&source, clients, events, at_once, &seen).await;
    per_delivery(cpu().saturating_sub(before), clients, events)
}

/// Bodies that hyper reads, and clients on a thread of their own.
fn over_loopback(source: Source, clients: usize, events: usize, at_once: usize) -> f64 {
    let seen = Arc::new(AtomicUsize::new(0));
    let (tell, told) = std::sync::mpsc::channel();
    let counts = Arc::clone(&seen);
    let readers = thread::spawn(move || {
        let address = told.recv().expect("it listens");
        runtime().block_on(async {
            let mut tasks = Vec::new();
            for _ in 0..clients {
                let counts = Arc::clone(&counts);
                let mut client = TcpStream::connect(address).await.expect("it listens");
                client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("open");
                tasks.push(tokio::spawn(async move {
                    let (mut buffer, mut mine) = (vec![0; 16 * 1024], 0);
                    while mine < events {
                        let len = client.read(&mut buffer).await.expect("open");
                        let new = count(&buffer[..len]);
                        mine += new;
                        counts.fetch_add(new, Ordering::Relaxed);
                    }
                }));
            }
            for task in tasks {
                task.await.expect("no panic");
            }
        });
    });
    let cost = runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        tell.send(listener.local_addr().expect("it has one")).expect("it waits");
        let server = axum::serve(listener, source.app());
        tokio::spawn(server.into_future());
        while followers(&source) < clients {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = cpu();
        publish_all(&source, clients, events, at_once, &seen).await;
        per_delivery(cpu().saturating_sub(before), clients, events)
    });
    readers.join().expect("no panic");
    cost
}

/// Those that have sent their first bytes or are about to.
fn followers(source: &Source) -> usize {
    match source {
        Source::Hub(hub, topic) => hub.log().followers(topic),
        Source::Broadcast(sender) => sender.receiver_count(),
    }
}

/// Publishes so many at once, and the next when all have all of them.
async fn publish_all(
    source: &Source,
    clients: usize,
    events: usize,
    at_once: usize,
    seen: &AtomicUsize,
) {
    for turn in 1..=events / at_once {
        (0..at_once).for_each(|_| source.publish());
        while seen.load(Ordering::Relaxed) < turn * at_once * clients {
            tokio::task::yield_now().await;
        }
    }
}

fn count(bytes: &[u8]) -> usize {
    memchr::memchr_iter(TEXT.as_bytes()[0], bytes).count()
}

#[expect(clippy::cast_precision_loss, reason = "far below what a float holds exactly")]
fn per_delivery(time: Duration, clients: usize, events: usize) -> f64 {
    time.as_nanos() as f64 / (clients * events) as f64
}

/// The time that this thread was on a processor; the clock's where the system does not tell.
fn cpu() -> Duration {
    let tells = fs::read_to_string("/proc/thread-self/schedstat");
    let nanos = tells.ok().and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.with(Instant::elapsed), Duration::from_nanos)
}

thread_local! {
    static START: Instant = Instant::now();
}

/// How many files this process may open.
fn open_files() -> usize {
    let limits: io::Result<String> = fs::read_to_string("/proc/self/limits");
    let limits = limits.unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

/// A thousand followers, with and without one that does not read.
fn stalled() {
    println!("\n1,000 followers in process, one event after the other");
    for stalls in [false, true] {
        let (mut calls, mut all) = (Vec::new(), Duration::MAX);
        for _ in 0..TURNS {
            let (turn, took) = runtime().block_on(publish_to_a_thousand(stalls));
            calls.extend(turn);
            all = all.min(took);
        }
        calls.sort_unstable();
        let [median, p99] = [50, 99].map(|percent| calls[calls.len() * percent / 100]);
        let who = if stalls { "one stalled" } else { "none stalled" };
        println!("{who:<14} publish: median {median:?}, p99 {p99:?}; all events: {all:?}");
    }
}

async fn publish_to_a_thousand(stalls: bool) -> (Vec<Duration>, Duration) {
    const EVENTS: usize = 1_000;
    const READERS: usize = 999;
    let source = Source::hub();
    let (seen, mut calls) = (Arc::new(AtomicUsize::new(0)), Vec::with_capacity(EVENTS));
    let idle = stalls.then(|| source.response());
    for _ in 0..READERS {
        let (mut body, seen) = (source.response().into_body(), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                drop(frame);
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::task::yield_now().await;
    let began = Instant::now();
    for n in 1..=EVENTS {
        let start = Instant::now();
        source.publish();
        calls.push(start.elapsed());
        while seen.load(Ordering::Relaxed) < n * READERS {
            tokio::task::yield_now().await;
        }
    }
    drop(idle);
    (calls, began.elapsed())
}
