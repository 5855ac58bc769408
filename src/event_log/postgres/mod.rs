//! [`PostgresLog`], a log in PostgreSQL that any number of nodes share.

mod address;
mod builder;
mod connection;
mod error;
mod feed;
mod last;
mod link;
mod reader;
mod rows;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::Config;

use self::address::hosts;
use self::connection::SessionOpener;
use self::link::PostgresLink;
use self::reader::FeedReader;
use self::schema::Statements;
use self::writer::{LogLimits, Writer, WriterHandle};
use super::broker::{BrokerFollower, BrokerLog, BrokerSettings};
use super::ids::id_before;
use super::{
    Appended, BrokerError, EventLog, Follow, LogHealth, Logged, MessageId, Page, Start, Step,
    Topic, Topics,
};
use crate::wire::{Event, EventId};

pub use builder::PostgresLogBuilder;

/// A log in PostgreSQL that any number of nodes share: an event has the same id on each node, and a
/// client of one node can resume at another.
///
/// It is for applications that have a PostgreSQL already and no broker. It needs version 13 or
/// later, and is tested with version 15. Clones are handles to the same log.
///
/// # How nodes write
///
/// All events of a log are rows of one table. A transaction that appends locks the log until it is
/// committed, so events become visible in the order of their ids: a reader that sees one has seen
/// all before it. A `bigserial` would not do, since transactions commit in another order than they
/// take its numbers.
///
/// So a log commits one transaction after the other, each of which waits for the disk. A process
/// puts the events that wait into one transaction, up to 128. With `synchronous_commit = off` a
/// commit does not wait, and a crash of the server loses the last events.
///
/// # How nodes read
///
/// An append tells all nodes by `NOTIFY`, which names no more than its sequence. A node then reads
/// the rows after those that it has, with a request of the same size whatever it follows. Events of
/// at most 512 bytes come with it, and longer ones are fetched if their topics are followed. The
/// last row is the position of the node in all of its topics. If a `NOTIFY` is lost, the node
/// looks for rows after five seconds at most, so an event is late and not lost.
///
/// `NOTIFY` takes a lock that all transactions of a server that notify share, while they commit. If
/// other parts of an application notify much, give the log a server of its own.
///
/// A process has three connections: for appends, for what clients missed, and for the feed, from
/// its first follower on. It makes a fourth when it fetches long events. They must be sessions of
/// their own: with PgBouncer, use `pool_mode = session` or go around it. Through a pool of
/// transactions no `NOTIFY` comes, so events are some seconds late, and [`health`](Self::health)
/// says so; and timeouts that the log sets are those of others that use the pool, too.
///
/// # Appending from SQL
///
/// A transaction of the application can append an event together with the rows that it tells of.
/// Then the event is there if they are:
///
/// ```sql
/// BEGIN;
/// UPDATE orders SET state = 'paid' WHERE id = 42;
/// SELECT tower_sse_append(
///     '{orders.42}', ARRAY[convert_to(E'event: paid\ndata: 12.50\n\n', 'UTF8')],
///     1024,            -- how many events of the topic are kept, as `events`
///     86400000000      -- microseconds, as `idle`
/// );
/// COMMIT;
/// ```
///
/// The text is one event as [`Event::encode`] writes it, without an `id`; others are not sent to
/// anybody. Append last: the log is locked until the transaction ends, and all that append wait.
/// The isolation level must be `READ COMMITTED`, which is the default; the function refuses others.
///
/// # What PostgreSQL keeps
///
/// PostgreSQL keeps [a number of events](PostgresLogBuilder::events) of a topic, and drops the
/// topic [a time](PostgresLogBuilder::idle) after its last event. A client that asks for events
/// that are gone gets a [`Gap`](super::Gap). A topic that was [let go of](EventLog::forget) leaves
/// its name and its last sequence until it is dropped.
///
/// A log that lost events which a node had read or appended begins another epoch: its clients get a
/// gap with [`Restarted`](super::GapReason::Restarted), and then all that is kept. So it is if the
/// server was set back to an earlier copy, or a replica that was behind took its place; and if the
/// tables were dropped, emptied or restored from a dump. If no node is left that knows what was
/// lost, nobody can tell.
///
/// # While PostgreSQL is away
///
/// Followers wait, and go on where they were when PostgreSQL is back. An append fails, at once or
/// after [the timeout](PostgresLogBuilder::append_timeout). After an
/// [`Away`](BrokerError::Away) or a [`TimedOut`](BrokerError::TimedOut) the event may or
/// may not have been appended. The log does not try again, since the event might then be there
/// twice. A caller that must know appends the event [once](EventLog::append_once), and tries again.
///
/// If a server refuses events because it starts, or is a replica, the log connects anew and tries
/// again until the timeout. A connection that was idle is checked before an event is sent over it.
///
/// If the Tokio runtime ends in which the log was made, its followers end, too.
///
/// # Failover
///
/// With several hosts in the address, as in `host=one,two`, the log connects to the first one that
/// takes events. A host that is away, is a replica or does not answer within five seconds is passed
/// over; with `target_session_attrs=read-write` so is a server that is read-only for another
/// reason.
///
/// With synchronous replication a replica that takes over has all that was acknowledged: clients go
/// on, with nothing lost and no gap. Without it, what the replica lacks is lost, and the log begins
/// another epoch.
///
/// # Patterns
///
/// A node that has a follower of a pattern keeps the last events of all topics in one window more.
/// A client that comes back gets all that was appended after the last event that was deleted, of
/// whatever topic, and a gap if its position is before that, also if no event that matches was
/// lost.
///
/// # Rights
///
/// The log makes its tables and functions if there are none. A role that may not do so needs them
/// [made](PostgresLogBuilder::schema), and the rights below. Tables of another version of the
/// schema are refused.
///
/// ```sql
/// GRANT SELECT, INSERT, UPDATE, DELETE
///     ON tower_sse_log, tower_sse_events, tower_sse_topics, tower_sse_messages TO the_role;
/// ```
///
/// # Examples
///
/// ```no_run
/// use tower_sse::event_log::{PostgresLog, Topic};
/// use tower_sse::{Event, Hub};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(PostgresLog::connect("postgres://127.0.0.1/app").await?);
/// hub.publish(&Topic::new("news")?, Event::new().data("extra")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresLog {
    inner: Arc<PostgresLogInner>,
}

