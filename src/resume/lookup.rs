//! What a log that nodes share tells of the sessions of other nodes.
//!
//! A look reads the log and follows nothing, so an id that a client made up leaves nothing behind.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::caught::answer;
use super::directory::record_text;
use super::head::SavedHead;
use super::key::ResumeKey;
use super::nodes::PAGE;
use super::record::{LogProgress, Record, RecordKind};
use super::session::Session;
use super::token::{SessionToken, TopicPart};
use super::writer::{RecordWriter, WriteError};
use crate::event_log::{EventLog, Logged, Start, Topic};
use crate::wire::{Event, EventId};

/// Asks a log again until it answers.
pub(super) async fn until<T, E, F>(deadline: Instant, mut ask: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, E>>,
{
    let asking = async {
        loop {
            if let Ok(answer) = answer(&mut ask).await {
                return answer;
            }
            sleep(RETRY_PAUSE).await;
        }
    };
    timeout_at(deadline, asking).await.ok()
}

/// What a topic has after a position.
pub(super) enum First {
    /// A record that is no probe, and its text.
    Record(RecordKind, String),
    Gap,
    /// A gap, although the topic has lost nothing: the position is that of no event.
    Unknown,
    Nothing,
    /// The log did not answer.
    NoAnswer,
}

/// Looks for the first record. Probes and events of other writers are skipped.
pub(super) async fn first<L: EventLog>(
    log: &L,
    topic: &Topic,
    from: Start,
    deadline: Instant,
) -> First {
    let mut from = from;
    loop {
        let Some(page) = until(deadline, || log.read(topic, from.clone(), 1)).await else {
            return First::NoAnswer;
        };
        let Some(event) = page.events.first() else {
            return if page.gap.is_some() { First::Gap } else { First::Nothing };
        };
        if page.gap.is_some() {
            return if is_beginning(event) { First::Unknown } else { First::Gap };
        }
        match (record_text(event), EventId::new(event.id())) {
            (Some((kind, text)), _) if kind != RecordKind::Probe => {
                return First::Record(kind, text);
            }
            (_, Ok(id)) => from = Start::After(id),
            (_, Err(_)) => return First::Nothing,
        }
    }
}

/// Whether this is the first record of a session.
fn is_beginning(event: &Logged) -> bool {
    Record::split(event).is_some_and(|(Record { kind, progress }, _)| match kind {
        RecordKind::Event => progress.events == 1,
        kind => kind.is_end() && progress.events == 0,
    })
}

/// Whether a session has ended, as one of the last records in its log says.
pub(super) async fn is_over<L: EventLog>(log: &L, topic: &Topic, deadline: Instant) -> bool {
    let topics = topic.into();
    let last = until(deadline, || log.last(&topics, MAX_AFTER_END)).await.unwrap_or_default();
    last.iter().filter_map(Record::split).any(|(record, _)| record.kind.is_end())
}

/// Whether the log has the end of a session.
pub(super) async fn has_ended<L: EventLog>(log: &L, topic: &Topic, deadline: Instant) -> bool {
    let mut from = Start::Earliest;
    loop {
        let Some(page) = until(deadline, || log.read(topic, from.clone(), PAGE)).await else {
            return true;
        };
        let mut records = page.events.iter().filter_map(Record::split);
        if records.any(|(record, _)| record.kind.is_end()) {
            return true;
        }
        let last = page.events.last().filter(|_| page.has_more);
        match last.map(|event| EventId::new(event.id())) {
            Some(Ok(last)) => from = Start::After(last),
            _ => return false,
        }
    }
}

/// Writes the head of the response for other nodes, with the name of this one.
pub(super) async fn write_head<L: EventLog>(
    session: &Session<L>,
    node: SessionToken,
    patience: Duration,
) -> Result<(), WriteError> {
    let topic = session.token.topic(&session.key, TopicPart::Head);
    let (Some(topic), Some(text)) = (topic, session.head.to_text()) else {
        return Ok(());
    };
    let record = Record { kind: RecordKind::Head, progress: LogProgress::default() };
    let mut writer = RecordWriter::new(session.log.clone(), topic, patience);
    let text = format!("{}\n{text}", node.as_str());
    writer.write(record, Event::new().data(text)).await.map(|_| ())
}

/// The node and the head of a session.
pub(super) async fn read_head<L: EventLog>(
    log: &L,
    token: SessionToken,
    key: &ResumeKey,
    deadline: Instant,
) -> Option<(SessionToken, SavedHead)> {
    let topic = token.topic(key, TopicPart::Head)?;
    match first(log, &topic, Start::Earliest, deadline).await {
        First::Record(RecordKind::Head, text) => {
            let (node, head) = text.split_once('\n')?;
            Some((node.parse().ok()?, SavedHead::from_text(head)?))
        }
        _ => None,
    }
}

/// More probes than a writer needs to see that the end was written.
const MAX_AFTER_END: usize = 8;

/// How long is waited before a log is asked again that returned an error.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
