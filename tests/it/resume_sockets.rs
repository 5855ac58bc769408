//! A POST over real sockets, whose connection breaks in the middle of an event.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::StreamExt;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tower_sse::SseLayer;

use crate::harness::SECOND;
use crate::harness::net::listen;
use crate::harness::resume;

const EVENTS: usize = 300;

#[tokio::test]
async fn a_posted_stream_is_read_over_many_connections() {
    let calls = Arc::<AtomicUsize>::default();
    let handler = {
        let calls = Arc::clone(&calls);
        move |body: String| async move {
            assert_eq!(body, "prompt");
            calls.fetch_add(1, Ordering::SeqCst);
            let ticks = IntervalStream::new(interval(Duration::from_millis(2))).enumerate();
            let events = ticks.take(EVENTS).map(|(n, _)| {
                let event = format!("data: {n}\ndata: {}\n\n", "x".repeat(50));
                Ok::<_, Infallible>(Bytes::from(event))
            });
            ([("content-type", "text/event-stream")], Body::from_stream(events)).into_response()
        }
    };
    let layer = resume::layer().close_event(20 * SECOND);
    let app = Router::new().route("/answer", post(handler)).layer(layer).layer(SseLayer::new());
    let (listener, address) = listen().await;
    let server = tokio::spawn(async move { axum::serve(listener, app).await });

    let (mut last, mut seen, mut connections) = (String::new(), Vec::new(), 0);
    while seen.last().map(String::as_str) != Some("{\"reason\":\"finished\"}") {
        connections += 1;
        // Cut off somewhere, and not on a boundary.
        let enough = 1_000 + connections * 37;
        let got = resume::post(address, "/answer", "ann", &last, enough).await;
        assert_eq!(got.status, 200);
        for (data, id) in resume::events(&got.text) {
            seen.push(data.split('\n').next().unwrap().to_owned());
            last = id;
        }
    }
    let expected: Vec<String> = (0..EVENTS).map(|n| n.to_string()).collect();
    assert_eq!(seen[..EVENTS], expected);
    assert_eq!((seen.len(), calls.load(Ordering::SeqCst)), (EVENTS + 1, 1));
    assert!(connections > 10, "{connections}");
    server.abort();
}
