//! The ids of a log, told from those of other logs.

use crate::log::number::{number, random};
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
        EventId::in_epoch(self.number, sequence)
    }

    /// The sequence of an id of this log, which is written in one way only.
    pub(super) fn sequence(&self, id: &EventId) -> Option<u64> {
        number(id.as_str().strip_prefix(&*self.text)?)
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
        #[rustfmt::skip]
        let table: &[(&str, Option<u64>)] = &[
            ("7-0",                    Some(0)),
            ("7-12",                   Some(12)),
            ("7-18446744073709551615", Some(u64::MAX)),
            ("7-18446744073709551616", None),
            ("7-",                     None),
            ("7-+1",                   None),
            ("7-01",                   None),
            ("7-1 ",                   None),
            ("07-1",                   None),
            ("8-1",                    None),
            ("7",                      None),
            ("",                       None),
        ];
        for &(id, sequence) in table {
            assert_eq!(epoch.sequence(&EventId::new(id).unwrap()), sequence, "{id:?}");
        }
        assert_ne!(Epoch::new().number, Epoch::new().number);
    }
}
