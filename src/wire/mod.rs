//! A decoder that reads event streams as browsers do, for tests of streams.
//!
//! Events to be written are at the root of the crate: see [`Event`](crate::Event).

mod close_reason;
mod decoder;
mod encode;
// The root exports what is in these two.
pub(crate) mod event;
mod framing;
mod id_line;
mod line_end;
mod scanner;
mod stencil;
pub(crate) mod text;

pub(crate) use close_reason::{CloseReason, REFUSED_ABOVE_LIMIT};
pub use decoder::{Decoder, MessageEvent};
#[cfg(feature = "axum")]
pub(crate) use encode::lines;
pub(crate) use event::Event;
pub(crate) use framing::Framing;
#[cfg(feature = "hub")]
pub(crate) use id_line::end_with_id;
pub(crate) use id_line::with_id_line;
pub(crate) use line_end::{ByLineEnd, LineEnd};
pub(crate) use scanner::{BlockId, Boundary, EndedBlock, Scanner};
pub(crate) use stencil::Stencil;
#[cfg(feature = "hub")]
pub(crate) use text::checked_conversions;
pub(crate) use text::{Comment, EventId, EventName, Text, checked_text, is_control};
