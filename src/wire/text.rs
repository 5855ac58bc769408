//! Text that is checked when it is made: ids and names of events, and comments.

use std::ops::Deref;

use crate::error::InvalidText;

/// A literal, or text that was made at run time.
#[derive(Clone, Debug)]
pub(crate) enum Text<T> {
    Static(&'static str),
    Owned(T),
}

impl<T: Deref<Target = str>> Text<T> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Static(text) => text,
            Self::Owned(text) => text,
        }
    }
}

/// Declares a type of text with a rule, which is a `const fn(&str) -> Result<(), InvalidText>`.
///
/// The type compares, orders and hashes as its text does. It has no constructor but `from_static`:
/// each type has a `new` of its own, whose documentation says what the rule is.
macro_rules! checked_text {
    (
        $(#[$docs:meta])*
        pub struct $Name:ident(Text<$Owned:ty>), rule: $rule:path
    ) => {
        $(#[$docs])*
        #[derive(Clone)]
        pub struct $Name($crate::wire::Text<$Owned>);

        impl $Name {
            /// Makes a value of a literal.
            ///
            /// In a `const` a literal that breaks the rule fails the build.
            ///
            /// # Panics
            ///
            /// At run time, if the literal breaks the rule. For text that is not a literal use
            /// [`new`](Self::new), which returns an error instead.
            #[must_use]
            pub const fn from_static(text: &'static str) -> Self {
                match $rule(text) {
                    Ok(()) => Self($crate::wire::Text::Static(text)),
                    Err(invalid) => panic!("{}", invalid.problem()),
                }
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl std::borrow::Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl std::fmt::Debug for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_tuple(stringify!($Name)).field(&self.as_str()).finish()
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self.as_str(), f)
            }
        }

        impl PartialEq for $Name {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }

        impl Eq for $Name {}

        impl PartialOrd for $Name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $Name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_str().cmp(other.as_str())
            }
        }

        impl std::hash::Hash for $Name {
            fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }

        impl From<&$Name> for $Name {
            fn from(text: &$Name) -> Self {
                text.clone()
            }
        }
    };
}

/// Lets types that [`checked_text`] declares be made of text by the traits of the standard library.
macro_rules! checked_conversions {
    ($($Name:ident),+) => { $(
        impl TryFrom<&str> for $Name {
            type Error = $crate::error::InvalidText;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $Name {
            type Error = $crate::error::InvalidText;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::new(text)
            }
        }

        impl std::str::FromStr for $Name {
            type Err = $crate::error::InvalidText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }
    )+ };
}

#[cfg(feature = "hub")]
pub(crate) use checked_conversions;
pub(crate) use checked_text;

checked_text! {
    /// The id of an event, as browsers send it back in `Last-Event-ID`.
    ///
    /// An id is any text without NUL, CR and LF: a NUL makes browsers [ignore the field][id], and
    /// CR and LF end it. This crate compares ids and never interprets them.
    ///
    /// The empty id is an id too: it makes browsers forget the one that they had.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::{Event, EventId};
    ///
    /// let id = EventId::new(format!("orders/{}", 42))?;
    /// assert_eq!(id.as_str(), "orders/42");
    /// assert!(EventId::new("two\nlines").is_err());
    ///
    /// // The check of a literal cannot fail at run time, if it is a constant.
    /// const FIRST: EventId = EventId::from_static("0");
    /// let event = Event::new().id(FIRST).data("hello");
    /// # Ok::<(), tower_sse::InvalidText>(())
    /// ```
    ///
    /// [id]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
    pub struct EventId(Text<Box<str>>), rule: id_rule
}

impl EventId {
    /// Checks `text` and makes an id of it.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if `text` has a NUL, CR or LF.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidText> {
        let text = text.into();
        id_rule(&text).map(|()| Self(Text::Owned(text.into())))
    }

    /// The id `<epoch>-<n>` of the `n`-th event since a start of the process.
    ///
    /// An epoch that no earlier start had, such as the time of the start, tells the ids of one
    /// start from those of another.
    #[must_use]
    pub fn with_epoch(epoch: u64, n: u64) -> Self {
        let (mut epochs, mut numbers) = (itoa::Buffer::new(), itoa::Buffer::new());
        Self::from_parts(&[epochs.format(epoch), "-", numbers.format(n)])
    }

    /// The id of these parts, which have no NUL, CR or LF.
    pub(crate) fn from_parts(parts: &[&str]) -> Self {
        // Joined at its exact length: an id is made for each event.
        Self(Text::Owned(parts.concat().into()))
    }
}

checked_text! {
    /// The name of an event: its type, by which pages listen for it.
    ///
    /// A name is any text without NUL, CR and LF. CR and LF end the field, so text from a client
    /// could write fields of its own; most clients do not expect a NUL.
    ///
    /// Events without a name, or with an empty one, are of type [`message`][dispatch].
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::{Event, EventName};
    ///
    /// const SHIPPED: EventName = EventName::from_static("order-shipped");
    /// let event = Event::new().event(SHIPPED).data("42");
    ///
    /// assert!(EventName::new("two\nlines").is_err());
    /// ```
    ///
    /// A constant that no event can have as its name does not build:
    ///
    /// ```compile_fail
    /// # use tower_sse::EventName;
    /// const TWO_LINES: EventName = EventName::from_static("two\nlines");
    /// # let _ = TWO_LINES;
    /// ```
    ///
    /// [dispatch]: https://html.spec.whatwg.org/multipage/server-sent-events.html#dispatchMessage
    pub struct EventName(Text<Box<str>>), rule: name_rule
}

