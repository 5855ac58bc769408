//! The scanner of the bodies of calls: messages with their length before them.

use super::boundary::{BlockId, Boundary, EndedBlock};
use super::protocol::{COMPRESSED, Protocol};

/// Reads the prefixes of messages, and hops over what is in them.
///
/// gRPC: `Length-Prefixed-Message → Compressed-Flag Message-Length Message`. Connect:
/// `Enveloped-Message → Envelope-Flags Message-Length Message`. Both have one byte of flags, and
/// four bytes of length, the highest first.
///
/// After a flag that does not exist nothing of the body can be told apart any more: it is one
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
    /// So many bytes of the length are known.
    Length(u8),
    Message,
    /// Of the message that holds the status.
    LengthOfLast(u8),
    Last,
    /// After the message that holds the status.
    Over,
    /// After a flag that does not exist.
    Lost,
}

/// What ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Message,
    /// The message that holds the status.
    Last,
}

impl MessageScanner {
    pub(super) fn next_boundary(
        &mut self,
        protocol: Protocol,
        chunk: &[u8],
        from: usize,
    ) -> Option<Boundary> {
        let (read, ended) = self.read(protocol, chunk.get(from..)?);
        let (end, data) = (from + read, ended? == Ended::Message);
        let block = EndedBlock { blank: end, data, more: 0, id: BlockId::None };
        Some(Boundary { end, block: Some(block) })
    }

    /// Reads up to the end of a message at most. Gives how many bytes that were, and what ended.
    pub(super) fn read(&mut self, protocol: Protocol, bytes: &[u8]) -> (usize, Option<Ended>) {
        let mut read = 0;
        while let Some(&first) = bytes.get(read) {
            let (taken, left) = match self.at {
                At::Over | At::Lost => break,
                At::Flag => {
                    self.at = At::of(first, protocol);
                    read += 1;
                    continue;
                }
                At::Length(known) | At::LengthOfLast(known) => (1, self.take_length(known, first)),
                At::Message | At::Last => {
                    let (more, left) = (bytes.len() - read, self.left());
                    let taken = u32::try_from(more).map_or(left, |more| more.min(left));
                    (taken as usize, Some(left - taken))
                }
            };
            read += taken;
            self.number = left.map_or(self.number, u32::to_be_bytes);
            if left == Some(0) {
                return (read, Some(self.end()));
            }
        }
        (read, None)
    }

    /// Takes one more byte of the length. Gives the length if it is complete.
    fn take_length(&mut self, known: u8, byte: u8) -> Option<u32> {
        let is_last = matches!(self.at, At::LengthOfLast(_));
        self.number[usize::from(known)] = byte;
        let complete = usize::from(known) + 1 == self.number.len();
        self.at = match (complete, is_last) {
            (false, false) => At::Length(known + 1),
            (false, true) => At::LengthOfLast(known + 1),
            (true, false) => At::Message,
            (true, true) => At::Last,
        };
        complete.then(|| self.left())
    }

    fn end(&mut self) -> Ended {
        let is_last = self.at == At::Last;
        let (at, ended) =
            if is_last { (At::Over, Ended::Last) } else { (At::Flag, Ended::Message) };
        self.at = at;
        ended
    }

    fn left(&self) -> u32 {
        u32::from_be_bytes(self.number)
    }

    /// How many bytes of what is in a message are still to come; none if a prefix comes next.
    pub(super) fn left_of_message(&self) -> usize {
        if let At::Message | At::Last = self.at { self.left() as usize } else { 0 }
    }

    /// Hops over so many bytes of a message that does not end with them.
    pub(super) fn hop(&mut self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.number = self.left().saturating_sub(len).to_be_bytes();
    }

    pub(super) fn on_boundary(&self) -> bool {
        matches!(self.at, At::Flag | At::Over)
    }

