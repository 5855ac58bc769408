//! Streams on real sockets: HTTP/1.1 and HTTP/2, axum and hyper alone, made here and proxied.
//!
//! Intervals are short and real; what is waited for has a limit that is far longer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::{self, Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tower::{Layer, service_fn};
use tower_sse::{EventIdLayer, KeepAliveLayer, Registry, Shutdown, SseLayer};

use crate::harness::LONG;
use crate::harness::chunked::Chunked;
use crate::harness::layers::events;
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{BoxError, Client, Version, listen, read_until, serve};

#[derive(Clone, Copy, Debug)]
enum Server {
    /// axum, with the layer on the router.
    Router,
    /// axum, with the layer on the route.
    Route,
    /// hyper alone.
    Hyper,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Made,
    /// From an upstream, whose frames come as they come.
    Proxied,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_kept_alive_and_ends_well_on_every_way_to_serve_it() {
    let mut all = Vec::new();
    for version in [H1, H2] {
        for server in [Server::Router, Server::Route, Server::Hyper] {
            for source in [Source::Made, Source::Proxied] {
                all.push(tokio::spawn(live_and_end(version, server, source)));
            }
        }
    }
    for one in join_all(all).await {
        one.unwrap();
    }
}

async fn live_and_end(version: Version, server: Server, source: Source) {
    let what = format!("{version:?} {server:?} {source:?}");
    let app = App::start(server, source, Duration::ZERO).await;
    let began = Instant::now();
    let mut client = Client::connect(app.address, version).await;
    let response = client.get("/").await;
    assert_eq!(response.headers()["x-accel-buffering"], "no", "{what}");
    assert!(!response.headers().contains_key("content-length"), "{what}");
    let (mut body, mut text) = (response.into_body(), String::new());

    read_until(&mut body, &mut text, |text| text.contains("id: 3\n\n")).await.unwrap();
    let comments = |text: &str| text.rsplit("id: 3\n\n").next().unwrap().matches(":\n").count();
    read_until(&mut body, &mut text, |text| comments(text) > 2).await.unwrap();
    // The first after half an interval at the earliest, the others an interval later each.
    assert!(began.elapsed() > 2 * INTERVAL, "{what}: too many comments");
    assert_eq!(app.registry.len(), 1, "{what}");

    app.shutdown.trigger();
    // Until the end, which is an error if it is a reset or if the last chunk is missing.
    read_until(&mut body, &mut text, |_| false).await.expect(&what);
    assert!(text.starts_with(":\n"), "{what}: {text}");
    let expected = [
        ("message", "one", "1"),
        ("named", "two\nlines", "2"),
        ("message", "three", "3"),
        ("close", "{\"reason\":\"shutdown\"}", "3"),
    ];
    let expected = expected.map(|(event, data, id)| (event.into(), data.into(), id.into()));
    assert_eq!(events(&text), expected, "{what}");
    app.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_of_one_connection_are_each_told_before_it_goes() {
    for (server, window) in [
        (Server::Router, Duration::ZERO),
        (Server::Router, Duration::from_millis(500)),
        (Server::Hyper, Duration::ZERO),
        (Server::Hyper, Duration::from_millis(500)),
    ] {
        let app = App::start(server, Source::Made, window).await;
        let mut client = Client::connect(app.address, H2).await;
        let mut streams = Vec::new();
        for _ in 0..100 {
            streams.push((client.get("/").await.into_body(), String::new()));
        }
        for (body, text) in &mut streams {
            read_until(body, text, |text| text.contains("id: 1\n\n")).await.unwrap();
        }
        assert_eq!(app.registry.len(), 100);
        let report = {
            let shutdown = app.shutdown.clone();
            tokio::spawn(async move { shutdown.drain().await })
        };
        let ends = streams.into_iter().map(|(mut body, mut text)| async move {
            read_until(&mut body, &mut text, |_| false).await.expect("a clean end");
            assert_eq!(events(&text).last().unwrap().0, "close", "{text}");
        });
        join_all(ends).await;
        assert_eq!(report.await.unwrap().closed, 100);
        app.ends().await;
    }
}

#[tokio::test]
async fn an_event_comes_in_one_chunk() {
    for source in [Source::Made, Source::Proxied] {
        let app = App::start(Server::Hyper, source, Duration::ZERO).await;
        let mut stream = TcpStream::connect(app.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let (shutdown, registry) = (app.shutdown.clone(), app.registry.clone());
        let trigger = tokio::spawn(async move {
            tokio::time::sleep(4 * INTERVAL).await;
            assert_eq!(registry.len(), 1);
            shutdown.trigger();
        });
        let mut raw = Vec::new();
        let read = stream.read_to_end(&mut raw);
        tokio::time::timeout(LONG, read).await.expect("the connection ends").unwrap();
        trigger.await.unwrap();
        let raw = String::from_utf8(raw).unwrap();
        let (head, body) = raw.split_once("\r\n\r\n").unwrap();
        assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
        let body = Chunked::of(body.as_bytes());
        assert!(body.ended && body.rest.is_empty(), "{body:?}");
        let mut chunks = body.texts();
        chunks.retain(|chunk| chunk != ":\n");
        let close = chunks.pop().unwrap();
        assert!(close.starts_with("event: close\n") && close.ends_with("id: 3\n\n"), "{close}");
        let expected = [
            "data: one\nid: 1\n\n",
            "event: named\ndata: two\ndata: lines\nid: 2\n\n",
            "data: three\nid: 3\n\n",
        ];
        assert_eq!(chunks, expected, "{source:?}");
        app.ends().await;
    }
}

/// As much as a task may take in one go of what is there at once, and silence behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_kept_alive_after_a_burst() {
    let handler = service_fn(async |_: Request<Incoming>| {
        let (sender, burst) = tokio::sync::mpsc::unbounded_channel();
        for _ in 0..1000 {
            sender.send(Ok::<_, Infallible>(Bytes::from_static(b"data: a\n\n"))).unwrap();
        }
        tokio::spawn(async move { sender.closed().await });
        let burst = tokio_stream::wrappers::UnboundedReceiverStream::new(burst);
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        Ok::<_, Infallible>(response.body(Body::from_stream(burst)).unwrap())
    });
    let layer = KeepAliveLayer::every(INTERVAL).jitter(0.0);
    for version in [H1, H2] {
        let (listener, address) = listen().await;
        let server = serve(listener, layer.layer(handler), std::future::pending());
        let server = tokio::spawn(server);
        let mut body = Client::connect(address, version).await.get("/").await.into_body();
        let mut text = String::new();
        let read = read_until(&mut body, &mut text, |text| text.ends_with("\n:\n:\n"));
        let read = read.await;
        server.abort();
        read.unwrap_or_else(|error| panic!("{version:?}: {error}"));
    }
}

/// A server with one route, its handles, and its task.
struct App {
    address: SocketAddr,
    registry: Registry,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

impl App {
    async fn start(server: Server, source: Source, window: Duration) -> Self {
        let registry = Registry::new();
        let shutdown = Shutdown::builder().window(window).build().unwrap();
        let layer = SseLayer::new()
            .keep_alive(KeepAliveLayer::every(INTERVAL).jitter(0.0))
            .event_ids(EventIdLayer::sequential())
            .registry(registry.clone())
            .shutdown(shutdown.clone());
        let upstream = upstream().await;
        let handler = move || async move {
            match source {
                Source::Made => made(),
                Source::Proxied => proxied(upstream).await.map(Body::new),
            }
        };
        let (listener, address) = listen().await;
        let stop = shutdown.clone();
        let until = async move { stop.triggered().await };
        let task = match (server, source) {
            (Server::Router, _) => {
                let app = Router::new().route("/", get(handler)).layer(layer);
                tokio::spawn(async move {
                    axum::serve(listener, app).with_graceful_shutdown(until).await.unwrap();
                })
            }
            (Server::Route, _) => {
                let app = Router::new().route("/", get(handler).layer(layer));
                tokio::spawn(async move {
                    axum::serve(listener, app).with_graceful_shutdown(until).await.unwrap();
                })
            }
            (Server::Hyper, Source::Made) => {
                let handler = service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(made()));
                tokio::spawn(serve(listener, layer.layer(handler), until))
            }
            (Server::Hyper, Source::Proxied) => {
                let handler = service_fn(move |_: Request<Incoming>| async move {
                    Ok::<_, Infallible>(proxied(upstream).await)
                });
                tokio::spawn(serve(listener, layer.layer(handler), until))
            }
        };
        Self { address, registry, shutdown, task }
    }

    /// Waits until the server has ended by itself.
    async fn ends(self) {
        let ended = tokio::time::timeout(LONG, self.task).await;
        ended.expect("nothing holds the server up").unwrap();
        // On HTTP/2 a body is dropped by a task of its own, maybe a moment after its connection.
        let left = async {
            while !self.registry.is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(LONG, left).await.expect("all have left the registry");
    }
}

/// Three events, of which the second comes in pieces; then nothing.
fn script() -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
    let pieces =
        ["data: one\n\n", "event: named\ndata: tw", "o\ndata: lines\n", "\n", "data: three\n\n"];
    let pieces = stream::iter(pieces).then(|piece| async move {
        // So that an upstream's pieces come one by one.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(Bytes::from_static(piece.as_bytes()))
    });
    pieces.chain(stream::pending())
}

fn made() -> Response<Body> {
    let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
    response.body(Body::from_stream(script())).unwrap()
}

async fn proxied(upstream: SocketAddr) -> Response<Incoming> {
    Client::connect(upstream, H1).await.get("/").await
}

/// Another server, without any layers.
async fn upstream() -> SocketAddr {
    let (listener, address) = listen().await;
    let handler = service_fn(async |_: Request<Incoming>| {
        let body = StreamBody::new(script().map(|data| data.map(Frame::data)));
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        Ok::<_, BoxError>(response.body(body.boxed_unsync()).unwrap())
    });
    tokio::spawn(serve(listener, handler, std::future::pending()));
    address
}

const INTERVAL: Duration = Duration::from_millis(100);
