//! The scanner of gRPC bodies: messages with their length before them.

use super::scanner::{BlockId, Boundary, EndedBlock};

/// Reads the prefixes of [messages](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md),
/// and hops over what is in them: `Length-Prefixed-Message → Compressed-Flag Message-Length
/// Message`.
///
/// With a flag that does not exist nothing of the body can be told apart any more: it is one
/// message that never ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct MessageScanner {
    at: At,
    /// The bytes of the length that have come, or how many bytes of the message are still to come.
    number: [u8; 4],
}

/// Where in a message the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Flag,
    Length(u8),
    Message,
    /// After a flag that does not exist.
    Lost,
}

impl MessageScanner {
    pub(super) fn next_boundary(&mut self, chunk: &[u8], from: usize) -> Option<Boundary> {
        let mut from = from;
        loop {
            match self.at {
                At::Flag => {
                    self.at =
                        if *chunk.get(from)? <= COMPRESSED { At::Length(0) } else { At::Lost };
                    from += 1;
                }
                At::Length(known) => {
                    let part = chunk.get(from..)?;
                    let known = usize::from(known);
                    let more = part.len().min(self.number.len() - known);
                    self.number[known..known + more].copy_from_slice(&part[..more]);
                    from += more;
                    match u8::try_from(known + more) {
                        Ok(known) if usize::from(known) < self.number.len() => {
                            self.at = At::Length(known);
                            return None;
                        }
                        _ => self.at = At::Message,
                    }
                }
                At::Message => {
                    let left = self.left();
                    let more = (chunk.len() - from).min(left as usize);
                    from += more;
                    let more = u32::try_from(more).unwrap_or(left);
                    self.number = (left - more).to_be_bytes();
                    if self.left() > 0 {
                        return None;
                    }
                    self.at = At::Flag;
                    let block = EndedBlock { blank: from, data: true, id: BlockId::None };
                    return Some(Boundary { end: from, block: Some(block) });
                }
                At::Lost => return None,
            }
        }
    }

    fn left(&self) -> u32 {
        u32::from_be_bytes(self.number)
    }

    pub(super) fn on_boundary(&self) -> bool {
        self.at == At::Flag
    }

    /// Whether the message that has begun is still to get more bytes than this.
    pub(super) fn wants_more_than(&self, limit: usize) -> bool {
        match self.at {
            At::Flag | At::Length(_) => false,
            At::Message => self.left() as usize > limit,
            At::Lost => true,
        }
    }

    /// Whether a chunk that begins with a message ends with one.
    #[inline]
    pub(super) fn is_whole(chunk: &[u8]) -> bool {
        let mut rest = chunk;
        while let Some((&[flag, a, b, c, d], after)) = rest.split_first_chunk::<5>() {
            let len = u32::from_be_bytes([a, b, c, d]) as usize;
            if flag > COMPRESSED || len > after.len() {
                return false;
            }
            rest = &after[len..];
        }
        rest.is_empty()
    }
}

/// The flag of a compressed message. That of any other is zero.
const COMPRESSED: u8 = 1;
