//! A decoder that reads event streams as browsers do, for tests of streams.
//!
//! Events to be written are at the root of the crate: see [`Event`].

mod base64;
mod boundary;
mod checked_text;
// The root exports what is public in this module, in `event` and in `text`.
pub(crate) mod close_reason;
mod decoder;
pub(crate) mod event;
mod event_scanner;
mod framing;
mod id_line;
mod json;
mod json_scanner;
mod last_event_id;
mod message_scanner;
mod percent;
mod protocol;
mod scanner;
mod status;
mod template;
pub(crate) mod text;
mod text_scanner;

pub(crate) use boundary::{BlockId, EndedBlock};
pub(crate) use checked_text::{Text, checked_conversions, checked_text, is_control};
pub(crate) use close_reason::CloseReason;
pub use decoder::{Decoder, MessageEvent};
pub(crate) use event::Event;
#[cfg(feature = "axum")]
pub(crate) use event::lines;
pub(crate) use event_scanner::{blank_at_end, id_value, last_id, plain_event};
pub(crate) use framing::{ByLineEnd, Framing, LineEnd, Notation};
#[cfg(feature = "hub")]
pub(crate) use id_line::end_with_id;
pub(crate) use id_line::with_id_line;
pub(crate) use json::{in_notation, json_line, json_member, json_string};
pub(crate) use json_scanner::{SEPARATOR, are_lines};
pub(crate) use last_event_id::LastEventId;
pub(crate) use message_scanner::are_messages;
#[cfg(feature = "hub")]
pub(crate) use percent::{percent_decode, percent_encode};
pub(crate) use protocol::Protocol;
pub(crate) use scanner::Scanner;
pub(crate) use status::Status;
pub(crate) use template::EventTemplate;
pub(crate) use text::{Comment, EventId, EventName};
