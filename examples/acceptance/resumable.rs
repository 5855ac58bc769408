//! The streams that a client can come back to. Their handlers know nothing of it.

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Query;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tower_sse::ResumeLayer;
use tower_sse::resume::ResumeKey;

use super::streams::{events, numbered, numbers};

/// The streams, with a memory of their own: that of a new server knows nothing of the old one's.
pub(super) fn routes() -> Router {
    // Nobody signs in here, so an id is all that it takes.
    let key = |request: &Parts| Some(ResumeKey::new(request.uri.path(), "anybody"));
    let resume = ResumeLayer::new(key).streams(10_000);
    let closes = resume.clone().close_event(Duration::from_secs(20));
    let finite = Router::new()
        .route("/finite", get(finite))
        .route("/post-stream", post(finite_by_post))
        .route("/datastar", get(datastar))
        .layer(closes);
    Router::new().route("/once", get(once)).route("/log", get(log)).layer(resume).merge(finite)
}

#[derive(Debug, Deserialize)]
struct Count {
    n: Option<usize>,
}

async fn finite(Query(Count { n }): Query<Count>) -> impl IntoResponse {
    let all = stream::iter(1..=n.unwrap_or(3));
    events(all.map(|n| begins(n, numbered(n))))
}

async fn finite_by_post(count: Query<Count>) -> impl IntoResponse {
    finite(count).await
}

/// Signals of a page that is made with Datastar.
async fn datastar() -> impl IntoResponse {
    let some = numbers(Duration::from_millis(350)).take(3);
    events(some.map(|n| {
        let event = format!("event: datastar-merge-signals\ndata: signals {{\"n\":{n}}}\n\n");
        event.into()
    }))
}

async fn once() -> impl IntoResponse {
    events(stream::iter([begins(1, numbered(1))]))
}

async fn log(Query(Count { n }): Query<Count>) -> impl IntoResponse {
    let some = numbers(Duration::from_millis(15)).take(n.unwrap_or(12));
    let event = |n| {
        let pad = "\u{e9}\u{1f600}".repeat(n % 7 + 1);
        begins(n, format!("data: {{\"n\":{n},\ndata: \"pad\":\"{pad}\"}}\n\n").into())
    };
    events(some.map(event).chain(stream::pending()))
}

/// The first event says how soon to come back.
fn begins(n: usize, event: Bytes) -> Bytes {
    match n {
        1 => [b"retry: 200\n", &event[..]].concat().into(),
        _ => event,
    }
}
