//! One event to many clients: a [`Hub`](crate::Hub) publishes into a log and makes responses that
//! follow it.
//!
//! A response first has the events that its client missed, and then the events that are published,
//! each once: it reads the `Last-Event-ID` that a browser sends when it comes back.
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
//!     .route("/news", get(news))
//!     .route("/orders/{id}/events", get(events))
//!     .route("/orders/{id}/pay", post(pay))
//!     .layer(SseLayer::new())
//!     .with_state(Hub::default());
//!
//! // A literal is checked when the program is built.
//! const NEWS: Topic = Topic::from_static("news");
//!
//! async fn news(State(hub): State<Hub>, start: Start) -> Subscription {
//!     hub.subscribe(NEWS).start(start)
//! }
//!
//! async fn events(
//!     State(hub): State<Hub>,
//!     Path(id): Path<String>,
//!     start: Start,
//! ) -> Result<Subscription, StatusCode> {
//!     Ok(hub.subscribe(order(&id)?).start(start))
//! }
//!
//! async fn pay(State(hub): State<Hub>, Path(id): Path<String>) -> Result<(), StatusCode> {
//!     let paid = hub.publish(&order(&id)?, Event::new().data("paid")).await;
//!     paid.map(drop).map_err(|_: MemoryLogError| StatusCode::SERVICE_UNAVAILABLE)
//! }
//!
//! /// Text of a request is checked when it becomes a topic.
//! fn order(id: &str) -> Result<Topic, StatusCode> {
//!     Topic::new(format!("orders.{id}")).map_err(|_| StatusCode::NOT_FOUND)
//! }
//! ```
//!
//! # Pages that show a state
//!
//! A page that shows a state and follows its changes must not miss a change between the two. Read
//! the [latest position](crate::Hub::latest) first, then the state, and have the page connect to
//! the address of a [`StreamLink`], which has the position in it. Or let the state come through the
//! stream: a [`Snapshot`] is sent to a client that is new or has lost events.
//!
//! # Slow clients and several topics
//!
//! A [`Conflation`] leaves out what a client that lags need not have.
//! [`RequestedTopics`] are topics that a client names itself, and
//! [`Subscription::name_by_topic`] tells it of which topic an event is.
//!
//! # Topics that are over
//!
//! When nothing more will come of a topic, such as an order that was delivered or a job that is
//! done, [`Hub::finish`](crate::Hub::finish) tells its clients, ends their streams, and has those
//! that come back answered 204.
//!
//! # With the layers
//!
//! Put [`SseLayer`](crate::SseLayer) around the route, as for any stream: it keeps the stream alive
//! and ends it on a shutdown. An `EventIdLayer` leaves the ids alone, because the log gives each
//! event one.

mod blocking;
mod body;
mod conflation;
#[cfg(feature = "json")]
mod contract;
mod link;
mod names;
mod opening;
mod options;
mod passing;
// The root exports the hub.
pub(crate) mod publish;
#[cfg(feature = "schema")]
mod reference;
mod requested;
mod requested_topic;
mod response;
mod snapshot;
mod subscription;

pub use body::HubBody;
pub use conflation::Conflation;
#[cfg(feature = "json")]
#[cfg_attr(docsrs, doc(cfg(feature = "json")))]
pub use contract::{Contract, ContractError};
pub use link::StreamLink;
pub use publish::PublishError;
#[cfg(feature = "schema")]
#[cfg_attr(docsrs, doc(cfg(feature = "schema")))]
pub use reference::Reference;
pub use requested::{RequestedTopics, TopicsRefusal};
pub use requested_topic::RequestedTopic;
pub use snapshot::{Snapshot, SnapshotRequest};
pub use subscription::Subscription;
