//! What the SDKs that people use see of a stream that is kept alive.
//!
//! `tests/run` installs them, as `clients/python.txt` pins them.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_sse::{Comment, KeepAliveLayer, SseLayer};

use crate::harness::sdk::python;

const MESSAGES: [&str; 2] = ["id: 7\ndata: one\n\n", "data: two\n\n"];

const CHUNKS: [&str; 2] = [
    "id: 7\ndata: {\"id\":\"one\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[]}\n\n",
    "data: {\"id\":\"two\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[]}\n\n\
     data: [DONE]\n\n",
];

const BLOCKS: [&str; 2] = [
    "id: 7\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n",
];

/// A stream of two events, with `between` in its silence.
fn events(events: [&'static str; 2], between: &'static str) -> Response {
    let chunks = [events[0], between, events[1]].map(str::as_bytes).map(axum::body::Bytes::from);
    // For several comments, whatever the machine is busy with.
    let chunks = stream::iter(chunks).then(|chunk| async {
        sleep(Duration::from_millis(300)).await;
        Ok::<_, Infallible>(chunk)
    });
    ([("content-type", "text/event-stream")], Body::from_stream(chunks)).into_response()
}

/// What each client made of its stream.
async fn seen_by_clients(layer: SseLayer, between: &'static str) -> Value {
    let app = Router::new()
        .route("/httpx-sse", get(move || async move { events(MESSAGES, between) }))
        .route("/chat/completions", post(move || async move { events(CHUNKS, between) }))
        .route("/v1/messages", post(move || async move { events(BLOCKS, between) }))
        .layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async { axum::serve(listener, app).await });
    let output = python("python_clients.py").arg(url).output().await.unwrap();
    server.abort();
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"))
}

#[tokio::test]
async fn a_comment_after_an_id_is_no_event_to_real_clients() {
    let comments = KeepAliveLayer::every(Duration::from_millis(50));
    for layer in [comments.clone(), comments.comment(Comment::from_static("still here"))] {
        let seen = seen_by_clients(SseLayer::new().keep_alive(layer), "").await;
        let expected = json!({
            "anthropic": ["1", "2"],
            "httpx-sse": ["one", "two"],
            "openai": ["one", "two"],
        });
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn a_comment_with_a_blank_line_would_be_an_event_to_real_clients() {
    let seen = seen_by_clients(SseLayer::off(), ": ping\n\n").await;
    assert_eq!(seen["httpx-sse"], json!(["one", "", "two"]));
    assert_eq!(seen["openai"], json!("JSONDecodeError"));
}
