//! What is open now, shared between the streams and the handles that the application keeps.

mod book;
mod connection;
mod drain;
mod expiry;
mod label;
mod profile;
mod report;
mod roster;

pub(crate) use book::{Book, Entry, Hooks, Mail};
pub use connection::{Connection, ConnectionId, ConnectionState};
pub(crate) use drain::{Drain, DrainSettings};
pub use expiry::Expiry;
pub use label::{InvalidLabel, Label};
pub(crate) use profile::{Profile, now};
pub use report::DrainReport;
pub(crate) use roster::{Roster, Seat, SeatId, Visit};
