//! What is open now, shared between the streams and the handles that the application keeps.

mod drain;
mod expiry;
mod given_up;
mod label;
mod limit;
mod limit_key;
mod members;
mod registry;
mod report;
mod slots;
mod stream_info;
mod stream_stats;

pub(crate) use drain::{Drain, DrainSettings};
pub use expiry::Expiry;
pub(crate) use given_up::{give_up, was_given_up};
pub use label::{InvalidLabel, Label};
pub(crate) use limit::{Count, Limit, PerKey};
pub use limit_key::LimitKey;
pub(crate) use members::Standing;
pub(crate) use registry::{Hooks, Mail, RegistryEntry, RegistryInner, Rest};
pub use report::DrainReport;
pub(crate) use slots::{AtCap, Slot, Slots};
pub use stream_info::{StreamId, StreamInfo, StreamState};
pub(crate) use stream_stats::StreamStats;
