//! What tells one stream's ids from those of others.

use std::fmt::Write as _;

use crate::event_log::Topic;
use crate::wire::EventId;

/// The random name of a stream, with which the ids of its events begin.
///
/// Digits, and as many each time: so it needs no separator, and an id of the form
/// `<epoch>-<sequence>` keeps that form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Token([u8; LEN]);

impl Token {
    /// A new one that nobody can guess; none if the system has no randomness to give.
    pub(super) fn random() -> Option<Self> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).ok()?;
        let mut rest = u128::from_ne_bytes(random);
        Some(Self(std::array::from_fn(|_| {
            let digit = u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            b'0' + digit
        })))
    }

    /// Takes apart the id of an event: the stream's token, and the id that the log gave.
    pub(super) fn split(id: &EventId) -> Option<(Self, EventId)> {
        let (token, rest) = id.as_str().split_at_checked(LEN)?;
        if rest.is_empty() || !token.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some((Self(token.as_bytes().try_into().ok()?), EventId::new(rest).ok()?))
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id by which clients know what the log knows by `id`.
    pub(super) fn on(&self, id: &EventId) -> EventId {
        // Two parts of ids are one.
        EventId::new([self.as_str(), id.as_str()].concat()).unwrap_or_else(|_| id.clone())
    }

    /// The topic of the stream of this owner: with another owner's token nobody comes to it.
    pub(super) fn topic(&self, owner: &str, part: Part) -> Option<Topic> {
        let mut name = format!("resume.{}.", self.as_str());
        encode(&mut name, owner.as_bytes());
        if part == Part::Head {
            name.push_str(".head");
        }
        Topic::new(&name).ok()
    }
}

/// What a topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Events,
    /// The head of the response, for other nodes.
    Head,
}

/// Writes any bytes as letters, digits, `-` and `_`: base64 for addresses, without padding.
fn encode(out: &mut String, bytes: &[u8]) {
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..=three.len() {
            let sextet = (bits >> (18 - 6 * at)) & 63;
            let _ = out.write_char(char::from(ALPHABET[sextet as usize]));
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// 76 bits. With the longest id of a log in memory, of 41 bytes, that makes 64.
const LEN: usize = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_apart_as_it_was_put_together() {
        let (token, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_ne!(token, other);
        let id = EventId::new("7-1").unwrap();
        assert_eq!(Token::split(&token.on(&id)), Some((token, id)));
        let zeros = "0".repeat(22);
        for foreign in ["", "7-1", "x", "\u{e9}", "earliest", &zeros, &format!("{zeros}0")] {
            assert_eq!(Token::split(&EventId::new(foreign).unwrap()), None, "{foreign}");
        }
        let inside = format!("{zeros}\u{e9}7-1");
        assert_eq!(Token::split(&EventId::new(inside).unwrap()), None);
    }

    #[test]
    fn every_owner_has_topics_of_its_own() {
        let token = Token([b'1'; LEN]);
        let name = |owner: &str| token.topic(owner, Part::Events).unwrap().to_string();
        assert_eq!(name("ab\u{ff}?>"), format!("resume.{}.YWLDvz8-", "1".repeat(LEN)));
        assert_eq!(name("a"), format!("resume.{}.YQ", "1".repeat(LEN)));
        assert_ne!(name("1:ab"), name("2:ab"));
        assert!(token.topic(&"\u{e9}".repeat(82), Part::Head).is_some(), "the longest key");
    }
}
