//! A slow generated answer over POST that goes on while nobody reads it.
//!
//! ```text
//! cargo run --example llm_resume
//! curl -N -X POST -b session=me 127.0.0.1:3000/answers/1
//! curl -N -X POST -b session=me -H "Last-Event-ID: <an id>" 127.0.0.1:3000/answers/1
//! curl -N -b session=me 127.0.0.1:3000/answers/1
//! curl -b session=me 127.0.0.1:3000/answers
//! curl -X DELETE -b session=me 127.0.0.1:3000/answers/1
//! ```
//!
//! Ask on the page, close the tab, and open it again: the answer is where it was, and what was said
//! meanwhile is there at once. The handler is called once for an answer. A GET joins an answer that
//! runs without an id, a list says what runs, and a DELETE stops it for all its readers. A question
//! with "fail" in it fails on the way, and ctrl-c ends it with the server: the page says which it
//! was.

#[path = "../shared/mod.rs"]
mod shared;

use std::error::Error;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{COOKIE, HeaderMap};
use axum::http::request::Parts;
use axum::response::Html;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::sleep;
use tower_sse::resume::{Join, ResumeHandle, ResumeKey, RunningStream};
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
        .close_event(Duration::from_secs(20))
        .join(Join::FromBeginning);
    let (running, stop) = (resume.handle(), resume.stop_service());
    let nothing_runs = async || StatusCode::NO_CONTENT;
    Router::new()
        .route("/answers/{id}", post(answer).get(nothing_runs).delete_service(stop))
        // The innermost: keepalives and the shutdown are for whoever reads.
        .layer(resume)
        .layer(SseLayer::new().shutdown(shutdown.clone()))
        .route("/answers", get(list))
        .with_state(running)
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

/// Stands for a model: a word at a time, and no idea of who reads it.
///
/// It is called again for an answer that is not known any more. So its first event has a page drop
/// what it has of an earlier one.
async fn answer(question: String) -> Sse<impl Stream<Item = io::Result<Event>>> {
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
    Sse::new(stream::iter([Ok(begin)]).chain(words))
}

/// A line for each answer of this user that runs.
async fn list(State(running): State<ResumeHandle>, headers: HeaderMap) -> Result<String, String> {
    let user = session(&headers).unwrap_or_default();
    let streams = running.list(user).await.map_err(|error| error.to_string())?;
    let line = |stream: &RunningStream| {
        let age = stream.since().elapsed().unwrap_or_default().as_secs();
        let readers = stream.readers().unwrap_or_default();
        format!("{} for {age} s, {readers} readers\n", stream.key().stream())
    };
    Ok(streams.iter().map(line).collect())
}

const ANSWER: &str = "An answer is a stream of words, and a stream is longer than a connection. A tab \
    is closed, a train enters a tunnel, a laptop sleeps: the words go on, and wait. Who comes back \
    says which word was the last, and reads on from there, without one lost and without one twice.";
