//! The reader: the one task of a process that reads what is appended, and tells the topics that are
//! followed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::error::{FailureKind, PgResult};
use super::feed::{announce, announce_to_all};
use super::link::PostgresLink;
use super::rows::{StoredEvents, to_sql, value};
use super::session::Session;
use crate::event_log::Topic;
use crate::event_log::broker::{
    BrokerTopics, LogHead, MAX_PATIENCE, MIN_RETRY_DELAY, Patience, next_delay,
};

/// Reads the table of all events over a connection of its own, after each `NOTIFY`.
///
/// What it asks PostgreSQL for does not depend on what is followed, unless the log begins another
/// epoch: then it asks once for the last sequence of each topic that is followed.
pub(super) struct FeedReader {
    link: PostgresLink,
    topics: Arc<BrokerTopics>,
    epoch: u64,
    /// The sequence up to which events were read.
    position: u64,
    /// How often there was an answer.
    answers: u64,
    patience: Patience,
}

/// What comes of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedState {
    /// There may be more events.
    More,
    /// All events were read.
    AtEnd,
    /// The log is of another epoch.
    Restarted,
}

impl FeedReader {
    /// A reader that begins after the head of a log.
    pub(super) fn new(link: PostgresLink, topics: Arc<BrokerTopics>, head: LogHead) -> Self {
        topics.set_watermark(head.last_event);
        Self {
            link,
            topics,
            epoch: head.epoch,
            position: head.last_event,
            answers: 0,
            patience: Patience::new(),
        }
    }

