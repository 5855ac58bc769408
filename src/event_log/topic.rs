//! The names of topics.

use std::sync::Arc;

use crate::error::InvalidText;
use crate::wire::{Text, checked_conversions, checked_text, is_control};

checked_text! {
    /// The name of a topic: tokens with `.` between them, such as `orders.42`.
    ///
    /// A name has from 1 to 256 bytes, so that a name from a request stays small. No token is
    /// empty, and none has whitespace, control characters, or the wildcards `*` and `>`: a name
    /// that is valid here is valid in NATS and in Redis, too. Clones share the text.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::event_log::Topic;
    ///
    /// const NEWS: Topic = Topic::from_static("news");
    ///
    /// let topic = Topic::new(format!("orders.{}", 42))?;
    /// assert_eq!(topic.as_str(), "orders.42");
    /// assert!(Topic::new("orders.*").is_err());
    /// assert!(Topic::new("orders..42").is_err());
    /// # let _ = NEWS;
    /// # Ok::<(), tower_sse::InvalidText>(())
    /// ```
    pub struct Topic(Text<Arc<str>>), rule: topic_rule
}

impl Topic {
    /// Checks `name` and makes a topic of it.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if the name breaks a rule.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidText> {
        let name = name.as_ref();
        topic_rule(name).map(|()| Self(Text::Owned(name.into())))
    }
}

#[cfg(any(feature = "postgres", feature = "redis"))]
impl Topic {
    /// Stands for all topics of a log. As a pattern, it is the name of none.
    pub(super) const ALL: Self = Self(Text::Static(">"));

    pub(super) fn is_all(&self) -> bool {
        self.as_str() == Self::ALL.as_str()
    }
}

checked_conversions!(Topic);

const fn topic_rule(name: &str) -> Result<(), InvalidText> {
    match check(name, Wildcards::Refused) {
        Ok(_) => Ok(()),
        Err(invalid) => Err(invalid),
    }
}

/// Whether a text may have wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wildcards {
    Refused,
    Allowed,
}

/// Checks a name or a pattern, and returns whether it has wildcards.
pub(super) const fn check(text: &str, wildcards: Wildcards) -> Result<bool, InvalidText> {
    let text = text.as_bytes();
    if text.len() > MAX_TOPIC_LEN {
        return Err(InvalidText::new(KIND, "topic has more than 256 bytes", None));
    }
    let (mut token, mut at, mut wild) = (0, 0, false);
    loop {
        let end = at == text.len();
        if end || text[at] == b'.' {
            if token == at {
                return Err(InvalidText::new(KIND, "topic has an empty token", Some(at)));
            }
            if end {
                return Ok(wild);
            }
            token = at + 1;
        } else if matches!(text[at], b'*' | b'>') {
            let last = at + 1 == text.len();
            let alone = at == token && (last || text[at + 1] == b'.');
            if !alone || matches!(wildcards, Wildcards::Refused) {
                return Err(InvalidText::new(KIND, "topic has a wildcard", Some(at)));
            }
            if text[at] == b'>' && !last {
                let problem = "topic has a `>` that is not the last token";
                return Err(InvalidText::new(KIND, problem, Some(at)));
            }
            wild = true;
        } else if is_whitespace(text, at) || is_control(text, at) {
            let problem = "topic has whitespace or a control character";
            return Err(InvalidText::new(KIND, problem, Some(at)));
        }
        at += 1;
    }
}

/// Whether the character that begins at byte `at` is whitespace, as [`char::is_whitespace`] says,
/// which is no `const fn` in Rust 1.85.
pub(super) const fn is_whitespace(text: &[u8], at: usize) -> bool {
    match text[at] {
        b'\t'..=b'\r' | b' ' => true,
        // U+0085 and U+00A0.
        0xc2 => matches!(text[at + 1], 0x85 | 0xa0),
        // U+1680.
        0xe1 => text[at + 1] == 0x9a && text[at + 2] == 0x80,
        // U+2000 to U+200A, U+2028, U+2029, U+202F; U+205F.
        0xe2 => match text[at + 1] {
            0x80 => matches!(text[at + 2], 0x80..=0x8a | 0xa8 | 0xa9 | 0xaf),
            0x81 => text[at + 2] == 0x9f,
            _ => false,
        },
        // U+3000.
        0xe3 => text[at + 1] == 0x80 && text[at + 2] == 0x80,
        _ => false,
    }
}

const KIND: &str = "topic";

/// In bytes. A log keeps the name of each topic, and names may come from requests.
const MAX_TOPIC_LEN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_are_checked_token_by_token() {
        #[rustfmt::skip]
        let table: &[(&str, bool, bool)] = &[
            // text            name   pattern
            ("a",              true,  true),
            ("orders.42",      true,  true),
            ("\u{e9}.x-y_z:1", true,  true),
            ("orders.*",       false, true),
            ("*.a.*",          false, true),
            ("orders.>",       false, true),
            (">",              false, true),
            ("",               false, false),
            (".a",             false, false),
            ("a.",             false, false),
            ("a..b",           false, false),
            ("a b",            false, false),
            ("a\u{a0}b",       false, false),
            ("a\nb",           false, false),
            ("a\u{7f}",        false, false),
            ("a*",             false, false),
            ("**",             false, false),
            ("a.>.b",          false, false),
            ("a>.b",           false, false),
        ];

        for &(text, name, pattern) in table {
            assert_eq!(Topic::new(text).is_ok(), name, "{text:?}");
            assert_eq!(check(text, Wildcards::Allowed).is_ok(), pattern, "{text:?}");
        }
        assert!(Topic::new("a".repeat(256)).is_ok());
        assert!(Topic::new("a".repeat(257)).is_err());
    }

    #[test]
    fn whitespace_and_control_characters_are_those_of_the_standard_library() {
        for char in '\0'..='\u{ffff}' {
            let valid =
                !matches!(char, '.' | '*' | '>') && !char.is_whitespace() && !char.is_control();
            assert_eq!(Topic::new(char.to_string()).is_ok(), valid, "{char:?}");
        }
    }

    #[test]
    fn an_error_names_the_rule_and_the_place_and_not_the_text() {
        #[rustfmt::skip]
        let table = [
            ("secret.to ken", "topic has whitespace or a control character at byte 9"),
            ("secret.>.ken",  "topic has a wildcard at byte 7"),
            ("secret..ken",   "topic has an empty token at byte 7"),
        ];
        for (text, expected) in table {
            assert_eq!(Topic::new(text).unwrap_err().to_string(), expected);
        }
    }
}
