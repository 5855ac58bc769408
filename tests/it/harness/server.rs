//! Servers with streams that end, on real sockets, with their connections guarded or not.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::Response;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use tokio_stream::wrappers::IntervalStream;
use tower::Layer;
use tower_sse::{DrainReport, EndReason, Registry, Shutdown, SseLayer, StreamInfo};

use crate::harness::LONG;
use crate::harness::net::{Client, Version, listen, read_until, serve_as};
use crate::harness::slow::{Braked, Pace};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Axum,
    Hyper,
    /// axum, with the listener as it is.
    Unguarded,
}

pub const GUARDED: [Kind; 2] = [Kind::Axum, Kind::Hyper];

/// A server with endless streams, its handles, and its task.
pub struct App {
    pub address: SocketAddr,
    pub registry: Registry,
    pub shutdown: Shutdown,
    pub task: JoinHandle<()>,
    ended: Arc<Mutex<Vec<EndReason>>>,
}

impl App {
    pub async fn start(kind: Kind, shutdown: Shutdown) -> Self {
        let ended = Arc::<Mutex<Vec<EndReason>>>::default();
        let seen = Arc::clone(&ended);
        let hook = move |_: &StreamInfo, reason| seen.lock().unwrap().push(reason);
        let registry = Registry::builder().on_close(hook).build().unwrap();
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        let app = Router::new()
            .route("/firehose", get(async || events(stream::repeat(big()))))
            .route("/steady", get(async || events(ticks(big()))))
            .route("/ticks", get(async || events(ticks(Bytes::from_static(b"data: tick\n\n")))))
            .route("/hangs", get(std::future::pending::<()>))
            .layer(layer);
        let (listener, address) = listen().await;
        let until = {
            let shutdown = shutdown.clone();
            async move { shutdown.triggered().await }
        };
        let guards = shutdown.clone();
        let task = match kind {
            Kind::Axum => tokio::spawn(async move {
                let listener = guards.listen(listener);
                axum::serve(listener, app).with_graceful_shutdown(until).await.unwrap();
            }),
            Kind::Hyper => tokio::spawn(async move {
                let wrap = move |stream| guards.guard(stream);
                let app = tower::util::MapRequestLayer::new(|request: http::Request<Incoming>| {
                    request.map(Body::new)
                })
                .layer(app);
                serve_as(listener, wrap, app, until).await;
            }),
            Kind::Unguarded => tokio::spawn(async move {
                axum::serve(listener, app).with_graceful_shutdown(until).await.unwrap();
            }),
        };
        Self { address, registry, shutdown, task, ended }
    }

    /// A client that takes the beginning of a stream, and then reads at this pace.
    pub async fn reader(&self, version: Version, path: &str, pace: Pace) -> Reader {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (stream, brake) = Braked::new(stream, pace);
        let mut client = Client::over(stream, version, 1 << 30).await;
        let mut body = client.get(path).await.into_body();
        let mut text = String::new();
        read_until(&mut body, &mut text, |text| text.contains("data: ")).await.unwrap();
        brake.draw();
        Reader { body, text, _client: client }
    }

    /// Waits until so many streams of `/firehose` are not polled any more.
    pub async fn stuck(&self, streams: usize) {
        let long = Duration::from_millis(150);
        let is_stuck = |stream: &StreamInfo| {
            let long_ago = stream.last_polled.is_some_and(|at| at.elapsed() > long);
            long_ago && &*stream.path == "/firehose"
        };
        let stuck = || self.registry.snapshot().iter().filter(|stream| is_stuck(stream)).count();
        let all = async {
            while stuck() < streams {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, all).await.expect("clients that stop are noticed");
    }

    /// Triggers, and waits until the server has ended. Tells how long it took.
    pub async fn drain(&mut self) -> (DrainReport, Duration) {
        let began = Instant::now();
        let report = self.shutdown.drain();
        let ended = async {
            timeout(LONG, &mut self.task).await.expect("the server ends").unwrap();
            began.elapsed()
        };
        tokio::join!(report, ended)
    }

    /// Why streams ended so far, in words.
    pub fn ended(&self) -> Vec<&'static str> {
        self.ended.lock().unwrap().iter().map(|reason| reason.as_str()).collect()
    }

    /// Waits until so many streams have ended, and says why.
    pub async fn ends(&self, streams: usize) -> Vec<&'static str> {
        let all = async {
            while self.ended().len() < streams {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LONG, all).await.expect("streams end");
        self.ended()
    }
}

/// A client in the middle of a stream.
pub struct Reader {
    pub body: Incoming,
    pub text: String,
    _client: Client,
}

impl Reader {
    /// Reads to the end, which is an error if it is a reset or if the last chunk is missing.
    pub async fn rest(mut self) -> String {
        let read = read_until(&mut self.body, &mut self.text, |_| false).await;
        read.expect("a clean end");
        self.text
    }
}

/// The farewell is last.
#[track_caller]
pub fn assert_is_told(text: &str) {
    let (_, last) = text.trim_end().rsplit_once("\n\n").expect("some events");
    assert!(last.starts_with("event: close\n"), "{last:?}");
    assert!(last.contains(r#"data: {"reason":"shutdown"}"#), "{last:?}");
    assert!(text.ends_with("\n\n"), "{last:?}");
}

fn ticks(event: Bytes) -> impl Stream<Item = Bytes> + Send + 'static {
    IntervalStream::new(interval(Duration::from_millis(50))).map(move |_| event.clone())
}

/// An event of 16 KiB.
fn big() -> Bytes {
    let event = format!("data: {}\n\n", "x".repeat(16 * 1024 - 8));
    Bytes::from(event)
}

fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Response<Body> {
    let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
    response.body(Body::from_stream(events.map(Ok::<_, Infallible>))).unwrap()
}
