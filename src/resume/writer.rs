//! The writer of a session, which writes each of its events once.

use std::future::{Future, poll_fn};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::caught::{CaughtFollower, LogAway, answer, caught};
use super::record::{LogProgress, Record, RecordKind};
use crate::event_log::{EventLog, Start, Step, Topic};
use crate::sync::catch_panic;
use crate::wire::{Event, EventId};

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
/// When a log does not take an event, or panics, the writer tries again for a time. But the log may
/// have taken the event although it returned an error, for example if the answer of a broker was
/// lost. A second append would store the event twice, and a client that comes back with the id of
/// the first would get the second. So the writer first appends a probe, an event without meaning,
/// and reads the topic up to the probe. If the event is there, it was written.
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
            let append = || self.log.append(&self.topic, event.clone());
            match until(deadline, caught(append)).await? {
                Some(Ok(id)) => {
                    self.last_known = Some(id.clone());
                    return Ok(id);
                }
                // Then it is not there, and never will be.
                Some(Err(error)) if catch_panic(|| L::is_final(&error)) == Some(true) => {
                    let bytes = event.encode();
                    let record = memchr::memchr(b'\n', &bytes).map_or(0, |end| end + 1);
                    return Err(WriteError::Refused(bytes.slice(record..)));
                }
                Some(Err(_)) | None => {}
            }
            let found = loop {
                let probe = self.write_probe(deadline).await?;
                // The log may be away again.
                if let Ok(found) = until(deadline, self.find(record, &probe)).await? {
                    self.last_known = Some(probe);
                    break found;
                }
            };
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
            let append = || self.log.append(&self.topic, probe);
            if let Ok(id) = until(deadline, answer(append)).await? {
                return Ok(id);
            }
        }
    }

    /// The id of the first event with this record that the topic has before the probe.
    async fn find(&self, record: Record, probe: &EventId) -> Result<Option<EventId>, LogAway> {
        let start = self.last_known.clone().map_or(Start::Earliest, Start::After);
        let mut follower = CaughtFollower::new(&self.log, &self.topic, start);
        let mut found = None;
        loop {
            let Some(step) = poll_fn(|cx| follower.poll_next(cx)).await? else {
                return Ok(None);
            };
            match step {
                Step::Event(event) if event.id() == probe.as_str() => return Ok(found),
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
