//! Ids of a log in NATS. They name events, and not only the sequences that the stream gave them.
//!
//! A server that is restored from a copy, or that crashes before it wrote its last events to disk,
//! gives the sequences of lost events to new ones. So each id has a fingerprint of its event, which
//! is compared when a client comes back. All ids are `<epoch>-<sequence>` with what follows:
//!
//! | form | position |
//! | --- | --- |
//! | `7-5-1a2b3c4d` | the event with this sequence and fingerprint, and the position after it |
//! | `7-5b-1a2b3c4d` | the position before that event |
//! | `7-5a-1a2b3c4d` | the position after it, for clients that must not get the ids of its topic |
//! | `7-5a` | the position after a sequence of which the stream has no event |

use std::fmt::Write as _;

use crate::event_log::ids::parse_id;
use crate::wire::EventId;

/// Tells an event from another one that the stream gives the same sequence later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u32);

impl Fingerprint {
    /// `source` is different for two messages of the stream, also if their payloads are the same.
    pub(super) fn new(source: &[u8], payload: &[u8]) -> Self {
        let [.., a, b, c, d] = hash(hash(0, source), payload).to_be_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    fn parse(digits: &str) -> Option<Self> {
        let canonical = digits.len() == FINGERPRINT_LEN
            && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if canonical { u32::from_str_radix(digits, 16).ok().map(Self) } else { None }
    }
}

/// Hashes eight bytes at a time. The result is the same on each node and in each version, which
/// the hashers of the standard library do not promise.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let chunks = bytes.chunks_exact(8);
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    let words = chunks.map(|word| word.try_into().unwrap_or_default());
    let words = words.chain([last, (bytes.len() as u64).to_le_bytes()]);
    words.fold(seed, |hash, word| mix(hash ^ u64::from_le_bytes(word)))
}

/// The finalizer of `MurmurHash3`: each bit of the input changes half of the bits.
fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// A sequence of the stream, and the message that has it; `None` if no message has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) sequence: u64,
    pub(super) message: Option<Fingerprint>,
}

impl Slot {
    pub(super) fn empty(sequence: u64) -> Self {
        Self { sequence, message: None }
    }
}

/// What an id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NatsPosition {
    pub(super) epoch: u64,
    pub(super) slot: Slot,
    side: Side,
}

/// Which side of its slot a position is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
    /// After it, as the id of the event.
    Event,
}

impl NatsPosition {
    /// The position of an event, whose id is that of the event.
    pub(super) fn event(epoch: u64, sequence: u64, fingerprint: Fingerprint) -> Self {
        let slot = Slot { sequence, message: Some(fingerprint) };
        Self { epoch, slot, side: Side::Event }
    }

    /// The position after a slot. Its id is the id of no event.
    pub(super) fn after(epoch: u64, slot: Slot) -> Self {
        Self { epoch, slot, side: Side::After }
    }

    /// The position before the event. Its id is the id of no event.
    pub(super) fn before(self) -> Self {
        Self { side: Side::Before, ..self }
    }

    /// All events up to this sequence are before the position, and no others.
    pub(super) fn sequence(&self) -> u64 {
        match self.side {
            Side::Before => self.slot.sequence.saturating_sub(1),
            Side::After | Side::Event => self.slot.sequence,
        }
    }

    pub(super) fn parse(id: &EventId) -> Option<Self> {
        let id = id.as_str();
        // The second hyphen.
        let after = id.find('-')? + 1;
        let (text, message) = match id[after..].split_once('-') {
            Some((sequence, digits)) => {
                (&id[..after + sequence.len()], Some(Fingerprint::parse(digits)?))
            }
            None => (id, None),
        };
        let sides = [('b', Side::Before), ('a', Side::After)];
        let side = sides.iter().find_map(|(mark, side)| Some((text.strip_suffix(*mark)?, *side)));
        let (text, side) = side.unwrap_or((text, Side::Event));
        let (epoch, sequence) = parse_id(text)?;
        let slot = Slot { sequence, message };
        (message.is_some() || side == Side::After).then_some(Self { epoch, slot, side })
    }

    pub(super) fn id(&self) -> EventId {
        let mark = match self.side {
            Side::Before => "b",
            Side::After => "a",
            Side::Event => "",
        };
        let mut id = format!("{}-{}{mark}", self.epoch, self.slot.sequence);
        if let Some(fingerprint) = self.slot.message {
            let _ = write!(id, "-{:0FINGERPRINT_LEN$x}", fingerprint.0);
        }
        // Digits, hyphens and letters: this is always an id.
        EventId::new(id).unwrap_or_else(|_| EventId::with_epoch(self.epoch, self.slot.sequence))
    }
}

const FINGERPRINT_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_has_one_form_only() {
        let event = NatsPosition::event(7, 5, Fingerprint(0x0a2b_3c4d));
        let empty = NatsPosition::after(7, Slot::empty(5));
        #[rustfmt::skip]
        let table: &[(&str, Option<(NatsPosition, u64)>)] = &[
            ("7-5-0a2b3c4d",   Some((event, 5))),
            ("7-5b-0a2b3c4d",  Some((event.before(), 4))),
            ("7-5a-0a2b3c4d",  Some((NatsPosition::after(7, event.slot), 5))),
            ("7-5a",           Some((empty, 5))),
            ("7-0a",           Some((NatsPosition::after(7, Slot::empty(0)), 0))),
            ("7-5",            None),
            ("7-5b",           None),
            ("7-5-0A2B3C4D",   None),
            ("7-5-a2b3c4d",    None),
            ("7-5-0a2b3c4d0",  None),
            ("7-5-+a2b3c4d",   None),
            ("7-5-",           None),
            ("7-05-0a2b3c4d",  None),
            ("7-5ab-0a2b3c4d", None),
            ("7-5-0a2b3c4d-1", None),
            ("-5a",            None),
            ("7",              None),
            ("\u{e9}-\u{e9}-", None),
            ("",               None),
        ];
        for &(text, expected) in table {
            let parsed = NatsPosition::parse(&EventId::new(text).unwrap());
            assert_eq!(parsed.map(|it| (it, it.sequence())), expected, "{text:?}");
            if let Some((position, _)) = expected {
                assert_eq!(position.id().as_str(), text);
            }
        }
        let longest = NatsPosition::event(u64::MAX, u64::MAX, Fingerprint(u32::MAX)).before();
        assert!(longest.id().as_str().len() + ".f01234567".len() <= 64);
    }

    #[test]
    fn a_fingerprint_is_the_same_in_each_version_and_another_for_each_message() {
        assert_eq!(Fingerprint::new(b"_INBOX.x-1", b"data: 1\n\n"), Fingerprint(0xcbeb_02ef));
        let mut seen = std::collections::HashSet::new();
        for n in 0..1_000 {
            seen.insert(Fingerprint::new(format!("m-{n}").as_bytes(), b"data: x\n\n").0);
            seen.insert(Fingerprint::new(b"m", format!("data: {n}\n\n").as_bytes()).0);
        }
        // The same bytes in two parts that are divided elsewhere.
        seen.insert(Fingerprint::new(b"m-", b"0data: x\n\n").0);
        seen.insert(Fingerprint::new(b"", b"").0);
        seen.insert(Fingerprint::new(b"", b"\0").0);
        assert_eq!(seen.len(), 2_003);
    }
}
