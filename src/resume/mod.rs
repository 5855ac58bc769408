//! Streams that a client can come back to, whatever their handler knows of it.
//!
//! [`ResumeLayer`] has the body of a response read by a task, into a log, and the client reads out of
//! the log. A client that is gone does not end the stream: it comes back with the id of the last
//! event that it saw, in `Last-Event-ID` or in `?last_event_id=`, and gets what it missed and what
//! comes. The handler is not called for it.
//!
//! # Examples
//!
//! ```
//! use std::convert::Infallible;
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::body::Body;
//! use axum::extract::Request;
//! use axum::http::request::Parts;
//! use axum::response::sse::{Event, Sse};
//! use axum::routing::post;
//! use futures_util::{Stream, stream};
//! use http_body_util::BodyExt;
//! use tower::ServiceExt;
//! use tower_sse::resume::{ResumeKey, ResumeLayer};
//!
//! async fn answer() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
//!     Sse::new(stream::iter(["one", "two"].map(|word| Ok(Event::default().data(word)))))
//! }
//!
//! fn key(request: &Parts) -> Option<ResumeKey> {
//!     let user = request.headers.get("x-user")?.to_str().ok()?;
//!     Some(ResumeKey::new(request.uri.path(), user))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let resume = ResumeLayer::new(key).linger(Duration::from_secs(60));
//! let app: Router = Router::new().route("/answer", post(answer)).layer(resume);
//! let ask = || Request::post("/answer").header("x-user", "ann");
//!
//! let first = app.clone().oneshot(ask().body(Body::empty())?).await?;
//! let frame = first.into_body().frame().await.ok_or("an event")??;
//! let text = String::from_utf8(frame.into_data().map_err(|_| "data")?.to_vec())?;
//! let (event, id) = text.trim_end().split_once("\nid: ").ok_or("an id")?;
//! assert_eq!(event, "data: one");
//!
//! // The client is gone, and comes back.
//! let again = app.oneshot(ask().header("last-event-id", id).body(Body::empty())?).await?;
//! let rest = again.into_body().collect().await?.to_bytes();
//! assert!(rest.starts_with(b"data: two\nid: "));
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept of a stream
//!
//! Its events: name, data and `retry`. Their ids are the layer's, which replace those of the handler;
//! ids are opaque, and at most 64 bytes with a [`MemoryLog`](crate::event_log::MemoryLog). Comments go no further,
//! nor do trailers. A client that comes back gets the status and the headers of the first response,
//! without `Set-Cookie` and `Date`. HEAD, errors, and what is not an event stream pass as they are.
//!
//! # Whose stream it is
//!
//! A stream is found by its random name, in the id, *and* by its [`ResumeKey`]: so the id of another
//! principal's stream is as good as none. The handler is called, and the answer is that of a request
//! without an id. The same holds for ids that are unknown, malformed, forgotten, or of an earlier
//! process. A client that asks without an id gets a new stream. Several clients may read one at a time.
//!
//! # How a stream ends
//!
//! | the handler's body | what a client reads last | a client that comes back with its id |
//! | --- | --- | --- |
//! | comes to its end | the last event, or [`close`](ResumeLayer::close_event) if that is set | is told that it is [`Finished`], and the handler is not called |
//! | fails, panics, or has an event that is too long | `close` with `{"reason":"error"}` | gets a new stream |
//! | has had no reader for the [`linger`](ResumeLayer::linger) | | gets a new stream |
//!
//! A client with an earlier id gets the rest first, as long as the stream is
//! [remembered](ResumeLayer::remember); if its log has forgotten all of that, a gap and the end. A
//! failure is not remembered as an end, since to try again may help. The body is dropped as soon as it has ended.
//!
//! If a log does not take an event, it is asked again for the time of the linger; then readers are sent
//! `close` with `{"reason":"error"}`. An event that the log took though it said no, as when a broker's
//! answer was lost, is found there and not appended again. One that was still on its way to the broker
//! when it was looked for, and came there afterwards, is there twice: who reads on gets it once, and a
//! client that came back just between the two gets it again.
//!
//! # With the other layers
//!
//! This is to be the innermost: keepalives, the registry and the shutdown are for the client's
//! stream, and stand around it. What they end is the reading; the stream itself lives until its linger
//! is over or the process ends. Layers further in look after the handler's stream, on their own:
//! keepalives that they write are comments, and reach no client.
//!
//! The service needs a Tokio runtime to be called in; without one, streams pass as they are.

mod body;
mod elsewhere;
mod head;
mod kept;
mod key;
mod layer;
mod mark;
mod reader;
mod service;
mod settings;
mod shared;
mod streams;
mod taken;
mod task;
mod token;
mod writer;

pub use body::ResumeBody;
pub use key::ResumeKey;
pub use layer::ResumeLayer;
pub use service::{ResumeFuture, ResumeService};
pub use settings::Finished;
