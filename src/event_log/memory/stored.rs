//! Events as a topic stores them, and events joined for several followers.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use crate::event_log::window::Entry;

/// An event, encoded with its id.
#[derive(Clone, Debug)]
pub(super) struct StoredEvent {
    pub(super) sequence: u64,
    pub(super) appended: Instant,
    pub(super) bytes: Bytes,
    pub(super) id_len: u8,
    /// Whether the event finishes the topic.
    pub(super) finishes: bool,
}

impl StoredEvent {
    /// The position after this event, and its bytes.
    pub(super) fn run(&self) -> (u64, Bytes) {
        (self.sequence, self.bytes.clone())
    }
}

impl Entry for StoredEvent {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn finishes_topic(&self) -> bool {
        self.finishes
    }
}

/// Consecutive events of a topic as one piece of bytes.
#[derive(Debug)]
pub(super) struct JoinedEvents {
    /// The positions after which these are the next events.
    positions: Range<u64>,
    /// The sequence of the last event.
    last: u64,
    bytes: Bytes,
}

impl JoinedEvents {
    /// Joins as many of these events as fit into one piece, of which none is missing after the
    /// position `before`. Returns `None` if these are too few for it to be worth a copy.
    pub(super) fn of_many<'a>(
        before: u64,
        events: impl Iterator<Item = &'a StoredEvent> + Clone,
    ) -> Option<Self> {
        let (mut count, mut len, mut last) = (0, 0, 0);
        for event in events.clone() {
            if event.finishes || len + event.bytes.len() > MAX_JOINED_LEN {
                break;
            }
            (count, len, last) = (count + 1, len + event.bytes.len(), event.sequence);
        }
        if count < MIN_JOINED_EVENTS {
            return None;
        }
        let first = events.clone().next()?.sequence;
        let mut joined = Vec::with_capacity(len);
        events.take(count).for_each(|event| joined.extend_from_slice(&event.bytes));
        Some(Self { positions: before..first, last, bytes: joined.into() })
    }

    /// Whether these are the next events after a position.
    pub(super) fn is_next_after(&self, position: u64) -> bool {
        self.positions.contains(&position)
    }

    /// Whether one of these events is at this position or before it.
    pub(super) fn begins_by(&self, position: u64) -> bool {
        self.positions.end <= position
    }

    /// The position after these events, and their bytes.
    pub(super) fn run(&self) -> (u64, Bytes) {
        (self.last, self.bytes.clone())
    }
}

/// Fewer events are returned one by one: to join them takes an allocation, and a copy of each.
const MIN_JOINED_EVENTS: usize = 4;

/// The most bytes of joined events. Larger pieces save no more polls, writes and chunk heads worth
/// mentioning; it is what a frame of HTTP/2 holds; and the copy holds the topic's lock for about a
/// microsecond.
const MAX_JOINED_LEN: usize = 16 * 1024;
