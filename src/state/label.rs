//! Labels of streams.

use std::sync::Arc;

use crate::error::InvalidText;
use crate::wire::{Text, checked_text, is_control};

checked_text! {
    /// What the application calls a stream: a route, a user, a topic.
    ///
    /// A label has at most 128 bytes and no control characters, so that it is safe in logs and
    /// metrics. [`Label::new`] refuses other text. The conversions from text (`From`) never fail,
    /// because a label is no reason to refuse a stream: they cut what is too long, and replace each
    /// control character with U+FFFD.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::{Label, Registry, RegistryLayer};
    ///
    /// // No allocation for a stream.
    /// let layer = RegistryLayer::new(Registry::new()).label(|_| Label::from_static("orders"));
    ///
    /// let label = Label::from("two\nlines");
    /// assert_eq!(label.as_str(), "two\u{fffd}lines");
    /// ```
    pub struct Label(Text<Arc<str>>), rule: label_rule
}

impl Label {
    /// Checks `text` and makes a label of it.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if `text` has more than 128 bytes or a control character.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidText> {
        let text = text.as_ref();
        label_rule(text).map(|()| Self(Text::Owned(text.into())))
    }
}

impl Default for Label {
    /// The empty label, of a stream that the application did not name.
    fn default() -> Self {
        Self::from_static("")
    }
}

impl From<&str> for Label {
    /// Cuts text that is too long, and replaces each control character with U+FFFD.
    fn from(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let mut end = text.len().min(MAX_LABEL_LEN);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = &text[..end];
        if !text.contains(char::is_control) {
            return Self(Text::Owned(text.into()));
        }
        // The replacement is longer than the character, so the text may have to be cut again.
        Self::from(&*text.replace(char::is_control, "\u{fffd}"))
    }
}

impl From<String> for Label {
    /// Cuts text that is too long, and replaces each control character with U+FFFD.
    fn from(text: String) -> Self {
        Self::from(&*text)
    }
}

const fn label_rule(text: &str) -> Result<(), InvalidText> {
    if text.len() > MAX_LABEL_LEN {
        return Err(InvalidText::new("label", "label has more than 128 bytes", None));
    }
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        if is_control(bytes, at) {
            return Err(InvalidText::new("label", "label has a control character", Some(at)));
        }
        at += 1;
    }
    Ok(())
}

/// In bytes. Labels are in each log line and metric of a stream.
const MAX_LABEL_LEN: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_short_and_printable_whatever_it_is_made_from() {
        for text in ["", "user 7", "a\nb", "\0", &"é".repeat(100), &"\u{7}".repeat(200)] {
            let label = Label::from(text);
            assert!(label.as_str().len() <= MAX_LABEL_LEN);
            assert!(!label.as_str().contains(char::is_control));
            assert_eq!(Label::new(label.as_str()), Ok(label));
        }
    }

    #[test]
    fn new_refuses_the_text_that_from_mends() {
        let errors = [Label::new("é\u{85}b"), Label::new("x".repeat(129))].map(Result::unwrap_err);
        assert_eq!(errors[0].to_string(), "label has a control character at byte 2");
        assert_eq!(errors[1].to_string(), "label has more than 128 bytes");
        assert!(Label::new("x".repeat(128)).is_ok());
    }
}
