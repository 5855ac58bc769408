//! What is remembered of a topic that ended.

/// What was lost with a topic that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// The sequence of its last event.
    pub(super) lost: u64,
    /// The birth of its last life in which there were events.
    pub(super) born: u64,
}

impl Ended {
    pub(super) fn max(self, other: Self) -> Self {
        Self { lost: self.lost.max(other.lost), born: self.born.max(other.born) }
    }
}
