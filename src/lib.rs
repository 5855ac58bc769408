// Its examples use what these features add, and are no tests without.
#![cfg_attr(
    any(not(doctest), all(feature = "axum", feature = "client", feature = "redis", feature = "resume")),
    doc = include_str!("../README.md")
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// The documentation is made with all features, and names what some of them add.
#![cfg_attr(not(feature = "axum"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(feature = "axum")]
mod axum_impls;
mod body;
#[cfg(feature = "client")]
#[cfg_attr(docsrs, doc(cfg(feature = "client")))]
pub mod client;
mod driver;
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
pub mod wire;

pub use body::SseBody;
pub use engine::{EndReason, Farewell};
pub use error::{InvalidSetting, InvalidText};
pub use guard::{GuardError, Guarded};
#[cfg(feature = "axum")]
pub use guard::{GuardedListener, Listening, TcpOptions};
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub use hub::publish::Hub;
pub use layer::{
    CloseAtEndLayer, EventIdLayer, KeepAliveLayer, LimitLayer, NoBufferLayer, RegistryLayer,
    RotationLayer, ShutdownLayer, SseLayer,
};
pub use limit::{Limit, LimitBuilder};
pub use readiness::Readiness;
pub use registry::{Delivery, Registry, RegistryBuilder, SendError};
#[cfg(feature = "resume")]
#[cfg_attr(docsrs, doc(cfg(feature = "resume")))]
pub use resume::layer::ResumeLayer;
pub use service::{SseFuture, SseService};
pub use shutdown::{Shutdown, ShutdownBuilder};
pub use state::{DrainReport, Expiry, Label, LimitKey, StreamId, StreamInfo, StreamState};
pub use static_body::StaticBody;
pub use wire::event::Event;
pub use wire::text::{Comment, EventId, EventName};
