//! The streams: handlers that write raw bytes, and nothing that is the layers' work.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Query;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::time::{interval, sleep};
use tokio_stream::wrappers::IntervalStream;
use tower_sse::KeepAliveLayer;

/// The streams, without the layers that all of them have.
pub(super) fn routes() -> Router {
    let every_second = KeepAliveLayer::every(Duration::from_secs(1));
    Router::new()
        .route("/ticks", get(ticks))
        .route("/quiet", get(quiet))
        .route("/slow-mid-event", get(slow_mid_event))
        .route("/crlf", get(crlf))
        .route("/bom", get(bom))
        .route("/tick", get(tick))
        .route("/idle", get(idle).layer(every_second))
        .route("/closing", get(closing))
        .route("/firehose", get(firehose))
}

async fn ticks() -> impl IntoResponse {
    events(numbers(Duration::from_millis(100)).map(|n| match n {
        // Clients that lose a stream of this pace are to be back soon.
        1 => Bytes::from("retry: 200\ndata: {\"n\":1}\n\n"),
        _ => numbered(n),
    }))
}

async fn quiet() -> impl IntoResponse {
    stays_open(Duration::from_secs(1), ["data: {\"n\":1}\n\n", "data: {\"n\":2}\n\n"])
}

async fn slow_mid_event() -> impl IntoResponse {
    let chunks = ["data: part1\n", "data: part2\n", "\n", "data: whole\n\n"];
    stays_open(Duration::from_millis(500), chunks)
}

/// Each CRLF is split between two chunks.
async fn crlf() -> impl IntoResponse {
    let chunks = ["event: tick\r", "\ndata: a\r", "\ndata: b\r\n\r", "\ndata: z\r\n\r\n"];
    stays_open(Duration::from_millis(400), chunks)
}

async fn bom() -> impl IntoResponse {
    let chunks = ["\u{feff}data: {\"n\":1}\n\n", "data: {\"n\":2}\n\n"];
    stays_open(Duration::from_millis(100), chunks)
}

#[derive(Debug, Deserialize)]
struct Tick {
    #[serde(default = "Tick::default_ms")]
    ms: u64,
    #[serde(default = "Tick::default_n")]
    n: usize,
}

impl Tick {
    fn default_ms() -> u64 {
        100
    }

    fn default_n() -> usize {
        10
    }
}

async fn tick(Query(Tick { ms, n }): Query<Tick>) -> impl IntoResponse {
    // A timer without a period would be a panic.
    let every = Duration::from_millis(ms.max(1));
    events(numbers(every).map(numbered).take(n))
}

#[derive(Debug, Deserialize)]
struct Idle {
    #[serde(default = "Idle::default_s")]
    s: u64,
}

impl Idle {
    fn default_s() -> u64 {
        6
    }
}

async fn idle(Query(Idle { s }): Query<Idle>) -> impl IntoResponse {
    let end = stream::once(sleep(Duration::from_secs(s)));
    events(end.map(|()| Bytes::new()))
}

/// Would never end by itself: the server closes it.
async fn closing() -> impl IntoResponse {
    events(numbers(Duration::from_millis(200)).map(numbered))
}

/// As fast as they are taken.
async fn firehose() -> impl IntoResponse {
    let event = format!("data: {}\n\n", "x".repeat(FIREHOSE - "data: \n\n".len()));
    events(stream::repeat(Bytes::from(event)))
}

/// 1, 2, 3 …, the first at once.
pub(super) fn numbers(every: Duration) -> impl Stream<Item = usize> {
    let ticks = IntervalStream::new(interval(every)).enumerate();
    ticks.map(|(n, _)| n + 1)
}

pub(super) fn numbered(n: usize) -> Bytes {
    Bytes::from(format!("data: {{\"n\":{n}}}\n\n"))
}

/// These chunks, the first at once, and then silence.
fn stays_open<const N: usize>(every: Duration, chunks: [&'static str; N]) -> impl IntoResponse {
    let chunks = IntervalStream::new(interval(every)).zip(stream::iter(chunks));
    let chunks = chunks.map(|(_, chunk)| Bytes::from_static(chunk.as_bytes()));
    events(chunks.chain(stream::pending()))
}

pub(super) fn events(chunks: impl Stream<Item = Bytes> + Send + 'static) -> impl IntoResponse {
    let body = Body::from_stream(chunks.map(Ok::<_, Infallible>));
    ([(CONTENT_TYPE, "text/event-stream")], body)
}

/// The length of an event of `/firehose`, in bytes.
const FIREHOSE: usize = 16 * 1024;
