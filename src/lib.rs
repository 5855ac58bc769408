//! Tower layers for responses that stay open: Server-Sent Events, NDJSON and gRPC streams, in axum,
//! hyper and tonic.
//!
//! They wrap any streaming body, made by a handler or passed on by a proxy. They write keepalives
//! between its events, ask proxies not to buffer, give events ids, list the streams that are open,
//! limit how many there are, and end each with a last event when the server shuts down.
//!
//! # Examples
//!
//! With the feature `axum`. Ctrl-c ends each stream after a whole event, and then the process:
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use tower_sse::{Shutdown, SseLayer};
//!
//! # #[cfg(feature = "axum")]
//! # #[tokio::main] async fn main() -> std::io::Result<()> {
//! let shutdown = Shutdown::new();
//! let app = Router::new()
//!     .route("/events", get(events))
//!     .layer(SseLayer::new().shutdown(shutdown.clone()));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(shutdown.listen(listener), app)
//!     .with_graceful_shutdown(shutdown.on_signals())
//!     .await
//! # }
//! # #[cfg(not(feature = "axum"))] fn main() {}
//! # async fn events() {}
//! ```
//!
//! # Where to read on
//!
//! - [`manual`]: what to do, task by task, from the first endpoint to Kubernetes, and from a
//!   symptom to its cause.
//! - [`SseLayer`]: all layers in one, and which responses are streams.
//! - [`Shutdown`]: how a server ends its streams.
//! - [`Hub`] and [`event_log`]: one event to many clients.
//! - [`resume`]: answers to which a client can come back.
//! - [`client`]: the script for pages.
//! - [`observe`]: metrics and traces.
//! - [`testing`]: tests of your own streams.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `signal` | on | [`Shutdown::on_signals`]: SIGTERM and ctrl-c |
//! | `axum` | off | [`Shutdown::listen`]: connections of `axum::serve` that end by the deadline; handlers take a [`Start`](event_log::Start) and return a [`Subscription`](hub::Subscription) |
//! | `client` | off | the module [`client`]: the script for pages, served by the application |
//! | `hub` | off | [`Hub`], [`EventLog`](event_log::EventLog) and [`MemoryLog`](event_log::MemoryLog) |
//! | `json` | off | [`Event::json`]: events whose data is a value, serialised by serde |
//! | `metrics` | off | counts and times of all streams, for any recorder of the `metrics` facade |
//! | `nats` | off | [`NatsLog`](event_log::NatsLog), with `hub` |
//! | `nats-nkeys` | off | signing in to NATS with a key pair or a credentials file |
//! | `nats-tls` | off | NATS servers that ask for TLS; it builds `ring` |
//! | `postgres` | off | [`PostgresLog`](event_log::PostgresLog), with `hub`; TLS is given by the application |
//! | `redis` | off | [`RedisLog`](event_log::RedisLog), with `hub` |
//! | `redis-sentinel` | off | the address of a Redis that Sentinel names, with `redis` |
//! | `redis-tls` | off | `rediss://`: Redis servers that ask for TLS, with `redis` |
//! | `resume` | off | [`ResumeLayer`], with `hub` |
//! | `schema` | off | [`Reference`](hub::Reference): TypeScript, JSON Schema and OpenAPI of typed events, with `hub` and `json` |
//! | `serde` | off | `Serialize` for [`StreamInfo`], [`DrainReport`], [`Delivery`] and the types in them |
//! | `testing` | off | the module [`testing`]: a body that a test feeds, and a client that reads; with `hub`, the [contract of a log](event_log::contract) as checks |
//! | `tonic` | off | tonic's `Connected` for guarded connections |
//! | `tracing` | off | a span for each stream, and events of drains |
//!
//! The layers depend on no framework; axum and tonic are dependencies of their features only.
//! Streams with a keepalive or a drain need a Tokio runtime with its timer.

#![cfg_attr(docsrs, feature(doc_cfg))]
// The documentation is made with all features, and names what some of them add.
#![cfg_attr(not(feature = "axum"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(feature = "axum")]
mod axum_impls;
mod body;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
mod dialect;
mod driver;
mod early_head;
mod engine;
mod error;
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub mod event_log;
mod guard;
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub mod hub;
mod layer;
mod limit;
#[cfg(any(doc, doctest))]
pub mod manual;
pub mod observe;
mod plan;
mod readiness;
mod registry;
#[cfg(feature = "resume")]
#[cfg_attr(docsrs, doc(cfg(feature = "resume")))]
pub mod resume;
mod roster;
#[cfg(feature = "serde")]
mod serialize;
mod service;
mod shutdown;
mod state;
mod static_body;
#[cfg(test)]
mod support;
mod sync;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;
pub mod wire;

pub use body::SseBody;
pub use dialect::{Dialect, DialectBuilder, JsonRpcId, Notice};
pub use early_head::{EarlyHead, EarlyHeadBody, EarlyHeadFuture, EarlyHeadLayer};
pub use engine::{EndReason, Farewell};
pub use error::{InvalidSetting, InvalidText};
pub use guard::{GuardError, Guarded};
#[cfg(feature = "axum")]
pub use guard::{GuardedListener, Listening, TcpOptions};
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub use hub::publish::Hub;
pub use layer::{
    CloseAtEndLayer, DialectLayer, EventIdLayer, KeepAliveLayer, LimitLayer, NoBufferLayer,
    RegistryLayer, RotationLayer, ShutdownLayer, SseLayer,
};
pub use limit::{Limit, LimitBuilder};
pub use readiness::Readiness;
pub use registry::{Delivery, Registry, RegistryBuilder, SendError};
#[cfg(feature = "resume")]
#[cfg_attr(docsrs, doc(cfg(feature = "resume")))]
pub use resume::layer::ResumeLayer;
pub use service::{SseFuture, SseService};
pub use shutdown::{PreStop, PreStopFuture, Shutdown, ShutdownBuilder};
pub use state::{DrainReport, Expiry, Label, LimitKey, StreamId, StreamInfo, StreamState};
pub use static_body::StaticBody;
pub use wire::close_reason::CloseReason;
pub use wire::event::Event;
pub use wire::text::{Comment, EventId, EventName};

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
