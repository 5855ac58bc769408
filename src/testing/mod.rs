//! Tests of streams: a body that a test feeds, and a client that reads: feature `testing`.
//!
//! A [`Source`] is the hand that feeds the body of a handler, and a [`Reader`] reads what comes out
//! of the layers, as a browser does. With Tokio's paused clock a test of a keepalive, a rotation or
//! a drain takes no time, and does not depend on how busy the machine is.
//!
//! # Examples
//!
//! ```
//! use std::future::ready;
//!
//! use http::Request;
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_sse::testing::{Reader, Source};
//! use tower_sse::{EventIdLayer, Shutdown, SseLayer};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (source, body) = Source::new();
//! let mut response = Some(body.into_response());
//! let shutdown = Shutdown::new();
//! let service = ServiceBuilder::new()
//!     .layer(SseLayer::new().event_ids(EventIdLayer::sequential()).shutdown(shutdown.clone()))
//!     .service_fn(move |_: Request<()>| ready(response.take().ok_or("one request only")));
//! let mut client = Reader::of(service.oneshot(Request::new(())).await?);
//!
//! // An event that is not whole waits for its end.
//! source.send("data: hel");
//! assert!(client.ready().await.is_empty());
//! source.send("lo\n\n");
//! let event = client.next().await.ok_or("an event")?;
//! assert_eq!((&*event.data, &*event.last_event_id), ("hello", "1"));
//!
//! // In a drain the client is told, after a whole event, and the handler's body is dropped.
//! source.send("data: half of an event");
//! shutdown.trigger();
//! let rest = client.rest().await;
//! assert_eq!((&*rest[0].event, &*rest[0].last_event_id), ("close", "1"));
//! assert_eq!(client.partial_frames(), 0);
//! assert!(source.is_dropped());
//! # Ok(())
//! # }
//! ```

mod reader;
mod source;

pub use reader::{End, Reader};
pub use source::{Source, SourceBody, SourceError};
