//! The ids of a log in NATS, the same on every node.

use crate::event_log::number::parsed;
use crate::wire::EventId;

/// The id of the event with this sequence in the stream.
///
/// `epoch` is when the stream was made, so that ids of one of the same name that was deleted are told
/// apart.
pub(super) fn event(epoch: u64, sequence: u64) -> EventId {
    EventId::with_epoch(epoch, sequence)
}

/// The place right before a sequence: no event's id, so that it reveals none.
pub(super) fn before(epoch: u64, sequence: u64) -> EventId {
    let id = format!("{epoch}-{sequence}{BEFORE}");
    // Digits, a hyphen and a letter: it is always an id.
    EventId::new(id).unwrap_or_else(|_| event(epoch, sequence.saturating_sub(1)))
}

/// The sequence behind which an id is, if it is one of this epoch. Each is written in one way only.
pub(super) fn place(epoch: u64, id: &EventId) -> Option<u64> {
    let before = id.as_str().strip_suffix(BEFORE);
    let (of, sequence) = parsed(before.unwrap_or(id.as_str()))?;
    let place = if before.is_some() { sequence.checked_sub(1)? } else { sequence };
    (of == epoch).then_some(place)
}

const BEFORE: char = 'b';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_place_in_its_own_epoch_only() {
        #[rustfmt::skip]
        let table: &[(&str, Option<u64>)] = &[
            ("7-0",    Some(0)),
            ("7-12",   Some(12)),
            ("7-12b",  Some(11)),
            ("7-1b",   Some(0)),
            ("7-0b",   None),
            ("7-b",    None),
            ("7-12bb", None),
            ("07-1",   None),
            ("8-1",    None),
        ];
        for &(id, expected) in table {
            assert_eq!(place(7, &EventId::new(id).unwrap()), expected, "{id:?}");
        }
        assert_eq!(place(7, &event(7, 5)), Some(5));
        assert_eq!(place(7, &before(7, 5)), Some(4));
        assert!(before(u64::MAX, u64::MAX).as_str().len() <= 64);
    }
}
