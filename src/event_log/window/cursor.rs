//! Where a client starts, and its position in a window.

use crate::event_log::ids::{parse_id, parse_position};
use crate::event_log::{GapReason, Start};

/// Where a client starts in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) enum Placement {
    /// After a position that the log has given out.
    After(u64),
    /// After a position of this epoch that is newer than what this process knows. If other
    /// processes append to the log, its storage must be asked, and else it is of no event.
    Ahead(u64),
    /// With the first event that there is, as the client asks.
    Earliest,
    /// With the first event that there is, after a gap with this reason.
    Gap(GapReason),
}

impl Placement {
    /// Where a client starts in a log of this epoch that has given out the sequences up to `head`.
    pub(in crate::event_log) fn of(start: &Start, epoch: u64, head: u64) -> Self {
        match start {
            Start::Live | Start::Now => Self::After(head),
            Start::Earliest => Self::Earliest,
            Start::Unknown => Self::Gap(GapReason::Unknown),
            Start::After(id) => match parse_position(id) {
                Some((of, position)) if of == epoch && position <= head => Self::After(position),
                Some((of, position)) if of == epoch => Self::Ahead(position),
                _ => Self::Gap(GapReason::of_unknown(start, epoch)),
            },
        }
    }

    /// The same in a log whose positions are all ids of events, and to which nobody else appends.
    pub(in crate::event_log) fn of_own(start: &Start, epoch: u64, head: u64) -> Self {
        match start {
            Start::After(id) if parse_id(id.as_str()).is_none() => {
                Self::Gap(GapReason::of_unknown(start, epoch))
            }
            _ => Self::of(start, epoch, head).alone(),
        }
    }

    /// The same where nobody else appends to the log: a position that is newer than all of its own
    /// is that of no event.
    pub(in crate::event_log) fn alone(self) -> Self {
        match self {
            Self::Ahead(_) => Self::Gap(GapReason::Unknown),
            known => known,
        }
    }
}

/// The position of a client in a topic, and what it is told of events that it does not get.
#[derive(Clone, Debug)]
pub(in crate::event_log) struct Cursor {
    pub(super) generation: u64,
    /// The client has all events up to this, or was told that it does not get them.
    position: u64,
    /// Events up to this may be lost without a gap, until the client gets its first one: it asks
    /// for what there is.
    asked_after: u64,
}

impl Cursor {
    pub(super) fn new(generation: u64, position: u64, asked_after: u64) -> Self {
        Self { generation, position, asked_after }
    }

    pub(in crate::event_log) fn position(&self) -> u64 {
        self.position
    }

    /// The client is told of events that are lost after this, and not of those before.
    #[cfg(feature = "nats")]
    pub(in crate::event_log) fn owed_after(&self) -> u64 {
        self.position.max(self.asked_after)
    }

    /// Skips events up to this sequence, which cannot be had. Returns the reason of the gap, if the
    /// client should have had one of them.
    pub(in crate::event_log) fn skip_to(&mut self, sequence: u64) -> Option<GapReason> {
        if sequence <= self.position {
            return None;
        }
        self.position = sequence;
        (sequence > self.asked_after).then_some(GapReason::Expired)
    }

    /// Notes that the client gets the event with this sequence.
    pub(in crate::event_log) fn advance(&mut self, sequence: u64) {
        // An event that finishes a topic may be before the position.
        self.position = self.position.max(sequence);
        self.asked_after = self.asked_after.min(self.position);
    }
}
