//! What is open now, shared between the streams and the handles that the application keeps.

mod book;
mod connection;
mod drain;
mod expiry;
mod given_up;
mod label;
mod limit;
mod limit_key;
mod members;
mod profile;
mod report;
mod slots;

pub(crate) use book::{Book, Entry, Hooks, Mail, Rest};
pub use connection::{Connection, ConnectionId, ConnectionState};
pub(crate) use drain::{Drain, DrainSettings};
pub use expiry::Expiry;
pub(crate) use given_up::{give_up, was_given_up};
pub use label::{InvalidLabel, Label};
pub(crate) use limit::{Count, Limit, PerKey};
pub use limit_key::LimitKey;
pub(crate) use members::Standing;
pub(crate) use profile::Profile;
pub use report::DrainReport;
pub(crate) use slots::{AtCap, Slot, Slots};
