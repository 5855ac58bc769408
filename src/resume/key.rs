//! [`ResumeKey`]: which stream a request is for, and which principal asks.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

/// The stream that a request is for, and the principal that asks.
///
/// Both are part of every look-up: a client gets only what was made for the same stream and the
/// same principal. The principal is what the application knows of the client, such as the user of
/// the session. If it knows no user, take something that only this client has. With one principal
/// for all, an id alone opens a stream, for anybody that has seen the id.
///
/// The name of the stream may come from the request, such as its path. A stream or a principal that
/// is longer than 80 bytes, has control characters, or begins with `~`, is replaced by `~` and its
/// SHA-256, so that a key takes little memory, whatever a client sends.
///
/// # Examples
///
/// ```
/// use tower_sse::resume::ResumeKey;
///
/// let key = ResumeKey::new("answers/42", "user-7");
/// let same: ResumeKey = ("answers/42", "user-7").into();
/// assert_eq!(key, same);
/// assert_eq!(key.stream(), "answers/42");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeKey {
    stream: Box<str>,
    principal: Box<str>,
}

impl ResumeKey {
    /// The key of a stream and a principal.
    #[must_use]
    pub fn new(stream: impl AsRef<str>, principal: impl AsRef<str>) -> Self {
        Self { stream: bounded(stream.as_ref()), principal: bounded(principal.as_ref()) }
    }

    /// The stream, or `~` and its SHA-256.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The principal, or `~` and its SHA-256.
    #[must_use]
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// The key with the parts of another key.
    pub(super) fn of_parts(stream: &str, principal: &str) -> Self {
        Self { stream: stream.into(), principal: principal.into() }
    }

    /// The key as one text, for the names of topics.
    pub(super) fn to_text(&self) -> String {
        // With its length, so that no two pairs have the same text.
        format!("{}:{}{}", self.principal.len(), self.principal, self.stream)
    }
}

impl<S: AsRef<str>, P: AsRef<str>> From<(S, P)> for ResumeKey {
    fn from((stream, principal): (S, P)) -> Self {
        Self::new(stream, principal)
    }
}

/// Does not show the principal, so that it stays out of logs.
impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeKey").finish_non_exhaustive()
    }
}

/// A stream or a principal as a key has it: itself, or its hash.
///
/// A principal that begins as a hash does is hashed, too: it would have the streams of another one.
pub(super) fn bounded(part: &str) -> Box<str> {
    let is_short = part.len() <= MAX_PART_LEN && !part.starts_with(HASHED);
    if is_short && !part.contains(char::is_control) {
        return part.into();
    }
    let mut hash = String::from(HASHED);
    push_base64(&mut hash, &Sha256::digest(part));
    hash.into()
}

/// In bytes. Two parts, in base64, have to fit into the name of a topic.
const MAX_PART_LEN: usize = 80;

/// Not a letter of base64.
const HASHED: char = '~';

/// Appends base64 for URLs, without padding: letters, digits, `-` and `_`.
pub(super) fn push_base64(out: &mut String, bytes: &[u8]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pairs_have_the_same_key() {
        let long = "x".repeat(81);
        let hash = bounded(&long);
        let pairs = [
            ("a", "bc"),
            ("ab", "c"),
            ("", "abc"),
            ("abc", ""),
            ("b1:", "x"),
            ("", "xb1:"),
            (&long, &long),
            (&hash, &long),
            (&long, &hash),
            (&hash, &hash),
        ];
        for (at, one) in pairs.iter().enumerate() {
            for other in &pairs[at + 1..] {
                let (one, other) = (ResumeKey::from(*one), ResumeKey::from(*other));
                assert_ne!(one, other);
                assert_ne!(one.to_text(), other.to_text());
            }
        }
    }

    #[test]
    fn a_key_takes_no_more_than_its_bound_whatever_a_client_sends() {
        for (part, is_kept) in [
            ("\u{e9}".repeat(40), true),
            ("\u{e9}".repeat(40) + "x", false),
            ("x".repeat(1 << 20), false),
            ("a\nb".into(), false),
            ("~".into(), false),
            ("a~".into(), true),
        ] {
            let key = ResumeKey::new(&part, &part);
            assert_eq!(key.stream() == part && key.principal() == part, is_kept, "{part:.20}");
            assert!(key.to_text().len() <= 163);
            assert!(!key.to_text().contains(char::is_control));
        }
    }
}
