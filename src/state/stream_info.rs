//! The information about one open stream that a registry shows, with its id and its label.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use crate::error::InvalidText;
use crate::roster::RosterId;
use crate::wire::{EventId, Text, checked_text, is_control};

/// The number of a stream among all streams of its registry so far, from 1 on.
///
/// It is short enough to be read and typed by people. A number is not given again in the life of a
/// registry, so an old id never finds another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) RosterId);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_u64().fmt(f)
    }
}

impl FromStr for StreamId {
    type Err = ParseIntError;

    /// Reads what `Display` writes. Any number is an id, mostly of no stream.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(RosterId::from_u64).map(Self)
    }
}

/// One open stream, at the time when a registry was asked.
///
/// # As JSON
///
/// With the feature `serde` it serialises as below. Times become the seconds since them, by the
/// clock at the time of serialising. The id is a text, which [`StreamId`] parses. `last_event_id`,
/// `events`, `last_sent_secs_ago` and `last_polled_secs_ago` are null where there is no value.
///
/// ```json
/// {
///   "id": "17",
///   "label": "user 7",
///   "method": "GET",
///   "path": "/events",
///   "age_secs": 62.5,
///   "last_event_id": "42",
///   "bytes": 1210,
///   "keepalives": 3,
///   "events": 42,
///   "last_sent_secs_ago": 0.25,
///   "last_polled_secs_ago": 0.25,
///   "state": "open"
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The number of the stream.
    pub id: StreamId,
    /// What the application calls the stream. Empty if it gives no label.
    pub label: Label,
    /// The method of its request.
    pub method: Method,
    /// The path of its request, as the outermost layer saw it, without the query.
    pub path: Arc<str>,
    /// When the response began.
    pub started: Instant,
    /// The id that the client would come back with, as far as it is known. Ids are read if a layer
    /// asks for it ([`EventIdLayer`](crate::EventIdLayer), event counts), or if the first events of
    /// the stream have ids.
    pub last_event_id: Option<EventId>,
    /// Bytes handed to the server, with comments and the farewell.
    pub bytes: u64,
    /// Comments written because the stream was silent.
    pub keepalives: u32,
    /// Events handed to the server, if the registry [counts](crate::RegistryBuilder::count_events)
    /// them.
    pub events: Option<u64>,
    /// When bytes were last handed to the server. In a burst it is updated every 16 frames.
    pub last_sent: Option<Instant>,
    /// When the server last polled the body. It does not poll while the client does not read. In a
    /// burst it is updated every 16 frames.
    pub last_polled: Option<Instant>,
    /// Whether the stream goes on, ends, or is stuck.
    pub state: StreamState,
}

/// Whether a stream goes on, ends, or is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamState {
    /// The stream goes on.
    Open,
    /// The stream was asked to close and has not ended yet.
    Closing,
    /// The stream has something to send, or was asked to close, and the server has not polled it
    /// [for some time](crate::RegistryBuilder::stalled_after): its client does not read.
    ///
    /// This is also the state of a stream that was asked to close and cannot, because that it is
    /// stuck is what an operator has to know.
    Stalled,
}

impl StreamState {
    /// The word for the state in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Stalled => "stalled",
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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
