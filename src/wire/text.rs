//! Text that is checked when it is made: ids and names of events, and comments.

use super::{Text, checked_conversions, checked_text};
use crate::error::InvalidText;

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
}
