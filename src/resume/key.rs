//! Which session a request is for: its key, and the token in the ids of its events.

use std::fmt::{self, Write as _};

use crate::event_log::Topic;
use crate::wire::EventId;

/// The stream that a request is for, and the principal that asks.
///
/// Both are part of every look-up: a client gets only what was made for the same stream and the
/// same principal. The principal is what the application knows of the client, such as the user of
/// the session. If it knows no user, take something that only this client has. With one principal
/// for all, an id alone opens a stream, for anybody that has seen the id.
///
/// The name of the stream may come from the request, such as its path. Stream and principal
/// together may have 160 bytes; a request with a longer key gets a stream that cannot be resumed.
///
/// # Examples
///
/// ```
/// use tower_sse::resume::ResumeKey;
///
/// let key = ResumeKey::new("answers/42", "user-7");
/// let same: ResumeKey = ("answers/42", "user-7").into();
/// assert_eq!(key, same);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeKey(Box<str>);

impl ResumeKey {
    /// The key of a stream and a principal.
    #[must_use]
    pub fn new(stream: impl AsRef<str>, principal: impl AsRef<str>) -> Self {
        let (stream, principal) = (stream.as_ref(), principal.as_ref());
        // With its length, so that no two pairs have the same text.
        Self(format!("{}:{principal}{stream}", principal.len()).into())
    }

    /// The key as one text. None if it is too long.
    pub(super) fn into_text(self) -> Option<Box<str>> {
        Some(self.0).filter(|text| text.len() <= MAX_KEY_LEN)
    }
}

impl<S: AsRef<str>, P: AsRef<str>> From<(S, P)> for ResumeKey {
    fn from((stream, principal): (S, P)) -> Self {
        Self::new(stream, principal)
    }
}

/// The principal in the text of a key.
pub(super) fn principal(text: &str) -> &str {
    let Some((len, rest)) = text.split_once(':') else {
        return "";
    };
    len.parse().ok().and_then(|len| rest.get(..len)).unwrap_or_default()
}

/// Does not show the principal, so that it stays out of logs.
impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeKey").finish_non_exhaustive()
    }
}

/// In bytes. A key is kept for each session, and in base64 it has to fit into the name of a topic.
/// The last four bytes are for the length of the principal.
const MAX_KEY_LEN: usize = 160 + "160:".len();

/// The random name of a session, with which the ids of its events begin.
///
/// It has digits only, and always the same number of them. So it needs no separator, and an id
/// `<epoch>-<sequence>` keeps this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SessionToken([u8; TOKEN_LEN]);

impl SessionToken {
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
        if rest.is_empty() || !token.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some((Self(token.as_bytes().try_into().ok()?), EventId::new(rest).ok()?))
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id for clients of an event that has this id in the log.
    pub(super) fn join(&self, id: &EventId) -> EventId {
        EventId::from_parts(&[self.as_str(), id.as_str()])
    }

    /// A topic of the session. With the token of another key no client finds it.
    pub(super) fn topic(&self, key: &str, part: TopicPart) -> Option<Topic> {
        let mut name = format!("resume.{}.", self.as_str());
        push_base64(&mut name, key.as_bytes());
        if part == TopicPart::Head {
            name.push_str(".head");
        }
        Topic::new(&name).ok()
    }
}

/// What a topic of a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TopicPart {
    Events,
    /// The head of the response, for other nodes.
    Head,
}

/// Appends base64 for URLs, without padding: letters, digits, `-` and `_`.
fn push_base64(out: &mut String, bytes: &[u8]) {
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

/// 76 bits. With the longest id of a log in memory, of 41 bytes, an id has 64 bytes.
const TOKEN_LEN: usize = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pairs_have_the_same_key() {
        let pairs =
            [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("b1:", "x"), ("", "xb1:")];
        for (at, one) in pairs.iter().enumerate() {
            for other in &pairs[at + 1..] {
                assert_ne!(ResumeKey::from(*one), ResumeKey::from(*other));
            }
        }
    }

    #[test]
    fn a_key_has_its_principal() {
        for (stream, of) in [("answers/1", "ann"), ("", ""), ("3:x", "1:\u{e9}"), ("x", "")] {
            assert_eq!(principal(&ResumeKey::new(stream, of).0), of);
        }
    }

    #[test]
    fn keys_are_bounded() {
        assert!(ResumeKey::new("x".repeat(100), "y".repeat(60)).into_text().is_some());
        assert!(ResumeKey::new("x".repeat(200), "").into_text().is_none());
    }

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
        let name = |key: &str| token.topic(key, TopicPart::Events).unwrap().to_string();
        assert_eq!(name("ab\u{ff}?>"), format!("resume.{}.YWLDvz8-", "1".repeat(TOKEN_LEN)));
        assert_eq!(name("a"), format!("resume.{}.YQ", "1".repeat(TOKEN_LEN)));
        assert_ne!(name("1:ab"), name("2:ab"));
        let longest = "\u{e9}".repeat(MAX_KEY_LEN / 2);
        assert!(token.topic(&longest, TopicPart::Head).is_some());
    }
}
