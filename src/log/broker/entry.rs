//! An event as a broker keeps it.

use crate::log::Logged;
use crate::log::number::number;
use crate::wire::EventId;

/// An event as a broker keeps it.
#[derive(Clone, Debug)]
pub(in crate::log) struct Entry {
    /// Tells the log from one that was there before its broker lost all.
    pub(in crate::log) epoch: u64,
    pub(in crate::log) sequence: u64,
    /// The sequence before it in its topic; where that is not known, one that is at least that.
    pub(in crate::log) before: u64,
    pub(in crate::log) logged: Logged,
}

/// The epoch and the sequence of an id, which is written in one way only.
pub(in crate::log) fn parse_id(id: &EventId) -> Option<(u64, u64)> {
    let (epoch, sequence) = id.as_str().split_once('-')?;
    Some((number(epoch)?, number(sequence)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_in_one_way() {
        #[rustfmt::skip]
        let table: &[(&str, Option<(u64, u64)>)] = &[
            ("7-0",                    Some((7, 0))),
            ("7-18446744073709551615", Some((7, u64::MAX))),
            ("7-18446744073709551616", None),
            ("7-+1",                   None),
            ("7-01",                   None),
            ("07-1",                   None),
            ("7-1-1",                  None),
            ("-1",                     None),
            ("7-",                     None),
            ("7",                      None),
            ("",                       None),
        ];
        for &(id, parsed) in table {
            assert_eq!(parse_id(&EventId::new(id).unwrap()), parsed, "{id:?}");
        }
    }
}
