//! Records: the events of a session in its log, and the writer that writes each of them once.

use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::session::SessionEnd;
use super::token::SessionToken;
use crate::event_log::{EventLog, Follow, Logged, Start, Step, Topic};
use crate::wire::{Event, EventId};

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
    /// Written by the [`RecordWriter`] to see what the log has before it.
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

/// The bytes that clients get: without the record, and with the session's token before the id.
pub(super) fn frame(event: &Logged, without_record: &[u8], token: &SessionToken) -> Bytes {
    let id_at = without_record.len() - event.id().len() - "\n\n".len();
    let parts = [&without_record[..id_at], token.as_str().as_bytes(), &without_record[id_at..]];
    Bytes::from(parts.concat())
}

const DIGITS: usize = " 18446744073709551615".len();

/// Why a log does not take an event.
#[derive(Debug)]
pub(super) enum WriteError {
    /// It never will: the encoded event, without its record.
    Refused(Bytes),
    /// It did not for as long as the writer tries.
    Away,
}

/// The only writer of a session's topic.
///
/// When a log does not take an event, the writer tries again for a time. But the log may have taken
/// the event although it returned an error, for example if the answer of a broker was lost. A
/// second append would store the event twice, and a client that comes back with the id of the first
/// would get the second. So the writer first appends a probe, an event without meaning, and reads
/// the topic up to the probe. If the event is there, it was written.
///
/// An event that is still on its way to the broker at that time, and arrives later, is not seen. It
/// is stored twice; clients that read on skip the second by its number.
pub(super) struct RecordWriter<L> {
    log: L,
    topic: Topic,
    /// How long the writer tries again.
    patience: Duration,
    /// The last id that the log returned: events after it may have been taken unnoticed.
    last_known: Option<EventId>,
}

impl<L: EventLog> RecordWriter<L> {
    pub(super) fn new(log: L, topic: Topic, patience: Duration) -> Self {
        Self { log, topic, patience, last_known: None }
    }

    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Writes an event, and returns its id.
    pub(super) async fn write(
        &mut self,
        record: Record,
        event: Event,
    ) -> Result<EventId, WriteError> {
        let event = record.add_to(event);
        let deadline = Instant::now().checked_add(self.patience);
        loop {
            match until(deadline, self.log.append(&self.topic, event.clone())).await? {
                Ok(id) => {
                    self.last_known = Some(id.clone());
                    return Ok(id);
                }
                // Then it is not there, and never will be.
                Err(error) if L::is_final(&error) => {
                    let bytes = event.encode();
                    let record = memchr::memchr(b'\n', &bytes).map_or(0, |end| end + 1);
                    return Err(WriteError::Refused(bytes.slice(record..)));
                }
                Err(_) => {}
            }
            let probe = self.write_probe(deadline).await?;
            // The log may be away again.
            let found = until(deadline, self.find(record, &probe)).await?;
            self.last_known = Some(probe);
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    async fn write_probe(&self, deadline: Option<Instant>) -> Result<EventId, WriteError> {
        let record = Record { kind: RecordKind::Probe, progress: LogProgress::default() };
        loop {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(WriteError::Away);
            }
            sleep(RETRY_PAUSE).await;
            let probe = record.add_to(Event::new().static_data(""));
            if let Ok(id) = until(deadline, self.log.append(&self.topic, probe)).await? {
                return Ok(id);
            }
        }
    }

    /// The id of the first event with this record that the topic has before the probe.
    async fn find(&self, record: Record, probe: &EventId) -> Option<EventId> {
        let start = self.last_known.clone().map_or(Start::Earliest, Start::After);
        let mut follower = Box::pin(self.log.follow((&self.topic).into(), start));
        let mut found = None;
        loop {
            match poll_fn(|cx| follower.as_mut().poll_next(cx)).await? {
                Step::Event(event) if event.id() == probe.as_str() => return found,
                Step::Event(event) if found.is_none() => {
                    let is_it = Record::split(&event).is_some_and(|(it, _)| it == record);
                    found = is_it.then(|| EventId::new(event.id()).ok()).flatten();
                }
                // An event that this writer cannot have any more, no client can have either.
                Step::Event(_) | Step::Gap(_) => {}
            }
        }
    }
}

/// What a log answers until then.
async fn until<T>(
    deadline: Option<Instant>,
    answer: impl Future<Output = T>,
) -> Result<T, WriteError> {
    match deadline {
        Some(deadline) => timeout_at(deadline, answer).await.map_err(|_| WriteError::Away),
        None => Ok(answer.await),
    }
}

/// How long the writer waits before it asks a log again that returned an error.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::EventName;

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
            assert_eq!(frame(&logged, &rest, &token), sent);
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
