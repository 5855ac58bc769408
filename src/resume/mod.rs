//! Streams that clients can come back to, without any work of the handler.
//!
//! [`ResumeLayer`](crate::ResumeLayer) has a task read the body of a response into a log, and sends
//! the client the log. A client that disconnects does not end the stream: it comes back with the id
//! of the last event that it saw, in `Last-Event-ID` or in `?last_event_id=`, and gets the events
//! that it missed and the events that follow. The handler is not called again.
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
//! use tower_sse::ResumeLayer;
//! use tower_sse::resume::ResumeKey;
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
//! # Which part of a stream is stored
//!
//! The events: name, data and `retry`. The layer's ids replace those of the handler; they are
//! opaque, and at most 64 bytes long with a [`MemoryLog`](crate::event_log::MemoryLog). Comments
//! and trailers are not stored. A client that comes back gets the status and the headers of the
//! first response, without `Set-Cookie` and `Date`. Responses to HEAD, errors, and bodies that are
//! no event streams pass as they are.
//!
//! # Which client can resume a stream
//!
//! A stream is found by its random name, which is in the id, *and* by its [`ResumeKey`]. A client
//! with the id of another principal's stream gets the answer to a request without an id: the
//! handler is called. The same holds for an id that is unknown, malformed, forgotten, or of an
//! earlier process. Several clients may read a stream at a time. With
//! [`ResumeLayer::join`](crate::ResumeLayer::join) a client without an id joins the stream of its
//! key that runs, and [`ResumeHandle::list`] shows what runs for a principal.
//!
//! # The life of a stream
//!
//! ```text
//! POST ── handler ──▶ runs ◀── clients read, leave, come back by an id, join without one
//!                      │
//!                      ├── the body comes to its end ──▶ finished ─┐
//!                      ├── somebody stops it ──────────▶ stopped ──┤ the rest can be had
//!                      ├── the body fails ─────────────▶ failed ───┘ for `remember`
//!                      ├── nobody reads for `linger`, or the server drains ──▶ abandoned
//!                      ├── its node dies ──▶ its readers at other nodes are told after `lease`
//!                      └── an event cannot be kept ──▶ only the clients that are there go on
//! ```
//!
//! | the handler's body | last event of the stream | answer to a client with the last id |
//! | --- | --- | --- |
//! | comes to its end | the body's last event, or [`close`](crate::ResumeLayer::close_event) if that is set | [`Finished`], without a call of the handler |
//! | is [stopped](ResumeHandle::stop) | `close` with `{"reason":"stopped"}` | [`Finished`], without a call of the handler |
//! | fails, or panics | `close` with `{"reason":"error"}` | a new stream |
//! | has no reader for the [`linger`](crate::ResumeLayer::linger), or when the server drains | | a new stream |
//! | goes with its node, for readers at [other nodes](crate::ResumeLayer::other_nodes) | `close` with `{"reason":"error"}`, without an id, after the [`lease`](crate::ResumeLayer::lease) | a new stream |
//! | has an event that is too long, see [below](#events-that-are-not-kept) | the body's last event | a new stream |
//!
//! These are the words of [`Dialect::event_source`](crate::Dialect::event_source). On a route with
//! another [`Dialect`](crate::Dialect) they are in its words, with an id where the others have one:
//! an answer of a language model that fails ends with the error that its SDK raises. The dialect is
//! that of the request that began the stream, and for readers at other nodes that of their own. A
//! failure that a dialect passes on is told as by default, since a log cannot fail.
//!
//! A stop is told from a disconnect: only [`ResumeHandle::stop`] and the [`StopService`] stop a
//! stream, on whichever node it runs. A handler that has not answered yet has no stream, and ends
//! with its request.
//!
//! A client with an earlier id gets the rest of the stream first, as long as the layer
//! [remembers](crate::ResumeLayer::remember) it. If the log has dropped all of the rest, the client
//! gets a `gap` and the end. The end of a stream that failed is not remembered, because another try
//! may succeed. The body is dropped when it ends.
//!
//! If a log does not take an event, the layer tries again for the linger; then clients get `close`
//! with `{"reason":"error"}`. If the log took an event although it returned an error, for example
//! because the answer of a broker was lost, the layer finds the event and does not append it again.
//! An event that was on its way to the broker at that time, and arrived later, is stored twice: a
//! client that reads on gets it once, and a client that comes back just between the two gets it
//! again.
//!
//! # Panics of the application's code
//!
//! A log that panics is taken for one that returned an error. A client whose follower panics gets
//! `close` with `{"reason":"error"}`, and other clients of the stream read on. A function of the
//! layer's settings that panics is taken for one that returned nothing. So no panic ends another
//! stream, and none leaves a stream in the layer that has ended.
//!
//! # Events that are not kept
//!
//! An event that is longer than [`buffer_bytes`](crate::ResumeLayer::buffer_bytes), or that the log
//! never takes because it is too long, ends no stream: the clients that are there get it and all
//! that follows, as it comes out of the handler, without the layer's ids. From then on the stream
//! cannot be resumed, joined, or read at other nodes, where clients get `close` with
//! `{"reason":"error"}`. It ends with its last client, or when it is stopped. If no client is there
//! when the event comes, the stream fails.
//!
//! Such streams, and those for which the layer has no room, are counted in
//! `tower_sse_not_resumable_total`, see [`observe`](crate::observe).
//!
//! # Several nodes
//!
//! With a [`log`](crate::ResumeLayer::log) that nodes share and
//! [`other_nodes`](crate::ResumeLayer::other_nodes) a client resumes, joins, lists and stops
//! streams at any node. An id that a client made up costs one look into the log, which registers
//! nothing and leaves nothing behind. It costs less than the call of the handler that follows,
//! which is why ids are not signed and nodes need no secret that they share.
//!
//! # With other layers
//!
//! This layer has to be the innermost one, except for an [`EarlyHeadLayer`](crate::EarlyHeadLayer),
//! whose wait is a part of the stream that is kept, and whose late error is a failure of it. Layers
//! around it (keepalives, registry, shutdown) act on the stream of a client. When they end it, the
//! handler's stream goes on until the linger is over.
//!
//! Two of them act on the handler's stream, too. A [`Limit`](crate::Limit) counts a handler's
//! stream as long as it runs, with its client or without; a client that comes back to it takes no
//! second place. A [`Shutdown`](crate::Shutdown) ends it when the drain has begun and its last
//! client has left, or, if clients may read it at [other nodes](crate::ResumeLayer::other_nodes), a
//! moment before the drain's deadline. The drain is not over before the log says so.
//!
//! Layers inside act on the handler's stream: their keepalives are comments, and reach no client.
//! Of the layers around this one they know the dialect only.
//!
//! A [`DialectLayer`](crate::DialectLayer) stands around this layer, as the others do. One inside
//! is known for the streams that begin here, but a client that comes back is refused, and told of a
//! drain, in the words of the layers around.
//!
//! The service needs a Tokio runtime to be called in. Without one, streams pass as they are.

mod answers;
mod body;
mod caught;
mod directory;
mod elsewhere;
mod ending;
mod handle;
mod head;
mod key;
// The root exports the layer.
pub(crate) mod layer;
mod lookup;
mod node_task;
mod nodes;
mod orders;
mod parser;
mod passing;
mod pump;
mod reader;
mod record;
mod remote;
mod resumer;
mod service;
mod session;
mod sessions;
mod settings;
mod stop;
mod token;
mod writer;

pub use body::ResumeBody;
pub use handle::{HandleError, ResumeHandle, RunningStream};
pub use key::ResumeKey;
pub use service::{ResumeFuture, ResumeService};
pub use settings::{Finished, Join};
pub use stop::{StopFuture, StopService};
