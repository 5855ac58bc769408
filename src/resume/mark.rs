//! What is written beside each event in the log, and is taken off before it is sent.

use std::fmt::Write as _;

use bytes::Bytes;

use super::token::Token;
use crate::event_log::Logged;
use crate::wire::Event;

/// How far a stream has come: events, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// What is written beside each event, as its first line, a comment. Comments of the stream itself are
/// not kept, so nothing that a handler writes is taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) kind: Kind,
    /// How far the stream has come with this event.
    pub(super) place: Place,
}

/// What an event in the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One for the client.
    Event,
    /// The end of a stream that came to it by itself. Clients are not sent this, nor the next ones.
    Finished,
    /// The end of one that failed.
    Failed,
    /// The end of one to which nobody came back.
    Left,
    /// Where the task saw what had come of what it wrote. It is nothing to anybody else.
    Look,
    /// The head of the response, in a topic of its own.
    Head,
}

const KINDS: [(Kind, &str); 6] = [
    (Kind::Event, "event"),
    (Kind::Finished, "finished"),
    (Kind::Failed, "failed"),
    (Kind::Left, "left"),
    (Kind::Look, "look"),
    (Kind::Head, "head"),
];

impl Mark {
    /// The event with this beside it.
    pub(super) fn on(self, event: Event) -> Event {
        let name = KINDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, name)| name);
        let mut text = String::with_capacity("finished".len() + 2 * DIGITS);
        let _ = write!(text, "{name} {} {}", self.place.events, self.place.bytes);
        event.comment(text)
    }

    /// Reads it, and gives what is behind it; none for what this crate did not write.
    pub(super) fn of(event: &Logged) -> Option<(Self, Bytes)> {
        let bytes = event.bytes();
        let end = memchr::memchr(b'\n', bytes)?;
        let text = std::str::from_utf8(bytes[..end].strip_prefix(b": ")?).ok()?;
        let mut words = text.split(' ');
        let name = words.next()?;
        let kind = KINDS.iter().find(|(_, it)| *it == name)?.0;
        let place =
            Place { events: words.next()?.parse().ok()?, bytes: words.next()?.parse().ok()? };
        Some((Self { kind, place }, bytes.slice(end + 1..)))
    }
}

/// What clients are sent: without the mark, and with the stream's token in front of the id.
pub(super) fn frame(event: &Logged, unmarked: &[u8], token: &Token) -> Bytes {
    let id_at = unmarked.len() - event.id().len() - "\n\n".len();
    let parts = [&unmarked[..id_at], token.as_str().as_bytes(), &unmarked[id_at..]];
    Bytes::from(parts.concat())
}

const DIGITS: usize = " 18446744073709551615".len();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::Topic;
    use crate::wire::{EventId, EventName};

    fn logged(event: Event) -> Logged {
        Logged::new(Topic::new("t").unwrap(), &EventId::new("7-1").unwrap(), event).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_taken_off() {
        let token = Token::random().unwrap();
        for (kind, _) in KINDS {
            let mark = Mark { kind, place: Place { events: 7, bytes: u64::MAX } };
            let event = Event::new().event(EventName::from_static("e")).data("x");
            let logged = logged(mark.on(event));
            let (read, rest) = Mark::of(&logged).unwrap();
            assert_eq!(read, mark);
            let sent = format!("event: e\ndata: x\nid: {}7-1\n\n", token.as_str());
            assert_eq!(frame(&logged, &rest, &token), sent);
        }
    }

    #[test]
    fn nothing_else_is_taken_for_one() {
        for comment in ["", "event", "event 1", "event 1 x", "other 1 1", "event  1 1"] {
            assert_eq!(Mark::of(&logged(Event::new().comment(comment).data("x"))), None);
        }
        assert_eq!(Mark::of(&logged(Event::new().data("event 1 1"))), None);
    }
}
