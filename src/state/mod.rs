//! State that streams share with the handles of the application: registries, drains and limits.

mod connection_failure;
mod drain;
mod expiry;
mod key_holders;
mod limit;
mod limit_key;
mod permits;
mod registry;
mod schedule;
mod stream_info;
mod stream_stats;
mod tally;

pub(crate) use connection_failure::connection_failed_just_now;
pub(crate) use drain::Drain;
#[cfg(feature = "resume")]
pub(crate) use drain::DrainHold;
pub use expiry::Expiry;
pub(crate) use limit::{CappedKey, LimitInner, LimitSettings, PerKey};
pub use limit_key::LimitKey;
#[cfg(feature = "resume")]
pub(crate) use permits::PermitLender;
pub(crate) use permits::{AtCap, Permit, PermitClaim, Permits};
pub(crate) use registry::{Hooks, Mail, RegistryEntry, RegistryInner, Rest};
pub(crate) use schedule::DrainSettings;
pub use stream_info::{Label, StreamId, StreamInfo, StreamState};
pub(crate) use stream_stats::StreamStats;
pub use tally::DrainReport;
pub(crate) use tally::DrainStatus;