impl EventName {
    /// Checks `text` and makes a name of it.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if `text` has a NUL, CR or LF.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidText> {
        let text = text.into();
        name_rule(&text).map(|()| Self(Text::Owned(text.into())))
    }

    /// Whether an event of this name has the type of events without a name.
    pub(crate) fn is_default(&self) -> bool {
        matches!(self.as_str(), "" | "message")
    }
}

checked_text! {
    /// The text of the comments that [`KeepAliveLayer`](crate::KeepAliveLayer) writes: one line.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_sse::{Comment, KeepAliveLayer};
    ///
    /// let every = Duration::from_secs(15);
    /// let layer = KeepAliveLayer::every(every).comment(Comment::from_static("still here"));
    /// ```
    pub struct Comment(Text<Box<str>>), rule: comment_rule
}

impl Comment {
    /// Checks `text` and makes a comment of it.
    ///
    /// # Errors
    ///
    /// [`InvalidText`] if `text` has a NUL, CR or LF.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidText> {
        let text = text.into();
        comment_rule(&text).map(|()| Self(Text::Owned(text.into())))
    }
}

checked_conversions!(EventId, EventName, Comment);

const fn id_rule(text: &str) -> Result<(), InvalidText> {
    one_line(text, "event id", "event id has a NUL, CR or LF")
}

const fn name_rule(text: &str) -> Result<(), InvalidText> {
    one_line(text, "event name", "event name has a NUL, CR or LF")
}

const fn comment_rule(text: &str) -> Result<(), InvalidText> {
    one_line(text, "comment", "comment has a NUL, CR or LF")
}

const fn one_line(
    text: &str,
    kind: &'static str,
    problem: &'static str,
) -> Result<(), InvalidText> {
    let (bytes, mut at) = (text.as_bytes(), 0);
    while at < bytes.len() {
        if matches!(bytes[at], b'\0' | b'\r' | b'\n') {
            return Err(InvalidText::new(kind, problem, Some(at)));
        }
        at += 1;
    }
    Ok(())
}

/// Whether the character that begins at byte `at` is a control character, as [`char::is_control`]
/// says, which is no `const fn`.
pub(crate) const fn is_control(text: &[u8], at: usize) -> bool {
    match text[at] {
        ..b' ' | 0x7f => true,
        // U+0080 to U+009F.
        0xc2 => text[at + 1] < 0xa0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_or_a_line_end_is_refused_with_its_place() {
        #[rustfmt::skip]
        let table: &[(&str, Option<usize>)] = &[
            ("",               None),
            ("orders/42",      None),
            (" a: b ",         None),
            ("\u{2028}\u{85}", None),
            ("\0",             Some(0)),
            ("a\rb\n",         Some(1)),
            ("a\ndata: x",     Some(1)),
            ("\u{e9}\n",       Some(2)),
        ];

        for &(text, at) in table {
            let errors = [
                EventId::new(text).err(),
                EventName::new(text).err(),
                text.parse::<Comment>().err(),
            ];
            for (error, kind) in errors.iter().zip(["event id", "event name", "comment"]) {
                assert_eq!(error.as_ref().map(InvalidText::at), at.map(Some), "{text:?}");
                assert!(error.iter().all(|error| error.kind() == kind));
            }
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_text() {
        let error = "secret\n".parse::<EventId>().unwrap_err();
        assert_eq!(error.to_string(), "event id has a NUL, CR or LF at byte 6");
        assert!(!format!("{error:?}").contains("secret"));
    }

    #[test]
    fn a_literal_and_a_text_made_at_run_time_are_the_same_value() {
        use std::collections::HashSet;

        const LITERAL: EventName = EventName::from_static("order");
        let made = EventName::new(String::from("order")).unwrap();
        assert_eq!((LITERAL.cmp(&made), &LITERAL), (std::cmp::Ordering::Equal, &made));
        assert!(HashSet::from([LITERAL]).contains(&made));
        assert!(HashSet::from([LITERAL]).contains("order"));
        assert_eq!(format!("{LITERAL:?} {made:>6}"), "EventName(\"order\")  order");
    }

    #[test]
    #[should_panic = "event id has a NUL, CR or LF"]
    fn a_literal_that_breaks_the_rule_panics_with_the_rule() {
        let _ = EventId::from_static("a\0");
    }

    #[test]
    fn only_message_and_no_name_are_the_default() {
        for (text, default) in [("", true), ("message", true), ("Message", false), (" ", false)] {
            let name = EventName::new(text).unwrap();
            assert_eq!(name.is_default(), default, "{text:?}");
        }
    }

    #[test]
    fn control_characters_are_those_of_the_standard_library() {
        for char in '\0'..='\u{ffff}' {
            let mut buffer = [0; 4];
            let bytes = char.encode_utf8(&mut buffer).as_bytes();
            let found = (0..bytes.len()).any(|at| is_control(bytes, at));
            assert_eq!(found, char.is_control(), "{char:?}");
        }
    }
}
