//! Where a follower begins.

use super::gap::LONGEST_ID;
use crate::wire::EventId;

/// Where a follower begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With what is appended from now on.
    #[default]
    Live,
    /// Behind the event with this id: first with what was missed.
    After(EventId),
    /// With the first event that there is.
    Earliest,
    /// Behind an event that cannot be known, since no id is like that: with a gap.
    Unknown,
}

impl Start {
    /// What a client asks for by a `Last-Event-ID`, in a header or a query.
    ///
    /// An empty id counts as none: some clients send one after a stream without ids. `earliest` asks
    /// for all that there is. What can be no id is `Unknown`.
    #[must_use]
    pub fn requested(id: &str) -> Self {
        match id {
            "" => Self::Live,
            "earliest" => Self::Earliest,
            id if id.len() > LONGEST_ID => Self::Unknown,
            id => EventId::new(id).map_or(Self::Unknown, Self::After),
        }
    }
}
