//! The layers: what can be asked for, in short builders.

mod close_at_end;
mod event_id;
mod keep_alive;
mod layer_setting;
mod limit;
mod no_buffer;
mod registry;
mod rotation;
mod shutdown;
mod sse;

pub use close_at_end::CloseAtEndLayer;
pub use event_id::EventIdLayer;
pub use keep_alive::KeepAliveLayer;
pub use limit::LimitLayer;
pub use no_buffer::NoBufferLayer;
pub use registry::RegistryLayer;
pub use rotation::RotationLayer;
pub use shutdown::ShutdownLayer;
pub use sse::SseLayer;
