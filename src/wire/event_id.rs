//! The id of an event, checked once.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::str::FromStr;

use memchr::memchr3;

/// The id of an event, as browsers send it back in `Last-Event-ID`.
///
/// An id is any text without NUL, CR and LF: the first makes browsers [ignore the field][id], the
/// others end it. Ids are opaque to this crate; it compares them and never looks inside.
///
/// The empty id is an id too: it makes browsers forget the one they had.
///
/// # Examples
///
/// ```
/// use tower_sse::wire::EventId;
///
/// let id = EventId::new("orders/42")?;
/// assert_eq!(id.as_str(), "orders/42");
/// assert!(EventId::new("two\nlines").is_err());
/// # Ok::<(), tower_sse::wire::InvalidEventId>(())
/// ```
///
/// [id]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Box<str>);

impl EventId {
    /// Takes `text` as an id.
    ///
    /// # Errors
    ///
    /// [`InvalidEventId`] if `text` has a NUL, CR or LF. The error tells where; the text itself
    /// is not repeated in it, so that it is safe to log.
    pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidEventId> {
        let text = text.into();
        match forbidden_at(&text) {
            Some(at) => Err(InvalidEventId { at }),
            None => Ok(Self(text)),
        }
    }

    /// The id `<epoch>-<n>`: the `n`-th event since a start, told from those of other starts.
    #[must_use]
    pub fn in_epoch(epoch: u64, n: u64) -> Self {
        let (mut epochs, mut numbers) = (itoa::Buffer::new(), itoa::Buffer::new());
        // Joined at its exact length: an id is made for each event.
        Self([epochs.format(epoch), "-", numbers.format(n)].concat().into())
    }

    /// The id of these parts, which have no NUL, CR or LF.
    #[cfg(feature = "hub")]
    pub(crate) fn of_parts(parts: &[&str]) -> Self {
        Self(parts.concat().into())
    }

    /// The id as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for EventId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

impl TryFrom<&str> for EventId {
    type Error = InvalidEventId;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl TryFrom<String> for EventId {
    type Error = InvalidEventId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl FromStr for EventId {
    type Err = InvalidEventId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// A text that cannot be an [`EventId`], since it has a NUL, CR or LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidEventId {
    /// In bytes, of the first one that is forbidden.
    at: usize,
}

impl fmt::Display for InvalidEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event id has a NUL, CR or LF at byte {}", self.at)
    }
}

impl Error for InvalidEventId {}

/// Lets what takes an id by [`TryInto`] take an [`EventId`] as well.
impl From<Infallible> for InvalidEventId {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Where `text` has the first character that the value of an `id` or `event` field must not have.
pub(super) fn forbidden_at(text: &str) -> Option<usize> {
    memchr3(b'\0', b'\r', b'\n', text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_characters_are_found_where_they_are() {
        #[rustfmt::skip]
        let table: &[(&str, Option<usize>)] = &[
            ("",               None),
            ("orders/42",      None),
            (" a: b ",         None),
            ("\u{2028}\u{85}", None),
            ("\0",             Some(0)),
            ("a\rb\n",         Some(1)),
            ("\u{e9}\n",       Some(2)),
        ];

        for &(text, at) in table {
            let expected = at.map_or(Ok(()), |at| Err(InvalidEventId { at }));
            assert_eq!(EventId::new(text).map(|_| ()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_error_says_where_and_not_what() {
        let error = "secret\n".parse::<EventId>().unwrap_err();
        assert_eq!(error.to_string(), "event id has a NUL, CR or LF at byte 6");
        assert!(!format!("{error:?}").contains("secret"));
    }
}
