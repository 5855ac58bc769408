//! Gives encoded events an id, as their last line.

use bytes::Bytes;

use super::LineEnd;

/// One event with an id line before its blank line, which begins at `blank`.
pub(crate) fn with_id_line(event: &[u8], blank: usize, id: &str, line_end: LineEnd) -> Bytes {
    let (event, blank) = event.split_at(blank);
    let (id, line_end) = (id.as_bytes(), line_end.as_str().as_bytes());
    let parts = [event, b"id: ", id, line_end, blank];
    // Exactly filled: `Bytes` would allocate once more for a vector with room to spare.
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        bytes.extend_from_slice(part);
    }
    Bytes::from(bytes)
}

/// Ends an event that was encoded without its blank line, with an id as its last line.
#[cfg(feature = "hub")]
pub(crate) fn end_with_id(event: &mut Vec<u8>, id: &[&str]) {
    event.extend_from_slice(b"id: ");
    for part in id {
        event.extend_from_slice(part.as_bytes());
    }
    event.extend_from_slice(b"\n\n");
}
