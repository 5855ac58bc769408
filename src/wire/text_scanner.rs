//! The scanner of bodies of calls in base64.

use memchr::memchr;

use super::base64;
use super::boundary::{BlockId, Boundary, EndedBlock};
use super::message_scanner::{Ended, MessageScanner};
use super::protocol::Protocol;

/// Reads messages in base64, with padding anywhere between two groups of four characters.
///
/// gRPC-Web: "the client library should not assume base64 padding always happens at the boundary of
/// message frames. That is, the implementation may send base64-encoded "chunks" with potential
/// padding whenever the runtime needs to flush a byte buffer."
///
/// A boundary is where a message and a group end together, because a client decodes whole groups.
/// If a server writes the next message into the group in which one ends, the two pass together. A
/// server that flushes a message has to end the group, so nothing waits that was sent to be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct TextScanner {
    messages: MessageScanner,
    at: At,
    /// The bits that are left of the characters before, less than a byte.
    bits: u8,
    /// How many messages have ended since the last boundary, as far as that can be counted.
    ended: u8,
}

/// Where in a group the next character is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    First,
    Second,
    Third,
    Fourth,
    /// After the first of two characters of padding.
    Padding,
}

impl TextScanner {
    pub(super) fn next_boundary(&mut self, chunk: &[u8], from: usize) -> Option<Boundary> {
        let mut from = from;
        loop {
            from += self.hop(chunk.get(from..)?);
            self.take(*chunk.get(from)?)?;
            from += 1;
            if self.on_boundary() {
                let ended = std::mem::take(&mut self.ended);
                let (data, more) = (ended > 0, ended.saturating_sub(1));
                let block = EndedBlock { blank: from, data, more, id: BlockId::None };
                return Some(Boundary { end: from, block: Some(block) });
            }
        }
    }

    /// Hops over groups in a message, without a look at their characters. Leaves one of them at
    /// least, with which the message may end.
    fn hop(&mut self, rest: &[u8]) -> usize {
        let left = self.messages.left_of_message();
        if self.at != At::First || left <= GROUP_OF_BYTES {
            return 0;
        }
        let most = rest.len().min(left.div_ceil(GROUP_OF_BYTES).saturating_mul(GROUP));
        let clear = memchr(b'=', &rest[..most]).unwrap_or(most);
        let groups = (clear / GROUP).min((left - 1) / GROUP_OF_BYTES);
        self.messages.hop(groups * GROUP_OF_BYTES);
        groups * GROUP
    }

    /// Reads one character. None if nothing can be told apart any more.
    fn take(&mut self, char: u8) -> Option<()> {
        if self.messages.is_done() && self.at == At::First {
            return None;
        }
        let value = match (char, self.at) {
            (b'=', At::Third) => {
                self.at = At::Padding;
                return Some(());
            }
            (b'=', At::Fourth | At::Padding) => {
                self.at = At::First;
                return Some(());
            }
            _ => base64::value(char).filter(|_| self.at != At::Padding),
        };
        let Some(value) = value else {
            self.messages.lose();
            return None;
        };
        let (byte, bits, next) = match self.at {
            At::First | At::Padding => {
                (self.bits, self.at) = (value, At::Second);
                return Some(());
            }
            At::Second => (self.bits << 2 | value >> 4, value & 0xf, At::Third),
            At::Third => (self.bits << 4 | value >> 2, value & 0x3, At::Fourth),
            At::Fourth => (self.bits << 6 | value, 0, At::First),
        };
        (self.bits, self.at) = (bits, next);
        let (_, ended) = self.messages.read(Protocol::GrpcWebText, &[byte]);
        self.ended = self.ended.saturating_add(u8::from(ended == Some(Ended::Message)));
        Some(())
    }

    pub(super) fn on_boundary(&self) -> bool {
        self.at == At::First && self.messages.on_boundary()
    }

    /// Whether a message has begun that does not hold the status.
    pub(super) fn in_message(&self) -> bool {
        self.messages.in_message() || self.ended > 0
    }

    /// Whether the message that holds the status has ended, with its group.
    pub(super) fn is_over(&self) -> bool {
        self.at == At::First && self.messages.is_over()
    }

    /// Whether the message that has begun is still to get more bytes than this.
    pub(super) fn wants_more_than(&self, limit: usize) -> bool {
        self.messages.wants_more_than(limit)
    }
}

/// The characters of a group, and the bytes that they hold.
const GROUP: usize = 4;
const GROUP_OF_BYTES: usize = 3;
