//! Events as a topic stores them, and events joined for several followers.

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
#[derive(Clone, Debug)]
pub(super) struct JoinedEvents {
    /// The sequence of the first event.
    pub(super) first: u64,
    /// The sequence of the last event.
    pub(super) last: u64,
    pub(super) bytes: Bytes,
}

impl JoinedEvents {
    pub(super) fn of_one(event: &StoredEvent) -> Self {
        Self { first: event.sequence, last: event.sequence, bytes: event.bytes.clone() }
    }

    /// Joins as many of these events as fit into one piece. Returns `None` if these are too few for
    /// it to be worth a copy.
    pub(super) fn of_many<'a>(
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
        Some(Self { first, last, bytes: joined.into() })
    }
}

/// Fewer events are returned one by one: to join them takes an allocation, and a copy of each.
const MIN_JOINED_EVENTS: usize = 4;

/// The most bytes of joined events. Larger pieces save no more polls, writes and chunk heads worth
/// mentioning; it is what a frame of HTTP/2 holds; and the copy holds the topic's lock for about a
/// microsecond.
const MAX_JOINED_LEN: usize = 16 * 1024;
