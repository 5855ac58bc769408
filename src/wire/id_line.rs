//! The line with an id that is added to an encoded event.

use bytes::Bytes;

use super::LineEnd;

/// An encoded event with an id line before its blank line, which begins at `blank`.
pub(crate) fn with_id_line(event: &[u8], blank: usize, id: &str, line_end: LineEnd) -> Bytes {
    let (event, blank) = event.split_at(blank);
    let parts = [event, ID.as_bytes(), id.as_bytes(), line_end.as_str().as_bytes(), blank];
    // One allocation, of the exact length: an id is added to each event, and `concat` costs more.
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Bytes::from(bytes)
}

/// Ends an event that was encoded without its blank line. The parts of its id become its last line.
#[cfg(feature = "hub")]
pub(crate) fn end_with_id(event: &mut Vec<u8>, id: &[&str]) {
    event.extend_from_slice(ID.as_bytes());
    for part in id {
        event.extend_from_slice(part.as_bytes());
    }
    event.extend_from_slice(b"\n\n");
}

/// How the line begins.
pub(super) const ID: &str = "id: ";
