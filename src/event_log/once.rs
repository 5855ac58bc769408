//! Messages that a log takes once: [`MessageId`], and what comes of appending one, [`Appended`].

use std::sync::Arc;

use super::topic::is_whitespace;
use crate::error::InvalidText;
use crate::wire::{EventId, Text, checked_conversions, checked_text, is_control};

checked_text! {
    /// The id that an application gives to a message, so that a log takes the message once.
    ///
    /// An id has from 1 to 255 bytes, as an `Idempotency-Key` of most APIs, and no whitespace or
    /// control characters. It may come from a request, but must name the message: two messages of
    /// one topic with the same id are one. Clones share the text.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::event_log::MessageId;
    ///
    /// let id = MessageId::new(format!("payment-{}", 42))?;
    /// assert_eq!(id.as_str(), "payment-42");
    /// assert!(MessageId::new("two words").is_err());
    /// # Ok::<(), tower_sse::InvalidText>(())
    /// ```
    pub struct MessageId(Text<Arc<str>>), rule: message_id_rule
}

impl MessageId {
    /// Checks `text` and makes an id of it.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if `text` is empty, has more than 255 bytes, or has whitespace or control
    /// characters.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidText> {
        let text = text.as_ref();
        message_id_rule(text).map(|()| Self(Text::Owned(text.into())))
    }
}

checked_conversions!(MessageId);

const fn message_id_rule(text: &str) -> Result<(), InvalidText> {
    const KIND: &str = "message id";
    let (text, mut at) = (text.as_bytes(), 0);
    if text.is_empty() {
        return Err(InvalidText::new(KIND, "message id is empty", None));
    }
    if text.len() > MAX_MESSAGE_ID_LEN {
        return Err(InvalidText::new(KIND, "message id has more than 255 bytes", None));
    }
    while at < text.len() {
        if is_whitespace(text, at) || is_control(text, at) {
            let problem = "message id has whitespace or a control character";
            return Err(InvalidText::new(KIND, problem, Some(at)));
        }
        at += 1;
    }
    Ok(())
}

/// In bytes. A log keeps the ids for a time, and they may come from requests.
const MAX_MESSAGE_ID_LEN: usize = 255;

/// What came of [`EventLog::append_once`](super::EventLog::append_once).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The id of the event: of the one that was appended first, if this is a repeat.
    pub id: EventId,
    /// Whether an earlier call had appended the message, so this one appended nothing.
    pub is_repeat: bool,
}

impl Appended {
    /// The message was not taken before, and its event has this id.
    #[must_use]
    pub fn new(id: EventId) -> Self {
        Self { id, is_repeat: false }
    }

    /// The message was taken before, and its event has this id.
    #[must_use]
    pub fn repeat(id: EventId) -> Self {
        Self { id, is_repeat: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_message_is_checked() {
        let longest = "x".repeat(MAX_MESSAGE_ID_LEN);
        for good in ["a", "0b7e3f1c-5a5e-4d59-8b0e-9f0a7a1f1d11", "\u{e9}/*.>:", &longest] {
            assert_eq!(MessageId::new(good).unwrap().as_str(), good);
        }
        let too_long = "x".repeat(MAX_MESSAGE_ID_LEN + 1);
        for bad in ["", " ", "a b", "a\n", "\0", "a\u{a0}", "\u{85}", &too_long] {
            assert!(MessageId::new(bad).is_err(), "{bad:?}");
        }
    }
}
