//! The writer: the one task of a process that appends events, many in one transaction if many wait,
//! and that deletes what is due.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_postgres::types::{ToSql, Type};

use super::error::{Failure, FailureKind, PgResult};
use super::link::{PostgresLink, micros};
use super::rows::{no_log, not_understood, number, value};
use super::session::Session;
use crate::event_log::broker::{MIN_RETRY_DELAY, next_delay};
use crate::event_log::{Appended, MessageId, Topic};
use crate::wire::EventId;

/// An event that waits to be appended.
pub(super) struct Pending {
    topic: Topic,
    event: Vec<u8>,
    /// The message, if the event is to be taken once.
    message: Option<MessageId>,
    /// When the caller gives up.
    until: Instant,
    answer: oneshot::Sender<PgResult<Appended>>,
}

/// Hands events to the writer.
#[derive(Clone, Debug)]
pub(super) struct WriterHandle(mpsc::Sender<Pending>);

/// Appends events.
pub(super) struct Writer {
    link: PostgresLink,
    limits: LogLimits,
    pending: mpsc::Receiver<Pending>,
    next_sweep: Instant,
}

/// How much PostgreSQL keeps of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    /// How many events of a topic.
    pub(super) events: usize,
    /// How long a topic is kept after its last event.
    pub(super) idle: Duration,
    /// How long a message is taken.
    pub(super) duplicate_window: Duration,
}

impl WriterHandle {
    /// Appends an event within a time.
    pub(super) async fn append(
        &self,
        topic: &Topic,
        event: Vec<u8>,
        message: Option<&MessageId>,
        within: Duration,
    ) -> PgResult<Appended> {
        let (answer, answered) = oneshot::channel();
        let (topic, message, until) = (topic.clone(), message.cloned(), Instant::now() + within);
        let pending = Pending { topic, event, message, until, answer };
        let append = async {
            self.0.send(pending).await.map_err(|_| writer_ended())?;
            answered.await.map_err(|_| writer_ended())?
        };
        timeout(within, append).await.unwrap_or_else(|_| Err(Failure::timed_out()))
    }
}

impl Writer {
    pub(super) fn new(link: PostgresLink, limits: LogLimits) -> (WriterHandle, Self) {
        let (handle, pending) = mpsc::channel(MAX_WAITING);
        let next_sweep = Instant::now() + SWEEP_INTERVAL;
        (WriterHandle(handle), Self { link, limits, pending, next_sweep })
    }

    /// Appends until the last handle is gone.
    pub(super) async fn run(mut self) {
        loop {
            match timeout_at(self.next_sweep, self.pending.recv()).await {
                Ok(Some(first)) => self.append_all(first).await,
                Ok(None) => return,
                Err(_) => {}
            }
            if Instant::now() >= self.next_sweep {
                // While PostgreSQL is away, what is due stays.
                let goes_on = self.sweep().await.unwrap_or(false);
                let wait = if goes_on { Duration::ZERO } else { SWEEP_INTERVAL };
                self.next_sweep = Instant::now() + wait;
            }
        }
    }

    /// Appends an event, and those that wait by now.
    async fn append_all(&mut self, first: Pending) {
        let (mut batch, mut bytes) = (vec![first], 0);
        while batch.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            let Ok(next) = self.pending.try_recv() else { break };
            bytes += next.event.len();
            batch.push(next);
        }
        match self.append(&mut batch).await {
            // One of them may be to blame for all.
            Err(failure) if failure.kind == FailureKind::Refused && batch.len() > 1 => {
                for one in batch {
                    let mut alone = vec![one];
                    let answer = self.append(&mut alone).await;
                    tell(alone, answer);
                }
            }
            answer => tell(batch, answer),
        }
    }

    /// Appends events in one transaction. A server that is not ready is asked again, as long as
    /// there is a caller that waits; events of the others are taken out.
    async fn append(&self, batch: &mut Vec<Pending>) -> PgResult<Vec<Appended>> {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            // It may take long to connect: what is sent is what is waited for then.
            let session = self.link.short().await;
            batch.retain(|pending| !pending.answer.is_closed());
            if batch.is_empty() {
                return Ok(Vec::new());
            }
            let answer = match session {
                Ok(session) => self.append_over(&session, batch).await,
                Err(failure) => Err(failure),
            };
            match answer {
                Err(failure) if failure.kind == FailureKind::NotReady => {
                    let next = Instant::now() + delay;
                    let (over, waits): (Vec<_>, Vec<_>) =
                        batch.drain(..).partition(|pending| pending.until <= next);
                    tell(over, Err(failure));
                    *batch = waits;
                }
                answer => return answer,
            }
            sleep(delay).await;
            delay = next_delay(delay);
        }
    }

    async fn append_over<'a>(
        &self,
        session: &Session,
        batch: &'a [Pending],
    ) -> PgResult<Vec<Appended>> {
        let topics: Vec<&str> = batch.iter().map(|pending| pending.topic.as_str()).collect();
        let events: Vec<&[u8]> = batch.iter().map(|pending| &*pending.event).collect();
        let keep = i64::try_from(self.limits.events).unwrap_or(i64::MAX);
        let idle = micros(self.limits.idle);
        let message = |pending: &'a Pending| pending.message.as_ref().map(MessageId::as_str);
        let messages: Vec<Option<&str>> = batch.iter().map(message).collect();
        let window = micros(self.limits.duplicate_window);
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&topics, Type::TEXT_ARRAY),
            (&events, Type::BYTEA_ARRAY),
            (&keep, Type::INT8),
            (&idle, Type::INT8),
            (&messages, Type::TEXT_ARRAY),
            (&window, Type::INT8),
        ];
        let statement = &self.link.statements().append;
        let rows = session.ask(self.link.within, statement, &parameters).await?;
        if rows.len() != batch.len() {
            return Err(not_understood());
        }
        let mut appended = Vec::with_capacity(rows.len());
        for (row, topic) in rows.iter().zip(&topics) {
            let (epoch, sequence) = (number(row, 0)?, number(row, 1)?);
            let id = EventId::with_epoch(epoch, sequence);
            self.link.note_event(epoch, sequence, topic);
            appended.push(match value::<bool>(row, 2)? {
                true => Appended::repeat(id),
                false => Appended::new(id),
            });
        }
        Ok(appended)
    }

    /// Deletes what is due, and returns whether there may be more.
    async fn sweep(&self) -> PgResult<bool> {
        let (session, idle) = (self.link.short().await?, micros(self.limits.idle));
        let statement = &self.link.statements().sweep;
        let rows = session.ask(self.link.within, statement, &[(&idle, Type::INT8)]).await?;
        value(rows.first().ok_or_else(no_log)?, 0)
    }
}

/// Tells callers what came of their events.
fn tell(batch: Vec<Pending>, answer: PgResult<Vec<Appended>>) {
    match answer {
        Ok(appended) => {
            for (pending, appended) in batch.into_iter().zip(appended) {
                let _ = pending.answer.send(Ok(appended));
            }
        }
        Err(failure) => {
            for pending in batch {
                let _ = pending.answer.send(Err(failure.clone()));
            }
        }
    }
}

fn writer_ended() -> Failure {
    Failure::new(FailureKind::Away, "the runtime in which the log was made has ended")
}

/// The most events in one transaction, and about how many bytes.
const MAX_BATCH: usize = 128;
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// So many events may wait for the writer. Beyond that their callers keep them.
const MAX_WAITING: usize = 128;

/// How often a process looks for what is due.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);
