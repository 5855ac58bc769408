//! Sessions of other nodes, which are looked for in a log that the nodes share.
//!
//! A look reads the log and follows nothing, so an id that a client made up leaves nothing behind.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::{Instant, sleep, timeout_at};

use super::body::{ResumeBody, ResumeStream, StreamSource};
use super::directory::{self, DirectoryEntry, record_text};
use super::head::SavedHead;
use super::key::ResumeKey;
use super::nodes::{LeaseState, PAGE};
use super::record::{LogProgress, Record, RecordKind, RecordWriter, WriteError};
use super::remote::{RemoteReader, RemoteSession};
use super::resumer::{LastEvent, ResumeRequest, Resumer};
use super::session::Session;
use super::settings::Join;
use super::token::{SessionToken, TopicPart};
use crate::event_log::{EventLog, Logged, Start, Topic};
use crate::wire::{Event, EventId};

impl<L: EventLog> Resumer<L> {
    /// The answer to a client that comes back to a session of another node, or joins one.
    ///
    /// For a session of another key it takes the same time as for one that never was: neither has a
    /// topic under the request's key.
    pub(super) async fn answer_from_other_nodes<B>(
        self: Arc<Self>,
        request: ResumeRequest,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let deadline = Instant::now().checked_add(self.settings.other_nodes)?;
        let log = self.settings.log()?;
        let resumed = self.resume_elsewhere(&request, &log, deadline).await;
        match resumed.or_else(|| self.join(&request)) {
            None => self.join_elsewhere(&request, &log, deadline).await,
            answer => answer,
        }
    }

    async fn resume_elsewhere<B>(
        &self,
        request: &ResumeRequest,
        log: &L,
        deadline: Instant,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let LastEvent { session: token, id, .. } = request.last_event.as_ref()?;
        let token = *token;
        let (node, head) = read_head(log, token, &request.key, deadline).await?;
        let topic = token.topic(&request.key, TopicPart::Events)?;
        let start = Start::After(id.clone());
        let mut next = first(log, &topic, start.clone(), deadline).await;
        if matches!(next, First::Unknown) {
            return None;
        }
        if matches!(next, First::Nothing) && is_over(log, &topic, deadline).await {
            // The end may have been written since. If not, the id is that of no event.
            next = match first(log, &topic, start.clone(), deadline).await {
                First::Nothing => return None,
                next => next,
            };
        }
        match next {
            // The client has all of the stream.
            First::Record(kind, _) if kind.is_end() => return request.answer_ended(kind.end()?),
            First::Nothing if self.has_died(log, node, deadline).await => return None,
            _ => {}
        }
        Some(head.response(self.stream_of(request, (log, topic), (token, node), start)))
    }

    async fn has_died(&self, log: &L, node: SessionToken, deadline: Instant) -> bool {
        let lease = self.nodes.lease_of(log, node, self.settings.lease);
        matches!(timeout_at(deadline, lease).await, Ok(LeaseState::Expired))
    }

    async fn join_elsewhere<B>(
        &self,
        request: &ResumeRequest,
        log: &L,
        deadline: Instant,
    ) -> Option<Response<ResumeBody<B, L>>> {
        let (join, key) = (request.join?, &request.key);
        let entries = until(deadline, || self.running_elsewhere(log, key.principal())).await?;
        for entry in entries.iter().rev().filter(|entry| entry.key == *key) {
            let DirectoryEntry { token, node, .. } = *entry;
            let Some((_, head)) = read_head(log, token, key, deadline).await else {
                continue;
            };
            let topic = token.topic(key, TopicPart::Events)?;
            if join == Join::FromNow && has_ended(log, &topic, deadline).await {
                continue;
            }
            let stream = self.stream_of(request, (log, topic), (token, node), join.start());
            return Some(head.response(stream));
        }
        None
    }

    fn stream_of<B>(
        &self,
        request: &ResumeRequest,
        (log, topic): (&L, Topic),
        (token, node): (SessionToken, SessionToken),
        from: Start,
    ) -> ResumeBody<B, L> {
        let session = RemoteSession {
            nodes: Arc::clone(&self.nodes),
            node,
            token,
            log: log.clone(),
            topic: topic.clone(),
            lease: self.settings.lease,
            linger: self.settings.linger,
            buffer: self.settings.buffer,
        };
        let reader = RemoteReader::new(session, from.clone());
        let (log, dialect) = (log.clone(), request.dialect());
        let source = StreamSource { token, log, topic, dialect };
        ResumeBody::resumable(ResumeStream::elsewhere(source, from, reader))
    }

    /// The sessions of a principal that run at other nodes that are alive, the oldest first.
    pub(super) async fn running_elsewhere(
        &self,
        log: &L,
        principal: &str,
    ) -> Result<Vec<DirectoryEntry>, L::Error> {
        let mut running = Vec::new();
        for entry in directory::read(log, principal).await? {
            let is_alive = entry.node != self.nodes.own
                && self.nodes.lease_of(log, entry.node, self.settings.lease).await
                    == LeaseState::Held;
            if is_alive {
                running.push(entry);
            }
        }
        Ok(running)
    }
}

/// Asks a log again until it answers.
async fn until<T, E, F>(deadline: Instant, mut ask: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, E>>,
{
    let asking = async {
        loop {
            if let Ok(answer) = ask().await {
                return answer;
            }
            sleep(RETRY_PAUSE).await;
        }
    };
    timeout_at(deadline, asking).await.ok()
}

/// What a topic has after a position.
enum First {
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
async fn first<L: EventLog>(log: &L, topic: &Topic, from: Start, deadline: Instant) -> First {
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
async fn is_over<L: EventLog>(log: &L, topic: &Topic, deadline: Instant) -> bool {
    let topics = topic.into();
    let last = until(deadline, || log.last(&topics, MAX_AFTER_END)).await.unwrap_or_default();
    last.iter().filter_map(Record::split).any(|(record, _)| record.kind.is_end())
}

/// Whether the log has the end of a session.
async fn has_ended<L: EventLog>(log: &L, topic: &Topic, deadline: Instant) -> bool {
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
async fn read_head<L: EventLog>(
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
