//! The name of an event, checked once.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::str::FromStr;

use super::event_id::forbidden_at;

/// The name of an event: its type, by which pages listen for it.
///
/// A name is any text without NUL, CR and LF. The last two end the field, so that whoever chose
/// the rest of the name could write fields of their own; NUL is more than most clients expect.
///
/// Events without a name, or with an empty one, are of type [`message`][dispatch].
///
/// # Examples
///
/// ```
/// use tower_sse::wire::EventName;
///
/// let name = EventName::new("order-shipped")?;
/// assert_eq!(name.as_str(), "order-shipped");
/// assert!(EventName::new("two\nlines").is_err());
/// # Ok::<(), tower_sse::wire::InvalidEventName>(())
/// ```
///
/// [dispatch]: https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventName(Cow<'static, str>);

impl EventName {
    /// Takes `text` as a name.
    ///
    /// # Errors
    ///
    /// [`InvalidEventName`] if `text` has a NUL, CR or LF. The error tells where; the text itself
    /// is not repeated in it, so that it is safe to log.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidEventName> {
        let text = text.into();
        match forbidden_at(&text) {
            Some(at) => Err(InvalidEventName { at }),
            None => Ok(Self(Cow::Owned(text.into()))),
        }
    }

    /// One of the crate's own names, which need no check.
    pub(super) fn known(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether events of this name are those that have none.
    pub(super) fn is_default(&self) -> bool {
        matches!(self.as_str(), "" | "message")
    }
}

impl AsRef<str> for EventName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl TryFrom<&str> for EventName {
    type Error = InvalidEventName;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for EventName {
    type Error = InvalidEventName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl FromStr for EventName {
    type Err = InvalidEventName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// A text that cannot be an [`EventName`], since it has a NUL, CR or LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEventName {
    /// In bytes, of the first one that is forbidden.
    at: usize,
}

impl fmt::Display for InvalidEventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event name has a NUL, CR or LF at byte {}", self.at)
    }
}

impl Error for InvalidEventName {}

/// Lets what takes a name by [`TryInto`] take an [`EventName`] as well.
impl From<Infallible> for InvalidEventName {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_write_fields_are_refused() {
        for text in ["a\ndata: x", "a\rdata: x", "a\0data: x"] {
            let error = EventName::new(text).unwrap_err();
            assert_eq!(error, InvalidEventName { at: 1 }, "{text:?}");
            assert_eq!(error.to_string(), "event name has a NUL, CR or LF at byte 1");
        }
    }

    #[test]
    fn only_message_and_no_name_are_the_default() {
        for (text, default) in [("", true), ("message", true), ("Message", false), (" ", false)] {
            let name = EventName::new(text).unwrap();
            assert_eq!(name.is_default(), default, "{text:?}");
        }
    }
}
