//! Text of the server as lines of JSON.

use bytes::{BufMut, Bytes, BytesMut};

use super::Notation;
use super::event::lines;
use super::json_scanner::SEPARATOR;

/// `text` as one line. None if it is blank.
///
/// A line end becomes a space. In JSON it is between two tokens, where it means the same.
pub(crate) fn json_line(text: &str) -> Option<Bytes> {
    if text.trim_ascii().is_empty() {
        return None;
    }
    let mut line = String::with_capacity(text.len() + 1);
    for part in lines(text) {
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(part);
    }
    line.push('\n');
    Some(Bytes::from(line))
}

/// A line with its line end, as it is written in a stream of this notation.
pub(crate) fn in_notation(line: Bytes, notation: Notation) -> Bytes {
    match notation {
        Notation::Records => {
            let mut record = BytesMut::with_capacity(line.len() + 1);
            record.put_u8(SEPARATOR);
            // One within would begin another record.
            record.extend(line.iter().map(|&byte| if byte == SEPARATOR { b' ' } else { byte }));
            record.freeze()
        }
        Notation::Events(_) | Notation::Lines | Notation::Status(_) => line,
    }
}
