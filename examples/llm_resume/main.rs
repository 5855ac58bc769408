//! A slow generated answer over POST that goes on while nobody reads it.
//!
//! ```text
//! cargo run --example llm_resume
//! curl -N -X POST -b session=me 127.0.0.1:3000/answers/1
//! curl -N -X POST -b session=me -H "Last-Event-ID: <an id>" 127.0.0.1:3000/answers/1
//! ```
//!
//! Ask on the page, close the tab, and open it again: the answer is where it was, and what was said
//! meanwhile is there at once. The handler is called once for an answer. Stop ends it for all its
//! readers, a question with "fail" in it fails on the way, and ctrl-c ends it with the server: the page
//! says which it was.

#[path = "../shared/mod.rs"]
mod shared;

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{COOKIE, HeaderMap};
use axum::http::request::Parts;
use axum::http::{StatusCode, Uri};
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::watch;
use tokio::time::sleep;
use tower_sse::resume::ResumeKey;
use tower_sse::{ResumeLayer, Shutdown, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shutdown = Shutdown::new();
    shared::serve(app(&shutdown), shutdown).await
}

fn app(shutdown: &Shutdown) -> Router {
    let resume = ResumeLayer::new(key)
        // Long enough to find the tab again. A model is not paid for longer than that for nobody.
        .linger(Duration::from_secs(120))
        .close_event(Duration::from_secs(20));
    Router::new()
        .route("/answers/{id}", post(answer))
        // The innermost: keepalives and the shutdown are for whoever reads.
        .layer(resume)
        .layer(SseLayer::new().shutdown(shutdown.clone()))
        .route("/answers/{id}/stop", post(stop))
        .with_state(Asked::default())
        .route("/", get(async || Html(include_str!("page.html"))))
}

/// Which answer, and whose.
fn key(request: &Parts) -> Option<ResumeKey> {
    Some(ResumeKey::new(request.uri.path(), session(&request.headers)?))
}

/// A real application signs its users in, and takes the user from there.
fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?;
    cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))
}

/// The answers that are being made, and how each is stopped.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<HashMap<String, watch::Sender<bool>>>>);

impl Asked {
    fn begin(&self, key: String) -> watch::Receiver<bool> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody listens to are over.
        asked.retain(|_, stop| !stop.is_closed());
        let (stop, stopped) = watch::channel(false);
        asked.insert(key, stop);
        stopped
    }

    fn stop(&self, key: &str) -> bool {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(key).is_some_and(|stop| stop.send(true).is_ok())
    }
}

/// Stands for a model: a word at a time, and no idea of who reads it.
///
/// It is called again for an answer that is not known any more. So its first event has a page drop
/// what it has of an earlier one.
async fn answer(
    State(asked): State<Asked>,
    uri: Uri,
    headers: HeaderMap,
    question: String,
) -> Sse<impl Stream<Item = io::Result<Event>>> {
    let mut stop = asked.begin(name(uri.path(), &headers));
    let stopped = stop.clone();
    let fails = question.contains("fail");

    let begin = Event::default().event("begin").data("{}");
    let words = stream::iter(ANSWER.split(' ').enumerate()).then(move |(n, word)| async move {
        sleep(Duration::from_millis(250)).await;
        match n {
            0 => Ok(Event::default().data(word)),
            12 if fails => Err(io::Error::other("the model has lost its thread")),
            _ => Ok(Event::default().data(format!(" {word}"))),
        }
    });
    let words = words.take_until(async move { stop.wait_for(|stop| *stop).await.is_ok() });
    let end = stream::once(async move {
        stopped.borrow().then(|| Ok(Event::default().event("stopped").data("{}")))
    });
    let begin = stream::iter([Ok(begin)]);
    Sse::new(begin.chain(words).chain(end.filter_map(async |end| end)).boxed())
}

/// Nobody pays for the rest. All that read the answer are told, in its stream.
async fn stop(
    State(asked): State<Asked>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> StatusCode {
    match asked.stop(&name(&format!("/answers/{id}"), &headers)) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::NOT_FOUND,
    }
}

fn name(path: &str, headers: &HeaderMap) -> String {
    format!("{} {path}", session(headers).unwrap_or_default())
}

const ANSWER: &str = "An answer is a stream of words, and a stream is longer than a connection. A tab \
    is closed, a train enters a tunnel, a laptop sleeps: the words go on, and wait. Who comes back \
    says which word was the last, and reads on from there, without one lost and without one twice.";
