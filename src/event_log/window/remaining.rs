//! The position that a gap names.

/// What a topic has left for a client after a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) struct Remaining {
    /// A sequence of the topic's own right before `first`, so that it reveals none of another topic.
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
