//! tower-http's compression outside of the layers and inside of them.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_sse::{EventIdLayer, KeepAliveLayer, NoBufferLayer, Registry, Shutdown, SseLayer};

use crate::harness::bodies::read;
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen, read_until};

#[tokio::test(start_paused = true)]
async fn compression_further_out_leaves_event_streams_alone() {
    let registry = Registry::new();
    let app = app("text/event-stream").layer(layer(&registry)).layer(CompressionLayer::new());
    let response = ask(app).await;
    assert_eq!(response.headers().get(CONTENT_ENCODING), None);
    assert_eq!(registry.len(), 1);
    let read = read(&mut response.into_body(), Duration::from_secs(60)).await;
    let ids = (1..=3).map(|n| EVENT.replace("\n\n", &format!("\nid: {n}\n\n")));
    assert_eq!(read.text(), format!(":\n{}", ids.collect::<String>()));
    assert!(read.ended);
}

/// It polls bodies once more behind their end, which an unfolded stream answers with a panic.
#[tokio::test(start_paused = true)]
async fn compression_further_out_can_poll_a_stream_after_its_end() {
    let of_all = layer(&Registry::new());
    let of_head_only = SseLayer::off().no_buffer(NoBufferLayer::new());
    for layer in [of_all, of_head_only] {
        let app = app("text/event-stream").layer(layer).layer(of_everything());
        let response = ask(app).await;
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert!(to_bytes(response.into_body(), 9999).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_were_compressed_further_in_pass_untouched_and_their_head_is_set() {
    let app = || {
        let events = async || ([(CONTENT_TYPE, "text/event-stream")], EVENT.repeat(3));
        Router::new().route("/", get(events)).layer(of_everything())
    };
    let registry = Registry::new();
    let (plain, layered) = (ask(app()).await, ask(app().layer(layer(&registry))).await);
    assert!(registry.is_empty());
    let mut headers = plain.headers().clone();
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert("cache-control", HeaderValue::from_static("no-cache, no-transform"));
    assert_eq!(layered.headers(), &headers);
    assert_eq!(layered.headers()[CONTENT_ENCODING], "gzip");
    assert_eq!(layered.body().size_hint().exact(), plain.body().size_hint().exact());
    let plain = to_bytes(plain.into_body(), 9999).await.unwrap();
    assert_eq!(to_bytes(layered.into_body(), 9999).await.unwrap(), plain);
}

/// Through sockets: events and comments come at once and not when a compressor is full.
#[tokio::test]
async fn compression_further_out_holds_no_event_back() {
    for version in [H1, H2] {
        let registry = Registry::new();
        let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
        let app = Router::new()
            .route("/", get(async || events("text/event-stream", true)))
            .layer(layer(&registry).shutdown(shutdown.clone()))
            .layer(CompressionLayer::new());
        let (listener, address) = listen().await;
        let stop = shutdown.clone();
        let server = axum::serve(listener, app)
            .with_graceful_shutdown(async move { stop.triggered().await });
        let server = tokio::spawn(server.into_future());
        let response = Client::connect(address, version).await.get("/").await;
        assert_eq!(response.headers().get(CONTENT_ENCODING), None);
        let (mut body, mut text) = (response.into_body(), String::new());
        read_until(&mut body, &mut text, |text| text.ends_with("id: 3\n\n:\n:\n")).await.unwrap();
        shutdown.trigger();
        read_until(&mut body, &mut text, |_| false).await.unwrap();
        assert!(text.contains("event: close\n") && text.ends_with("id: 3\n\n"), "{text}");
        tokio::time::timeout(crate::harness::LONG, server).await.unwrap().unwrap().unwrap();
    }
}

/// Compression even of what it leaves alone by default.
fn of_everything() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new().compress_when(SizeAbove::new(0))
}

fn layer(registry: &Registry) -> SseLayer {
    SseLayer::new()
        .keep_alive(KeepAliveLayer::every(Duration::from_millis(100)).jitter(0.0))
        .event_ids(EventIdLayer::sequential())
        .registry(registry.clone())
}

fn app(content_type: &'static str) -> Router {
    Router::new().route("/", get(async move || events(content_type, false)))
}

async fn ask(app: Router) -> Response<Body> {
    let request = Request::get("/").header(ACCEPT_ENCODING, "gzip");
    app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// Three events, and then nothing or the end.
fn events(content_type: &'static str, stay: bool) -> Response<Body> {
    let events = stream::unfold(0, move |n| async move {
        if n == 3 && stay {
            std::future::pending::<()>().await;
        }
        let event = Ok::<_, Infallible>(Bytes::from_static(EVENT.as_bytes()));
        (n < 3).then_some((event, n + 1))
    });
    let response = Response::builder().header(CONTENT_TYPE, content_type);
    response.body(Body::from_stream(events)).unwrap()
}

const EVENT: &str = "data: long enough that a compressor would like it, like it, like it\n\n";