    /// Reads for ever. After any failure it connects anew, and reads on where it was.
    pub(super) async fn run(mut self) {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            let before = self.answers;
            if let Err(failure) = self.connect_and_read().await {
                self.link.health.note_problem(&failure);
            }
            self.topics.sweep();
            if self.answers > before {
                delay = MIN_RETRY_DELAY;
            }
            sleep(delay).await;
            delay = next_delay(delay);
        }
    }

    /// Reads over one connection, until there is a failure.
    async fn connect_and_read(&mut self) -> PgResult<()> {
        let session = self.link.opener.open(MAX_PATIENCE).await?;
        // Before anything is read, so that what is appended afterwards is heard.
        session.listen(self.link.statements()).await?;
        loop {
            let hears = self.hears(&session).await?;
            // This tells whether the server lacks what was read, and keeps the clock, too, by which
            // live followers start. It is asked over the connection that is read: another one may
            // lead to another server still.
            if self.link.head_over(&session).await?.epoch != self.epoch {
                self.compare(&session).await?;
            }
            loop {
                let read = self.read(&session).await?;
                let state = self.take(read);
                match hears {
                    true => self.link.health.note_reading(),
                    false => self.link.health.note_problem(&DEAF),
                }
                self.topics.sweep();
                match state {
                    FeedState::More => {}
                    FeedState::Restarted => break,
                    // A `NOTIFY` that is lost delays an event, and loses none.
                    FeedState::AtEnd => {
                        if timeout(POLL_INTERVAL, session.hear(self.position)).await.is_err() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Whether what is appended is heard over a connection. If it passes through a pool that gives
    /// each transaction another connection to the server, it is not.
    async fn hears(&self, session: &Session) -> PgResult<bool> {
        if session.has_heard_call() {
            return Ok(true);
        }
        self.link.notify_session(session.call).await?;
        Ok(timeout(MAX_CALL, session.hear_call()).await.is_ok())
    }

    async fn read(&mut self, session: &Session) -> PgResult<StoredEvents> {
        let (after, count, bytes) = (to_sql(self.position), MAX_EVENTS, MAX_FEED_EVENT);
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&after, Type::INT8), (&count, Type::INT8), (&bytes, Type::INT4)];
        let statement = &self.link.statements().feed;
        let answer = session.ask(self.patience.get(), statement, &parameters).await;
        StoredEvents::parse(&self.note(answer)?)
    }

    /// Notes whether there was an answer. If there was none in time, the next one has more time.
    fn note(&mut self, answer: PgResult<Vec<Row>>) -> PgResult<Vec<Row>> {
        match &answer {
            Ok(_) => (self.answers, self.patience) = (self.answers + 1, Patience::new()),
            Err(failure) if failure.kind == FailureKind::TimedOut => {
                self.patience.double();
            }
            Err(_) => {}
        }
        answer
    }

    /// Tells topics that are followed, and the window of all topics if a pattern is followed, what
    /// was read.
    pub(super) fn take(&mut self, read: StoredEvents) -> FeedState {
        let StoredEvents { head, trimmed, floor: expired, events } = read;
        if head.epoch != self.epoch {
            return FeedState::Restarted;
        }
        if expired > self.position {
            // A topic may have had events that were not read, and that nothing tells of any more.
            for topic in self.topics.all() {
                topic.compare(None, false);
            }
        }
        let has_more = events.len() >= usize::try_from(MAX_EVENTS).unwrap_or(usize::MAX);
        let mut named = Vec::new();
        for stored in &events {
            for name in [&*stored.topic, Topic::ALL.as_str()] {
                let announcement = |to: &Topic| match to.is_all() {
                    true => announce_to_all(stored, self.epoch, self.position, trimmed),
                    false => announce(stored, self.epoch, to),
                };
                named.extend(self.topics.announce(name, announcement));
            }
            self.position = stored.sequence;
        }
        if let Some(last) = events.last() {
            self.link.note_event(self.epoch, last.sequence, &last.topic);
        }
        self.link.clock.set(head);
        self.topics.wake_at(self.position, &named);
        if has_more { FeedState::More } else { FeedState::AtEnd }
    }

    /// Asks for the last sequence of each topic that is followed, and goes on in the epoch of now.
    async fn compare(&mut self, session: &Session) -> PgResult<()> {
        // Before anything else, so that what is appended meanwhile is read after this.
        let head = self.link.head_over(session).await?;
        self.topics.set_watermark(0);
        let topics = self.topics.all();
        for topic in &topics {
            topic.reset(head.epoch, 0);
        }
        for batch in topics.chunks(MAX_COMPARED) {
            let names: Vec<&str> = batch.iter().map(|topic| topic.name.as_str()).collect();
            let statement = &self.link.statements().lasts;
            let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&names, Type::TEXT_ARRAY)];
            let answer = session.ask(self.patience.get(), statement, &parameters).await;
            for (topic, row) in batch.iter().zip(self.note(answer)?) {
                let last = value::<Option<i64>>(&row, 0)?.and_then(|it| u64::try_from(it).ok());
                let last = if topic.name.is_all() { Some(head.last_event) } else { last };
                self.topics.compare(topic, last, true);
            }
        }
        (self.epoch, self.position) = (head.epoch, head.last_event);
        self.topics.wake_at(self.position, &topics);
        Ok(())
    }
}

impl Drop for FeedReader {
    /// Its runtime has ended: followers would wait for ever.
    fn drop(&mut self) {
        self.topics.end();
    }
}

/// The most events in one answer, which have at most a kilobyte each.
const MAX_EVENTS: i64 = 512;

/// An event with no more bytes is in the feed itself. Each node reads it there, also nodes that do
/// not follow its topic; a node that does saves a request, which has about as many bytes.
const MAX_FEED_EVENT: i32 = 512;

/// The most topics whose last sequences are asked for at a time.
const MAX_COMPARED: usize = 512;

/// How long a connection may take to hear its call. It takes it less than a millisecond.
const MAX_CALL: Duration = Duration::from_secs(2);

const DEAF: &str = "`NOTIFY` is not heard, so events come some seconds late: the connections of the log \
    must be sessions of their own (with PgBouncer, `pool_mode = session`)";

/// How often the reader looks for events though it heard of none.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
