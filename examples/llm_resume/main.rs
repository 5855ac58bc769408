//! A slow generated answer over POST that goes on while nobody reads it.
//!
//! ```text
//! cargo run --example llm_resume
//! curl -N -X POST -b session=me 127.0.0.1:3000/answers/1
//! curl -N -X POST -b session=me -H "Last-Event-ID: <an id>" 127.0.0.1:3000/answers/1
//! ```
//!
//! Ask on the page, close the tab, and open it again: the answer is where it was, and what was said
//! meanwhile is there at once. The handler is called once for an answer. Ctrl-c ends it with the
//! server, which says so.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::http::header::COOKIE;
use axum::http::request::Parts;
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt, stream};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_sse::resume::ResumeKey;
use tower_sse::{ResumeLayer, Shutdown, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let shutdown = Shutdown::new();
    let app = app(&shutdown);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(shutdown.listen(listener), app)
        .with_graceful_shutdown(shutdown.on_signals())
        .await?;
    Ok(())
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
        .route("/", get(async || Html(include_str!("page.html")).into_response()))
}

/// Which answer, and whose. A real application signs its users in, and takes the user from there.
fn key(request: &Parts) -> Option<ResumeKey> {
    let cookies = request.headers.get(COOKIE)?.to_str().ok()?;
    let session = cookies.split("; ").find_map(|cookie| cookie.strip_prefix("session="))?;
    Some(ResumeKey::new(request.uri.path(), session))
}

/// Stands for a model: a word at a time, and no idea of who reads it.
///
/// It is called again for an answer that is not known any more. So its first event has a page drop
/// what it has of an earlier one.
async fn answer() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let begin = stream::iter([Ok(Event::default().event("begin").data("{}"))]);
    let words = stream::iter(ANSWER.split(' ').enumerate()).then(async |(n, word)| {
        sleep(Duration::from_millis(250)).await;
        Ok(Event::default().data(if n == 0 { word.to_owned() } else { format!(" {word}") }))
    });
    Sse::new(begin.chain(words).boxed())
}

const ANSWER: &str = "An answer is a stream of words, and a stream is longer than a connection. A tab \
    is closed, a train enters a tunnel, a laptop sleeps: the words go on, and wait. Who comes back \
    says which word was the last, and reads on from there, without one lost and without one twice.";
