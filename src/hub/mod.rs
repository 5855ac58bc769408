//! One event to many clients: a [`Hub`] publishes into a log and makes responses that follow it.
//!
//! What a client missed while it was away comes first, then what is new, each event once: the
//! response reads the `Last-Event-ID` that a browser sends when it comes back.
//!
//! # Examples
//!
//! ```
//! use axum::Router;
//! use axum::extract::{Path, State};
//! use axum::http::StatusCode;
//! use axum::routing::{get, post};
//! use tower_sse::event_log::{MemoryLogError, Start, Topic};
//! use tower_sse::hub::Subscription;
//! use tower_sse::{Event, Hub, SseLayer};
//!
//! let app: Router = Router::new()
//!     .route("/orders/{id}/events", get(events))
//!     .route("/orders/{id}/pay", post(pay))
//!     .layer(SseLayer::new())
//!     .with_state(Hub::default());
//!
//! async fn events(
//!     State(hub): State<Hub>,
//!     Path(id): Path<u64>,
//!     start: Start,
//! ) -> Result<Subscription, StatusCode> {
//!     Ok(hub.subscribe(order(id)?).start(start))
//! }
//!
//! async fn pay(State(hub): State<Hub>, Path(id): Path<u64>) -> Result<(), StatusCode> {
//!     let paid = hub.publish(&order(id)?, Event::new().data("paid")).await;
//!     paid.map(drop).map_err(|_: MemoryLogError| StatusCode::SERVICE_UNAVAILABLE)
//! }
//!
//! fn order(id: u64) -> Result<Topic, StatusCode> {
//!     Topic::new(format!("orders.{id}")).map_err(|_| StatusCode::NOT_FOUND)
//! }
//! ```
//!
//! # Pages that show a state
//!
//! A page that is rendered from a state and then follows what changes it asks for the
//! [place](Hub::latest) before it reads the state, and connects to
//! `/events?last_event_id=<the place>`. So nothing is missed in between.
//!
//! # With the layers
//!
//! Put [`SseLayer`](crate::SseLayer) around it, as around any stream: it keeps it alive, and ends it
//! on a shutdown. The events have ids of the log, which an `EventIdLayer` leaves alone.

mod blocking;
mod body;
#[cfg(feature = "json")]
mod contract;
#[cfg(feature = "json")]
mod reference;
mod subscription;

use std::fmt;
use std::future::Future;

use tokio::runtime::Handle;

use crate::event_log::{EventLog, MemoryLog, Topic, Topics};
use crate::wire::{Event, EventId};

pub use blocking::PublishError;
pub use body::HubBody;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use contract::{Contract, ContractError};
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use reference::Reference;
pub use subscription::Subscription;

/// Publishes into a log, and makes responses that follow it.
///
/// Clones are handles to the same log. See the [module docs](self) for an example.
#[derive(Clone)]
pub struct Hub<L: EventLog = MemoryLog> {
    log: L,
    runtime: Option<Handle>,
}

impl<L: EventLog> Hub<L> {
    /// A hub over a log.
    ///
    /// If this is called in a Tokio runtime, the hub keeps a handle to it, for
    /// [`publish_blocking`](Self::publish_blocking).
    #[must_use]
    pub fn new(log: L) -> Self {
        Self { log, runtime: Handle::try_current().ok() }
    }

    /// Sets in which runtime [`publish_blocking`](Self::publish_blocking) has its work done.
    #[must_use]
    pub fn runtime(mut self, runtime: Handle) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// The log.
    pub fn log(&self) -> &L {
        &self.log
    }

    /// Publishes an event in a topic, and gives the id that it got.
    ///
    /// It waits for the log, and never for a client.
    ///
    /// # Errors
    ///
    /// That of the log. A [`MemoryLog`] refuses events without data, events that are too long, and
    /// topics beyond the most that there may be.
    ///
    /// # Cancellation safety
    ///
    /// A future that is dropped before it is ready may have published the event or not, but never in
    /// part or twice.
    pub fn publish(
        &self,
        topic: &Topic,
        event: Event,
    ) -> impl Future<Output = Result<EventId, L::Error>> + Send {
        self.log.append(topic, event)
    }

    /// Publishes an event from a thread that may block, with or without a runtime.
    ///
    /// With a [`MemoryLog`] it blocks on nothing, and may be called from anywhere. With other logs
    /// the work is done in the hub's runtime while this thread waits, so it must not be called from
    /// async code.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: that of the log, or that there is no runtime to do the work, or that this
    /// thread is one of a runtime and must not wait. It never panics.
    pub fn publish_blocking(
        &self,
        topic: &Topic,
        event: Event,
    ) -> Result<EventId, PublishError<L::Error>> {
        blocking::publish(&self.log, self.runtime.as_ref(), topic, event)
    }

    /// Follows topics: the beginning of a response.
    ///
    /// Nothing is followed before the [body](Subscription::into_body) or the
    /// [response](Subscription::into_response) is made.
    pub fn subscribe(&self, topics: impl Into<Topics>) -> Subscription<L> {
        Subscription::new(self.log.clone(), topics.into())
    }

    /// The place behind all that there is in these topics, for a page that is rendered now and
    /// follows later.
    ///
    /// # Errors
    ///
    /// That of the log, when it does not know. A [`MemoryLog`] always knows.
    pub async fn latest(&self, topics: impl Into<Topics> + Send) -> Result<EventId, L::Error> {
        self.log.latest(&topics.into()).await
    }
}

impl Default for Hub {
    /// A hub over a [`MemoryLog`] with its defaults.
    fn default() -> Self {
        Self::new(MemoryLog::new())
    }
}

impl<L: EventLog> fmt::Debug for Hub<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}
