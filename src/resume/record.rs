//! The log of a session: its records, and what clients get of them.

use std::fmt::Write as _;

use bytes::Bytes;

use super::caught::CaughtFollower;
use super::token::SessionToken;
use crate::dialect::Dialect;
use crate::event_log::{EventLog, Gap, GapPolicy, Logged, Start, Topic};
use crate::wire::Event;

/// The number of events that a session has written, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogProgress {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// What a session writes with each event: a comment as its first line.
///
/// Comments of the handler's stream are not stored, so a handler cannot write a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: RecordKind,
    /// The progress of the session with this event.
    pub(super) progress: LogProgress,
}

/// What an event in the log of a session is. Clients get those of the kind `Event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    Event,
    /// The end of a stream that came to its own end.
    Finished,
    /// The end of a stream that somebody stopped.
    Stopped,
    /// The end of a stream that failed.
    Failed,
    /// The end of a stream to which no client came back.
    Abandoned,
    /// Written by the `RecordWriter` to see what the log has before it.
    Probe,
    /// The head of the response, in a topic of its own.
    Head,
    /// In the directory of a principal: a stream began, or goes on.
    Began,
    /// In the directory of a principal: a stream is over.
    Ended,
    /// The renewal of a node's lease.
    Alive,
    /// What a node is asked for: to stop a stream.
    Stop,
    /// What a node is told: how far a client has read a stream at another node.
    Reads,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The body came to its own end.
    Finished,
    /// Somebody stopped it. Clients can have the events before that.
    Stopped,
    /// The body failed. Clients can have the events before that.
    Failed,
    /// No client came back.
    Abandoned,
    /// The log does not say how.
    Lost,
}

impl RecordKind {
    /// How the session ended, if no event of it is after this one.
    pub(super) fn end(self) -> Option<SessionEnd> {
        match self {
            Self::Finished => Some(SessionEnd::Finished),
            Self::Stopped => Some(SessionEnd::Stopped),
            Self::Failed => Some(SessionEnd::Failed),
            Self::Abandoned => Some(SessionEnd::Abandoned),
            _ => None,
        }
    }

    pub(super) fn is_end(self) -> bool {
        self.end().is_some()
    }
}

const WORDS: [(RecordKind, &str); 12] = [
    (RecordKind::Event, "event"),
    (RecordKind::Finished, "finished"),
    (RecordKind::Stopped, "stopped"),
    (RecordKind::Failed, "failed"),
    (RecordKind::Abandoned, "abandoned"),
    (RecordKind::Probe, "probe"),
    (RecordKind::Head, "head"),
    (RecordKind::Began, "began"),
    (RecordKind::Ended, "ended"),
    (RecordKind::Alive, "alive"),
    (RecordKind::Stop, "stop"),
    (RecordKind::Reads, "reads"),
];

impl Record {
    /// Adds the record to an event.
    pub(super) fn add_to(self, event: Event) -> Event {
        let word = WORDS.iter().find(|(kind, _)| *kind == self.kind).map_or("", |(_, word)| word);
        let mut text = String::with_capacity("abandoned".len() + 2 * DIGITS);
        let _ = write!(text, "{word} {} {}", self.progress.events, self.progress.bytes);
        event.comment(text)
    }

    /// The record of an event, and the bytes of the event without it. None for an event that no
    /// session wrote.
    pub(super) fn split(event: &Logged) -> Option<(Self, Bytes)> {
        let bytes = event.bytes();
        let end = memchr::memchr(b'\n', bytes)?;
        let text = std::str::from_utf8(bytes[..end].strip_prefix(b": ")?).ok()?;
        let mut words = text.split(' ');
        let word = words.next()?;
        let kind = WORDS.iter().find(|(_, it)| *it == word)?.0;
        let (events, bytes_before) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let progress = LogProgress { events, bytes: bytes_before };
        Some((Self { kind, progress }, bytes.slice(end + 1..)))
    }
}

const DIGITS: usize = " 18446744073709551615".len();

/// Where the events of a session are.
pub(super) struct StreamSource<L> {
    pub(super) token: SessionToken,
    pub(super) log: L,
    pub(super) topic: Topic,
    /// In which the client is told that the log does not say how the session ended.
    pub(super) dialect: Dialect,
}

impl<L: EventLog> StreamSource<L> {
    pub(super) fn follow(&self, from: Start) -> CaughtFollower<L::Follower> {
        CaughtFollower::new(&self.log, &self.topic, from)
    }
}

/// An event as clients get it: without its record, and with the session's token before the id.
pub(super) fn encode_event(event: &Logged, without_record: &[u8], token: &SessionToken) -> Bytes {
    let id_at = without_record.len() - event.id().len() - "\n\n".len();
    let parts = [&without_record[..id_at], token.as_str().as_bytes(), &without_record[id_at..]];
    Bytes::from(parts.concat())
}

/// The event `gap`, with the ids that clients know.
pub(super) fn encode_gap(mut gap: Gap, token: &SessionToken) -> Bytes {
    for id in [&mut gap.requested, &mut gap.earliest, &mut gap.latest].into_iter().flatten() {
        *id = token.join(id);
    }
    gap.position = token.join(&gap.position);
    gap.encode(GapPolicy::Replay)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{EventId, EventName};

    fn logged(event: Event) -> Logged {
        let id = EventId::from_static("7-1");
        Logged::new(Topic::from_static("t"), &id, event).unwrap()
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_is_not_sent() {
        let token = SessionToken::random().unwrap();
        for (kind, _) in WORDS {
            let record = Record { kind, progress: LogProgress { events: 7, bytes: u64::MAX } };
            let event = Event::new().event(EventName::from_static("e")).data("x");
            let logged = logged(record.add_to(event));
            let (read, rest) = Record::split(&logged).unwrap();
            assert_eq!(read, record);
            let sent = format!("event: e\ndata: x\nid: {}7-1\n\n", token.as_str());
            assert_eq!(encode_event(&logged, &rest, &token), sent);
        }
    }

    #[test]
    fn no_other_comment_and_no_data_are_read_as_a_record() {
        for comment in ["", "event", "event 1", "event 1 x", "other 1 1", "event  1 1"] {
            assert_eq!(Record::split(&logged(Event::new().comment(comment).data("x"))), None);
        }
        assert_eq!(Record::split(&logged(Event::new().data("event 1 1"))), None);
    }
}
