//! Where a client starts, its position in a window, and the position that a gap names.

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

/// What a topic has left for a client after a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Remaining {
    /// A sequence of the topic's own right before `first`, so that it reveals none of another
    /// topic.
    pub(in crate::event_log) before: u64,
    /// The first event and the last one.
    pub(in crate::event_log) events: Option<(u64, u64)>,
}

/// The position of a gap, and the first and the last event after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct AfterGap {
    pub(in crate::event_log) position: u64,
    pub(in crate::event_log) earliest: u64,
    pub(in crate::event_log) latest: u64,
}

/// The position from which a client goes on after a gap: the last one before the first event that
/// is left, so that a client that comes back there misses as little as possible. `None` if nothing
/// is left: then it is one after all events.
///
/// `delivered` is a position that the client has reached, or zero: no gap sends it back.
pub(in crate::event_log) fn position_after_gap(
    topics: &[Remaining],
    delivered: u64,
) -> Option<AfterGap> {
    let events = || topics.iter().filter_map(|topic| topic.events);
    let earliest = events().map(|events| events.0).min()?;
    let latest = events().map(|events| events.1).max()?;
    let before = topics.iter().map(|topic| topic.before).filter(|before| *before < earliest);
    let position = before.max().unwrap_or_default();
    let position = if delivered < earliest { position.max(delivered) } else { position };
    Some(AfterGap { position, earliest, latest })
}
