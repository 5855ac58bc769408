//! The numbers that ids are made of.

use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// The epoch and the sequence of an id.
pub(super) fn parsed(id: &str) -> Option<(u64, u64)> {
    let (epoch, sequence) = id.split_once('-')?;
    Some((number(epoch)?, number(sequence)?))
}

/// A number that is written in the one way in which ids are: digits, and no zeros in front. So two ids
/// are the same if, and only if, they are written alike.
fn number(digits: &str) -> Option<u64> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

/// A number that no other log and no earlier process has, as far as chance goes.
pub(super) fn random() -> u64 {
    // The keys are random; the clock is for platforms where they are less so.
    RandomState::new().hash_one(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_one_way() {
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
            assert_eq!(parsed(id), expected, "{id:?}");
        }
    }
}