struct PostgresLogInner {
    log: BrokerLog<PostgresLink>,
    writer: WriterHandle,
    /// The writer. It ends with the last handle and the last follower.
    _writing: JoinSet<()>,
}

impl PostgresLog {
    /// Connects to the PostgreSQL at an address such as `postgres://user:password@host/database`,
    /// with the default settings: see [`PostgresLogBuilder`].
    ///
    /// # Errors
    ///
    /// See [`PostgresLogBuilder::connect`].
    pub async fn connect(address: &str) -> Result<Self, BrokerError> {
        Self::builder().connect(address).await
    }

    /// Whether the log reads what is appended, since when, and if not, why.
    ///
    /// It reads from its first follower on. Without `NOTIFY` it reads late, and counts as not
    /// reading.
    #[must_use]
    pub fn health(&self) -> LogHealth {
        let log = &self.inner.log;
        LogHealth { refused_topics: log.topics.refused(), ..log.link.health.get() }
    }

    /// Creates a builder, which sets the settings of a log.
    pub fn builder() -> PostgresLogBuilder {
        PostgresLogBuilder::default()
    }

    async fn with(settings: PostgresLogBuilder, config: Config) -> Result<Self, BrokerError> {
        let statements = Statements::new(&settings.name);
        let opener = SessionOpener::new(settings.connector, hosts(&config)?, statements);
        let BrokerSettings { events, idle, duplicate_window, append_timeout, .. } = settings.common;
        let link = PostgresLink::new(opener, append_timeout);
        // After this there are tables, and the clock of the server is known.
        let head = link.head().await?;
        let kept = LogLimits { events, idle, duplicate_window };
        let (handle, writer) = Writer::new(link.clone(), kept);
        let mut writing = JoinSet::new();
        writing.spawn(writer.run());
        let log = BrokerLog::new(link, head, &settings.common);
        let inner = PostgresLogInner { log, writer: handle, _writing: writing };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn append_event(
        &self,
        topic: &Topic,
        event: &Event,
        message: Option<&MessageId>,
    ) -> Result<Appended, BrokerError> {
        let PostgresLogInner { log, writer, .. } = &*self.inner;
        let event = log.encode(event)?;
        Ok(writer.append(topic, event, message, log.append_timeout).await?)
    }
}

impl EventLog for PostgresLog {
    type Error = BrokerError;
    type Follower = PostgresFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, BrokerError> {
        self.append_event(topic, &event, None).await.map(|appended| appended.id)
    }

    async fn append_once(
        &self,
        topic: &Topic,
        event: Event,
        message: &MessageId,
    ) -> Option<Result<Appended, BrokerError>> {
        Some(self.append_event(topic, &event, Some(message)).await)
    }

    fn follow(&self, topics: Topics, from: Start) -> PostgresFollower {
        let reader = |link, topics, head| FeedReader::new(link, topics, head).run();
        let follower = self.inner.log.follow(&topics, from, reader);
        PostgresFollower { follower, _log: self.clone() }
    }

    async fn read(&self, topic: &Topic, from: Start, limit: usize) -> Result<Page, BrokerError> {
        self.inner.log.read(topic, from, limit).await
    }

    async fn last(&self, topics: &Topics, count: usize) -> Result<Vec<Logged>, BrokerError> {
        self.inner.log.last(topics, count).await
    }

    async fn forget(&self, topic: &Topic, after: Duration) -> Result<(), BrokerError> {
        let log = &self.inner.log;
        log.in_time(log.link.forget(topic, after)).await
    }

    fn is_final(error: &BrokerError) -> bool {
        error.is_final()
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, BrokerError> {
        let log = &self.inner.log;
        let head = log.in_time(log.link.head()).await?;
        Ok(id_before(head.epoch, head.sequence.saturating_add(1)))
    }
}

impl fmt::Debug for PostgresLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresLog")
            .field("name", &self.inner.log.link.statements().channel)
            .field("topics", &self.inner.log.topics)
            .finish_non_exhaustive()
    }
}

/// Follows topics of a [`PostgresLog`]: a position in each topic, and a waker while it waits.
pub struct PostgresFollower {
    follower: BrokerFollower,
    /// So that the reader goes on while there is a follower.
    _log: PostgresLog,
}

impl Follow for PostgresFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        Pin::new(&mut self.follower).poll_next(cx)
    }
}

impl fmt::Debug for PostgresFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.follower.fmt(f)
    }
}
