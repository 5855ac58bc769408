//! The names of topics, checked once.

use std::borrow::Borrow;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a topic: tokens with `.` between them, such as `orders.42`.
///
/// From 1 to 256 bytes, so that a name that a client made up stays small. No token is empty, and none
/// has whitespace, control characters, or the wildcards `*` and `>`: what is a valid name here is one
/// in NATS and in Redis, too. Clones share the text.
///
/// # Examples
///
/// ```
/// use tower_sse::event_log::Topic;
///
/// let topic = Topic::new("orders.42")?;
/// assert_eq!(topic.as_str(), "orders.42");
/// assert!(Topic::new("orders.*").is_err());
/// assert!(Topic::new("orders..42").is_err());
/// # Ok::<(), tower_sse::event_log::InvalidTopic>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Takes `name` as the name of a topic.
    ///
    /// # Errors
    ///
    /// [`InvalidTopic`], which says what is wrong and where, and does not repeat the name.
    pub fn new(name: &str) -> Result<Self, InvalidTopic> {
        match check(name, Wildcards::Refused) {
            Ok(_) => Ok(Self(name.into())),
            Err(invalid) => Err(invalid),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<&str> for Topic {
    type Error = InvalidTopic;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl TryFrom<String> for Topic {
    type Error = InvalidTopic;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl FromStr for Topic {
    type Err = InvalidTopic;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

/// A text that cannot be the name of a topic, or a pattern of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTopic {
    at: usize,
    what: &'static str,
}

impl InvalidTopic {
    pub(super) const fn new(at: usize, what: &'static str) -> Self {
        Self { at, what }
    }
}

impl fmt::Display for InvalidTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid topic: {} at byte {}", self.what, self.at)
    }
}

impl Error for InvalidTopic {}

/// Lets what takes topics by [`TryInto`] take a [`Topic`] as well.
impl From<std::convert::Infallible> for InvalidTopic {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Whether a text may have wildcards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wildcards {
    Refused,
    Taken,
}

/// Checks a name or a pattern, and says whether it has wildcards.
pub(super) fn check(text: &str, wildcards: Wildcards) -> Result<bool, InvalidTopic> {
    if text.len() > LONGEST {
        return Err(InvalidTopic::new(LONGEST, "longer than 256 bytes"));
    }
    let (mut at, mut wild) = (0, false);
    for token in text.split('.') {
        let wildcard = matches!(token, "*" | ">");
        if token.is_empty() {
            return Err(InvalidTopic::new(at, "an empty token"));
        }
        if token == ">" && at + 1 < text.len() {
            return Err(InvalidTopic::new(at, "a `>` that is not the last token"));
        }
        if !wildcard || wildcards == Wildcards::Refused {
            if let Some(inside) = token.find(['*', '>']) {
                return Err(InvalidTopic::new(at + inside, "a wildcard"));
            }
        }
        if let Some(inside) = token.find(|it: char| it.is_whitespace() || it.is_control()) {
            return Err(InvalidTopic::new(at + inside, "whitespace or a control character"));
        }
        wild |= wildcard;
        at += token.len() + ".".len();
    }
    Ok(wild)
}

/// Names are kept for each topic, and come from requests at times.
const LONGEST: usize = 256;

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
            ("a.>.b",          false, false),
            ("a>.b",           false, false),
        ];

        for &(text, name, pattern) in table {
            assert_eq!(Topic::new(text).is_ok(), name, "{text:?}");
            assert_eq!(check(text, Wildcards::Taken).is_ok(), pattern, "{text:?}");
        }
        assert!(Topic::new(&"a".repeat(256)).is_ok());
        assert!(Topic::new(&"a".repeat(257)).is_err());
    }

    #[test]
    fn the_error_says_where_and_not_what() {
        let error = Topic::new("secret.to ken").unwrap_err();
        let text = "invalid topic: whitespace or a control character at byte 9";
        assert_eq!(error.to_string(), text);
    }
}
