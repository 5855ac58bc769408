#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod engine;
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub mod hub;
mod invalid_setting;
mod layer;
mod live;
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub mod log;
mod plan;
mod registry;
mod service;
mod shutdown;
mod stream;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
pub mod wire;

pub use body::SseBody;
pub use engine::{EndReason, Farewell};
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub use hub::Hub;
pub use invalid_setting::InvalidSetting;
pub use layer::{
    EventIdLayer, InvalidComment, KeepAliveLayer, NoBufferLayer, RegistryLayer, ShutdownLayer,
    SseLayer,
};
pub use live::{Connection, ConnectionId, ConnectionState, DrainReport, InvalidLabel, Label};
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub use log::{EventLog, MemoryLog};
pub use registry::{Delivery, Registry, RegistryBuilder, SendError};
pub use service::{SseFuture, SseService};
pub use shutdown::{Shutdown, ShutdownBuilder};
