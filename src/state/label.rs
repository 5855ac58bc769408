//! What the application calls a stream.

use std::fmt;
use std::sync::Arc;

/// What the application calls a stream: a route, a user, a topic.
///
/// At most 128 bytes and no control characters, so that labels are safe in logs and metrics. The
/// conversions from text mend what does not fit, since a label is no reason to refuse a stream;
/// [`Label::new`] refuses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Option<Arc<str>>);

impl Label {
    /// Takes `text` as a label.
    ///
    /// # Errors
    ///
    /// [`InvalidLabel`] if `text` is longer than 128 bytes or has a control character.
    pub fn new(text: &str) -> Result<Self, InvalidLabel> {
        if text.len() > LONGEST {
            return Err(InvalidLabel { at: LONGEST, what: "longer than 128 bytes" });
        }
        match text.find(char::is_control) {
            Some(at) => Err(InvalidLabel { at, what: "a control character" }),
            None => Ok(Self::from(text)),
        }
    }

    /// The label as text, empty if there is none.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<&str> for Label {
    /// Cuts what is too long, and writes control characters as `\u{fffd}`.
    fn from(text: &str) -> Self {
        if text.is_empty() {
            return Self(None);
        }
        let mut end = text.len().min(LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        if !text.contains(char::is_control) {
            return Self(Some(text.into()));
        }
        // The replacement is longer than what it replaces, so it may be cut once more.
        Self::from(&*text.replace(char::is_control, "\u{fffd}"))
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that cannot be a [`Label`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidLabel {
    at: usize,
    what: &'static str,
}

impl fmt::Display for InvalidLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid label: {} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for InvalidLabel {}

/// Labels end up in every log line and metric of a stream.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_printable_whatever_it_is_made_from() {
        for text in ["", "user 7", "a\nb", "\0", &"é".repeat(100), &"\u{7}".repeat(200)] {
            let label = Label::from(text);
            assert!(label.as_str().len() <= LONGEST);
            assert!(!label.as_str().contains(char::is_control));
            assert_eq!(Label::new(label.as_str()), Ok(label));
        }
    }

    #[test]
    fn new_refuses_what_from_mends() {
        assert_eq!(
            Label::new("a\nb").unwrap_err().to_string(),
            "invalid label: a control character at byte 1"
        );
        assert!(Label::new(&"x".repeat(129)).is_err());
        assert!(Label::new(&"x".repeat(128)).is_ok());
    }
}
