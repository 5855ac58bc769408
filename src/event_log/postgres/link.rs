//! Requests to PostgreSQL: the head of the log, ranges of topics, and what they are asked over.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_postgres::types::{ToSql, Type};

use super::connection::{PostgresConnection, SessionOpener};
use super::error::{FailureKind, PgResult};
use super::rows::{StoredEvents, head, no_log, to_sql, value};
use super::schema::Statements;
use super::session::Session;
use crate::event_log::broker::{
    BrokerEvent, BrokerRequests, LastPage, LoadedTopic, LogClock, LogHead, MAX_PATIENCE, PAGE,
    PageReader, WindowLimits,
};
use crate::event_log::health::HealthCell;
use crate::event_log::{BrokerError, Topic, Topics};
use crate::sync::lock;

/// The connections for all requests but the reads of the feed.
#[derive(Clone)]
pub(super) struct PostgresLink {
    pub(super) opener: SessionOpener,
    /// For appends and the head. What is long does not delay what is short, so replays have a
    /// connection of their own, and so have events that are too long for the feed.
    short: Arc<PostgresConnection>,
    pub(super) replays: Arc<PostgresConnection>,
    fills: Arc<PostgresConnection>,
    pub(super) clock: Arc<LogClock>,
    known: Arc<Mutex<KnownEvent>>,
    /// How long a short request waits for its answer.
    pub(super) within: Duration,
    pub(super) health: Arc<HealthCell>,
}

/// The last event that a process appended or read. A server that lacks it was set back to an
/// earlier copy of itself.
#[derive(Clone, Debug, Default)]
struct KnownEvent {
    epoch: u64,
    sequence: u64,
    topic: String,
}

impl PostgresLink {
    pub(super) fn new(opener: SessionOpener, append_timeout: Duration) -> Self {
        let connection = |timeout| Arc::new(PostgresConnection::new(opener.clone(), timeout));
        Self {
            short: connection(append_timeout),
            replays: connection(MAX_PATIENCE),
            fills: connection(MAX_PATIENCE),
            opener,
            clock: Arc::new(LogClock::new()),
            known: Arc::default(),
            within: append_timeout,
            health: Arc::new(HealthCell::new("postgres")),
        }
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.opener.statements
    }

    /// Notes an event that this process appended or read.
    pub(super) fn note_event(&self, epoch: u64, sequence: u64, topic: &str) {
        self.clock.note_event(epoch, sequence);
        let mut known = lock(&self.known);
        if known.epoch != epoch || known.sequence < sequence {
            (known.epoch, known.sequence) = (epoch, sequence);
            known.topic.clear();
            known.topic.push_str(topic);
        }
    }

    /// The connection for short requests, to a server that was told what this process knows: if it
    /// lacks that, the log has another epoch from then on.
    pub(super) async fn short(&self) -> PgResult<Arc<Session>> {
        let session = self.short.get().await?;
        if !session.is_told.load(Ordering::SeqCst) {
            self.head_over(&session).await?;
        }
        Ok(session)
    }

    /// The head, after the server is told what this process knows.
    pub(super) async fn head(&self) -> PgResult<LogHead> {
        let session = self.short.get().await?;
        self.head_over(&session).await
    }

    /// The head, over one connection, after its server is told what this process knows.
    pub(super) async fn head_over(&self, session: &Session) -> PgResult<LogHead> {
        loop {
            let known = lock(&self.known).clone();
            let (epoch, sequence) = (to_sql(known.epoch), to_sql(known.sequence));
            let parameters: [(&(dyn ToSql + Sync), Type); 3] =
                [(&epoch, Type::INT8), (&sequence, Type::INT8), (&known.topic, Type::TEXT)];
            let rows = session.ask(self.within, &self.statements().head, &parameters).await?;
            let row = rows.first().ok_or_else(no_log)?;
            if !value::<bool>(row, 3)? {
                let head = head(row)?;
                session.is_told.store(true, Ordering::SeqCst);
                self.clock.set(head);
                return Ok(head);
            }
            session.ask(self.within, &self.statements().restart, &parameters).await?;
        }
    }

