//! The formats: events, how they are written, how they are found in bytes.
//!
//! Nothing here does I/O or reads a clock. [`Event`] writes an event, [`Decoder`] reads a whole
//! stream the way a browser does.

mod close_reason;
mod decoder;
mod encode;
mod event;
mod event_id;
mod event_name;
mod framing;
mod id_line;
mod line_end;
mod scanner;
mod stencil;

pub(crate) use close_reason::{CloseReason, REFUSED_ABOVE_LIMIT};
pub use decoder::{Decoder, MessageEvent};
pub use event::Event;
pub use event_id::{EventId, InvalidEventId};
pub use event_name::{EventName, InvalidEventName};
pub(crate) use framing::Framing;
#[cfg(feature = "hub")]
pub(crate) use id_line::end_with_id;
pub(crate) use id_line::with_id_line;
pub(crate) use line_end::{ByLineEnd, LineEnd};
pub(crate) use scanner::{BlockId, Boundary, EndedBlock, Scanner};
pub(crate) use stencil::Stencil;
