//! Ids of logs, `<epoch>-<sequence>`: how they are read, and the epoch of a log in memory.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

use crate::wire::EventId;

/// The epoch and the sequence of an id, if it has the one form in which logs write ids.
pub(super) fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (epoch, sequence) = id.split_once('-')?;
    Some((parse_number(epoch)?, parse_number(sequence)?))
}

/// Parses digits without leading zeros, so that two ids are equal exactly if their texts are.
fn parse_number(digits: &str) -> Option<u64> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// A number that is different in each log and each process, except by chance.
pub(super) fn random() -> u64 {
    // The keys are random; the clock is for platforms on which they are less so.
    RandomState::new().hash_one(SystemTime::now())
}

/// The longest id of a log in memory.
pub(super) const MAX_MEMORY_ID_LEN: usize = "18446744073709551615-18446744073709551615".len();

/// What the ids of a log in memory begin with: a random number, which tells them from the ids of
/// other logs and of earlier processes.
#[derive(Clone, Debug)]
pub(super) struct LogEpoch {
    number: u64,
    /// The number and a `-`.
    prefix: Box<str>,
}

impl LogEpoch {
    pub(super) fn random() -> Self {
        let number = random();
        Self { number, prefix: format!("{number}-").into() }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn id(&self, sequence: u64) -> EventId {
        EventId::with_epoch(self.number, sequence)
    }
}

/// The id of the position right before a sequence. It is the id of no event, so it reveals none.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) fn id_before(epoch: u64, sequence: u64) -> EventId {
    let id = format!("{epoch}-{sequence}{BEFORE}");
    // Digits, a hyphen and a letter: this is always an id.
    EventId::new(id).unwrap_or_else(|_| EventId::with_epoch(epoch, sequence.saturating_sub(1)))
}

/// The epoch and the sequence that an id stands for, be it of an event or from [`id_before`].
pub(super) fn parse_position(id: &EventId) -> Option<(u64, u64)> {
    let before = id.as_str().strip_suffix(BEFORE);
    let (epoch, sequence) = parse_id(before.unwrap_or(id.as_str()))?;
    Some((epoch, if before.is_some() { sequence.checked_sub(1)? } else { sequence }))
}

const BEFORE: char = 'b';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form_only() {
        #[rustfmt::skip]
        let table: &[(&str, Option<(u64, u64)>)] = &[
            ("7-0",                    Some((7, 0))),
            ("7-12",                   Some((7, 12))),
            ("7-18446744073709551615", Some((7, u64::MAX))),
            ("7-18446744073709551616", None),
            ("7-",                     None),
            ("7-+1",                   None),
            ("7-01",                   None),
            ("7-1 ",                   None),
            ("7-1-1",                  None),
            ("07-1",                   None),
            ("-1",                     None),
            ("7",                      None),
            ("",                       None),
        ];
        for &(id, expected) in table {
            assert_eq!(parse_id(id), expected, "{id:?}");
        }
    }

    #[test]
    fn each_log_in_memory_has_an_epoch_of_its_own() {
        assert_ne!(LogEpoch::random().number, LogEpoch::random().number);
    }

    #[cfg(any(feature = "postgres", feature = "redis"))]
    #[test]
    fn an_id_is_a_position_in_its_own_epoch_only() {
        #[rustfmt::skip]
        let table: &[(&str, Option<(u64, u64)>)] = &[
            ("7-0",    Some((7, 0))),
            ("7-12",   Some((7, 12))),
            ("7-12b",  Some((7, 11))),
            ("7-1b",   Some((7, 0))),
            ("7-0b",   None),
            ("7-b",    None),
            ("7-12bb", None),
            ("07-1",   None),
        ];
        for &(id, expected) in table {
            assert_eq!(parse_position(&EventId::new(id).unwrap()), expected, "{id:?}");
        }
        assert_eq!(parse_position(&EventId::with_epoch(7, 5)), Some((7, 5)));
        assert_eq!(parse_position(&id_before(7, 5)), Some((7, 4)));
        assert!(id_before(u64::MAX, u64::MAX).as_str().len() <= 64);
    }
}