    /// Calls a session from another one. No event waits for this, and this waits for none.
    pub(super) async fn notify_session(&self, call: u64) -> PgResult<()> {
        let (session, call) = (self.replays.get().await?, call.to_string());
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&call, Type::TEXT)];
        session.ask(self.within, &self.statements().call, &parameters).await.map(drop)
    }

    /// Lets go of a topic after a time, if no event comes before.
    pub(super) async fn forget(&self, topic: &Topic, after: Duration) -> PgResult<()> {
        let session = self.short().await?;
        let after = micros(after);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&topic.as_str(), Type::TEXT), (&after, Type::INT8)];
        session.ask(self.within, &self.statements().forget, &parameters).await.map(drop)
    }

    async fn try_load(
        &self,
        topic: &Topic,
        limits: WindowLimits,
        within: Duration,
    ) -> PgResult<LoadedTopic> {
        if topic.is_all() {
            // Followers that begin before this read the past.
            let LogHead { epoch, last_event: floor, sequence: head, .. } = self.head().await?;
            return Ok(LoadedTopic { epoch, head, floor, events: Vec::new(), whole: false });
        }
        let (events, bytes) = bounds(limits);
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&topic.as_str(), Type::TEXT), (&events, Type::INT8), (&bytes, Type::INT8)];
        let session = self.replays.get().await?;
        let rows = session.ask(within, &self.statements().load, &parameters).await?;
        let read = StoredEvents::parse(&rows)?;
        self.clock.set(read.head);
        let (LogHead { epoch, sequence: head, .. }, floor) = (read.head, read.floor);
        Ok(LoadedTopic { epoch, head, floor, events: read.of_topic(topic), whole: false })
    }

    async fn try_page(
        &self,
        connection: &PostgresConnection,
        topic: &Topic,
        mut position: u64,
        within: Duration,
    ) -> PgResult<Vec<BrokerEvent>> {
        let (events, bytes) = bounds(PAGE);
        loop {
            let (session, after) = (connection.get().await?, to_sql(position));
            let name = topic.as_str();
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&name, Type::TEXT),
                (&after, Type::INT8),
                (&events, Type::INT8),
                (&bytes, Type::INT8),
            ];
            let (statement, parameters) = match topic.is_all() {
                true => (&self.statements().page_all, &parameters[1..]),
                false => (&self.statements().page, &parameters[..]),
            };
            let read = StoredEvents::parse(&session.ask(within, statement, parameters).await?)?;
            let last = read.events.last().map(|event| event.sequence);
            let page = match topic.is_all() {
                true => read.of_all(position),
                false => read.of_topic(topic),
            };
            match last {
                // Foreign events only: the topic may have events after them.
                Some(last) if page.is_empty() => position = last,
                _ => return Ok(page),
            }
        }
    }
}

impl BrokerRequests for PostgresLink {
    async fn load(
        &self,
        topic: &Topic,
        limits: WindowLimits,
        within: Duration,
    ) -> Result<LoadedTopic, BrokerError> {
        answered(self.try_load(topic, limits, within).await)
    }

    async fn page(
        &self,
        reader: PageReader,
        topic: &Topic,
        position: u64,
        within: Duration,
    ) -> Result<Vec<BrokerEvent>, BrokerError> {
        let connection = match reader {
            PageReader::Follower => &self.replays,
            PageReader::Window => &self.fills,
        };
        answered(self.try_page(connection, topic, position, within).await)
    }

    async fn last(
        &self,
        topics: &Topics,
        up_to: u64,
        limits: WindowLimits,
        within: Duration,
    ) -> Result<LastPage, BrokerError> {
        answered(self.try_last(topics, up_to, limits, within).await)
    }

    async fn head(&self, _: Duration) -> Result<(u64, u64), BrokerError> {
        let head = answered(Self::head(self).await)?;
        Ok((head.epoch, head.sequence))
    }

    /// The head itself: whoever appends after it was read is after it, since events become visible
    /// in their order. So reading needs no writes.
    async fn reserve(&self, within: Duration) -> Result<(u64, u64), BrokerError> {
        BrokerRequests::head(self, within).await
    }

    fn known(&self) -> u64 {
        self.clock.known().sequence
    }

    fn live(&self, at: Instant) -> u64 {
        self.clock.earliest_after(at)
    }
}

fn answered<T>(answer: PgResult<T>) -> Result<T, BrokerError> {
    answer.map_err(|failure| match failure.kind {
        FailureKind::NotReady => BrokerError::Away(failure.to_string().into()),
        _ => failure.into(),
    })
}

pub(super) fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 2).min(i64::MAX / 2)
}

pub(super) fn bounds(limits: WindowLimits) -> (i64, i64) {
    let bound = |number| i64::try_from(number).unwrap_or(i64::MAX);
    (bound(limits.events), bound(limits.bytes))
}
