//! The arm at the connection: what ends a stream whose body cannot.
//!
//! A server asks a body for more only while its client takes what was sent. So a connection whose
//! client has stopped reading is ended here, below the server, and with it whatever streams it
//! carries. Connections learn of a drain as streams do: they are on a list of those who are woken
//! by its trigger, and from then on each keeps its own time.

mod error;
mod guarded;
#[cfg(feature = "axum")]
mod listener;
mod side;
#[cfg(feature = "axum")]
mod tcp;

pub use error::GuardError;
pub use guarded::Guarded;
#[cfg(feature = "axum")]
pub use listener::{GuardedListener, Listening};
#[cfg(feature = "axum")]
pub use tcp::TcpOptions;
