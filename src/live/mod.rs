//! What is open now, shared between the streams and the handles that the application keeps.

mod book;
mod connection;
mod drain;
mod expiry;
mod given_up;
mod label;
mod profile;
mod report;
mod roster;

pub(crate) use book::{Book, Entry, Hooks, Mail};
pub use connection::{Connection, ConnectionId, ConnectionState};
pub(crate) use drain::{Drain, DrainSettings, Standing};
pub use expiry::Expiry;
pub(crate) use given_up::{give_up, was_given_up};
pub use label::{InvalidLabel, Label};
pub(crate) use profile::{Profile, now};
pub use report::DrainReport;
pub(crate) use roster::{Roster, Seat, SeatId, Visit};
