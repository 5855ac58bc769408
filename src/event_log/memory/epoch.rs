//! The ids of a log, told from those of other logs.

use crate::event_log::number::{parsed, random};
use crate::wire::EventId;

/// What a log's ids begin with: a random number, so that ids of other logs and of earlier processes
/// are told apart.
#[derive(Clone, Debug)]
pub(super) struct Epoch {
    number: u64,
    /// The number and a `-`.
    text: Box<str>,
}

impl Epoch {
    pub(super) fn new() -> Self {
        Self::of(random())
    }

    fn of(number: u64) -> Self {
        Self { number, text: format!("{number}-").into() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn id(&self, sequence: u64) -> EventId {
        EventId::with_epoch(self.number, sequence)
    }

    /// The sequence of an id of this log.
    pub(super) fn sequence(&self, id: &EventId) -> Option<u64> {
        let (epoch, sequence) = parsed(id.as_str())?;
        (epoch == self.number).then_some(sequence)
    }
}

/// The longest id: two numbers and what is between them.
pub(super) const LONGEST_ID: usize = "18446744073709551615-18446744073709551615".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_the_log_itself_are_known() {
        let epoch = Epoch::of(7);
        for (id, sequence) in [("7-0", Some(0)), ("7-12", Some(12)), ("8-1", None), ("07-1", None)]
        {
            assert_eq!(epoch.sequence(&EventId::new(id).unwrap()), sequence, "{id:?}");
        }
        assert_ne!(Epoch::new().number, Epoch::new().number);
    }
}
