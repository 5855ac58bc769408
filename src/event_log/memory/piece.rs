//! Events that are ready together, as one piece.

use bytes::Bytes;

/// Events of a topic that stand one behind the other, as they are sent.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// The number of its first event.
    pub(super) first: u64,
    /// The number of the event behind it.
    pub(super) next: u64,
    /// The sequence of its last event.
    pub(super) last: u64,
    pub(super) bytes: Bytes,
}

impl Piece {
    /// Joins as many of these events as go into one piece, each its sequence and its bytes. None if
    /// that is too few to be worth it.
    pub(super) fn join<'a, I>(first: u64, events: I) -> Option<Self>
    where
        I: Iterator<Item = (u64, &'a Bytes)> + Clone,
    {
        let (mut next, mut len, mut last) = (first, 0, 0);
        for (sequence, bytes) in events.clone() {
            if len + bytes.len() > LONGEST {
                break;
            }
            (next, len, last) = (next + 1, len + bytes.len(), sequence);
        }
        let count = usize::try_from(next - first).unwrap_or(usize::MAX);
        if count < FEWEST {
            return None;
        }
        let mut joined = Vec::with_capacity(len);
        events.take(count).for_each(|(_, bytes)| joined.extend_from_slice(bytes));
        Some(Self { first, next, last, bytes: joined.into() })
    }
}

/// Of less events each goes out by itself: to join them takes an allocation, and a copy of each.
const FEWEST: usize = 4;

/// So many bytes go out at once: what is won by less polls, writes and chunk heads is won by then, it
/// is what a frame of HTTP/2 holds, and the lock is held for about a microsecond to copy them.
const LONGEST: usize = 16 * 1024;