    /// Whether a message has begun that does not hold the status.
    pub(super) fn in_message(&self) -> bool {
        matches!(self.at, At::Length(_) | At::Message | At::Lost)
    }

    /// Whether the message that holds the status has ended.
    pub(super) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Whether nothing more is read.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.at, At::Over | At::Lost)
    }

    /// Gives up: what comes cannot be told apart.
    pub(super) fn lose(&mut self) {
        self.at = At::Lost;
    }

    /// Whether the message that has begun is still to get more bytes than this.
    pub(super) fn wants_more_than(&self, limit: usize) -> bool {
        self.at == At::Lost || self.left_of_message() > limit
    }
}

/// Whether a chunk that begins with a message ends with one, and none of them is the last.
///
/// Each prefix tells where the next one is. Most chunks are one message.
#[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
#[inline(always)]
pub(crate) fn are_messages(chunk: &[u8]) -> bool {
    let first = end_of_first(chunk);
    first == chunk.len() as u64 || are_messages_from(chunk, first)
}

#[inline]
fn are_messages_from(chunk: &[u8], first: u64) -> bool {
    let Some(last_prefix) = chunk.len().checked_sub(PREFIX) else {
        return false;
    };
    let (mut at, mut flags) = (first, 0);
    while at <= last_prefix as u64 {
        #[expect(clippy::cast_possible_truncation, reason = "it is in the chunk")]
        let at_prefix = at as usize;
        let prefix = &chunk[at_prefix..at_prefix + PREFIX];
        flags |= prefix[0];
        let len = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]);
        // A length that leads out of the chunk is no overflow in 64 bits.
        at += PREFIX as u64 + u64::from(len);
    }
    at == chunk.len() as u64 && flags <= COMPRESSED
}

/// Where the first message of a chunk ends. Zero if the chunk is too short for a look at it.
#[inline]
fn end_of_first(chunk: &[u8]) -> u64 {
    let Some(word) = chunk.first_chunk() else {
        return 0;
    };
    // The flag and the length at once: another flag makes a length that no chunk has.
    let prefix = u64::from_be_bytes(*word) >> (u64::BITS - PREFIX_BITS);
    let len = prefix & !(u64::from(COMPRESSED) << u32::BITS);
    PREFIX as u64 + len
}

impl At {
    /// After this flag.
    fn of(flag: u8, protocol: Protocol) -> Self {
        match flag & !COMPRESSED {
            0 => Self::Length(0),
            flag if flag == protocol.flag_of_last() => Self::LengthOfLast(0),
            _ => Self::Lost,
        }
    }
}

/// The flag and the length.
const PREFIX: usize = 5;
const PREFIX_BITS: u32 = 40;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// A message with this flag, whose prefix may be wrong by some bytes.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let flag = prop_oneof![8 => Just(0), 4 => Just(COMPRESSED), 1 => any::<u8>()];
        let wrong = prop_oneof![20 => Just(0_i32), 1 => select(vec![-1, 1, 4, i32::MAX])];
        (flag, vec(any::<u8>(), 0..12), wrong).prop_map(|(flag, text, wrong)| {
            let len = u32::try_from(text.len()).unwrap().wrapping_add_signed(wrong);
            [&[flag][..], &len.to_be_bytes(), &text].concat()
        })
    }

    proptest! {
        #[test]
        fn a_chunk_passes_without_a_scan_if_the_scanner_ends_on_a_boundary_in_it(
            messages in vec(message(), 0..5),
            is_cut in proptest::bool::weighted(0.3),
        ) {
            let mut chunk = messages.concat();
            chunk.truncate(chunk.len().saturating_sub(usize::from(is_cut)));
            let (mut scanner, mut from) = (MessageScanner::default(), 0);
            while let Some(boundary) = scanner.next_boundary(Protocol::Grpc, &chunk, from) {
                from = boundary.end;
            }
            prop_assert_eq!(are_messages(&chunk), scanner.at == At::Flag);
        }
    }
}
