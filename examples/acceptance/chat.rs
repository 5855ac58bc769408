//! Completions as OpenAI streams them, and the error that their clients raise in a drain.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::time::sleep;
use tower_sse::{Dialect, DialectLayer, Event, EventName, Farewell, Notice};

use super::streams::{events, numbers};

pub(super) fn routes() -> Router {
    let dialect = DialectLayer::new(Dialect::builder().farewell(error).build());
    Router::new()
        .route("/v1/chat/completions", post(finite))
        .route("/endless/v1/chat/completions", post(endless).layer(dialect))
}

/// The error of `Dialect::openai_chat`, which has no id. Here all events have one.
fn error(notice: &Notice) -> Farewell {
    let error = json!({ "error": { "message": notice.message } });
    Farewell::event(Event::new().event(EventName::from_static("error")).data(error.to_string()))
}

async fn finite() -> impl IntoResponse {
    let done = stream::iter([Bytes::from_static(b"data: [DONE]\n\n")]);
    events(stream::iter([chunk("A")]).chain(later()).chain(done))
}

async fn endless() -> impl IntoResponse {
    let more = numbers(Duration::from_millis(100)).map(|_| chunk("x"));
    events(stream::iter([chunk("A"), chunk("B")]).chain(more))
}

/// Long enough for some keepalives.
fn later() -> impl Stream<Item = Bytes> {
    stream::once(sleep(Duration::from_millis(500))).map(|()| chunk("B"))
}

fn chunk(content: &str) -> Bytes {
    let choice = json!({ "index": 0, "delta": { "content": content }, "finish_reason": null });
    let chunk = json!({
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "letters",
        "choices": [choice],
    });
    format!("data: {chunk}\n\n").into()
}
