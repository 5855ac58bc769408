//! [`SessionToken`]: the random name of a session or of a node, and the topics that have it in
//! their names.

use std::str::FromStr;

use super::key::{ResumeKey, push_base64};
use crate::event_log::Topic;
use crate::wire::EventId;

/// The random name of a session, with which the ids of its events begin.
///
/// It has digits only, and always the same number of them. So it needs no separator, and an id
/// `<epoch>-<sequence>` keeps this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionToken([u8; TOKEN_LEN]);

impl SessionToken {
    /// The name of nothing.
    pub(super) const NONE: Self = Self([b'0'; TOKEN_LEN]);

    /// A token that cannot be guessed. None if the system has no randomness.
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

    /// Splits the id that a client has into the session's token and the id in the log.
    pub(super) fn split(id: &EventId) -> Option<(Self, EventId)> {
        let (token, rest) = id.as_str().split_at_checked(TOKEN_LEN)?;
        if rest.is_empty() {
            return None;
        }
        Some((token.parse().ok()?, EventId::new(rest).ok()?))
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id for clients of an event that has this id in the log.
    pub(super) fn join(&self, id: &EventId) -> EventId {
        EventId::from_parts(&[self.as_str(), id.as_str()])
    }

    /// A topic of the session. With the token of another key no client finds it.
    pub(super) fn topic(&self, key: &ResumeKey, part: TopicPart) -> Option<Topic> {
        let mut name = format!("resume.{}.", self.as_str());
        push_base64(&mut name, key.to_text().as_bytes());
        if part == TopicPart::Head {
            name.push_str(".head");
        }
        Topic::new(&name).ok()
    }
}

impl SessionToken {
    /// The topic in which the node of this name says that it is alive.
    pub(super) fn lease_topic(&self) -> Option<Topic> {
        Topic::new(format!("resume.node.{}", self.as_str())).ok()
    }

    /// The topic in which others ask the node of this name for something.
    pub(super) fn orders_topic(&self) -> Option<Topic> {
        Topic::new(format!("resume.orders.{}", self.as_str())).ok()
    }
}

impl FromStr for SessionToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let digits: [u8; TOKEN_LEN] = text.as_bytes().try_into().map_err(|_| NotAToken)?;
        match digits.iter().all(u8::is_ascii_digit) {
            true => Ok(Self(digits)),
            false => Err(NotAToken),
        }
    }
}

/// The text has another length, or is not of digits.
#[derive(Debug)]
pub(super) struct NotAToken;

/// The topic that says which streams of a principal run.
pub(super) fn principal_topic(principal: &str) -> Option<Topic> {
    let mut name = String::from("resume.of.");
    // An empty principal has a token of its own, too.
    push_base64(&mut name, format!(":{principal}").as_bytes());
    Topic::new(name).ok()
}

/// What a topic of a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicPart {
    Events,
    /// The head of the response, for other nodes.
    Head,
}

/// 76 bits. With the longest id of a log in memory, of 41 bytes, an id has 64 bytes.
pub(super) const TOKEN_LEN: usize = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_split_as_it_was_joined() {
        let (token, other) = (SessionToken::random().unwrap(), SessionToken::random().unwrap());
        assert_ne!(token, other);
        let id = EventId::from_static("7-1");
        assert_eq!(SessionToken::split(&token.join(&id)), Some((token, id)));
        let zeros = "0".repeat(22);
        for foreign in ["", "7-1", "x", "\u{e9}", "earliest", &zeros, &format!("{zeros}0")] {
            assert_eq!(SessionToken::split(&EventId::new(foreign).unwrap()), None, "{foreign}");
        }
        let inside = format!("{zeros}\u{e9}7-1");
        assert_eq!(SessionToken::split(&EventId::new(inside).unwrap()), None);
    }

    #[test]
    fn every_key_has_topics_of_its_own() {
        let token = SessionToken([b'1'; TOKEN_LEN]);
        let name = |stream: &str, principal: &str| {
            let key = ResumeKey::new(stream, principal);
            token.topic(&key, TopicPart::Head).unwrap().to_string()
        };
        // "2:\u{ff}?>" and "0:a".
        let ones = "1".repeat(TOKEN_LEN);
        assert_eq!(name("?>", "\u{ff}"), format!("resume.{ones}.MjrDvz8-.head"));
        assert_eq!(name("a", ""), format!("resume.{ones}.MDph.head"));
        assert_ne!(name("ab", "c"), name("b", "ca"));
        let longest = "x".repeat(80);
        assert!(name(&longest, &longest).len() <= 256);
    }
}
