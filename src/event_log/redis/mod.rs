//! [`RedisLog`], a log in Redis Streams that any number of nodes share.

mod address;
mod builder;
mod connection;
mod feed;
mod history;
mod last;
mod link;
mod protocol;
mod reader;
mod servers;
#[cfg(test)]
mod tests;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use self::address::RedisAddress;
use self::connection::failed;
use self::link::RedisLink;
use self::protocol::{EventToAppend, HeadRequest, LogLimits, RedisKeys};
use self::reader::FeedReader;
use super::broker::{BrokerFollower, BrokerLog, BrokerSettings, RESPONSE_TIMEOUT};
use super::ids::id_before;
use super::{
    Appended, BrokerError, EventLog, Follow, LogHealth, Logged, MessageId, Page, Start, Step,
    Topic, Topics,
};
use crate::wire::{Event, EventId};

pub use builder::RedisLogBuilder;

/// A log in Redis Streams that any number of nodes share: an event has the same id on each node,
/// and a client of one node can resume at another.
///
/// It needs Redis 5 or later, and is tested with Redis 7. Clones are handles to the same log.
///
/// # How nodes read
///
/// Each topic is a stream in Redis, and one more stream, the feed, names the last events of all
/// topics; an event of at most 512 bytes is in the feed itself. A node reads only the feed, with
/// requests of the same size whatever it follows, and looks up each entry in a table of the topics
/// that it follows. It fetches longer events, and what it missed, from the topic's stream. So the
/// cost of an event, and of following one more topic, does not grow with the number of topics that
/// are followed; but each node is told of all events of the log.
///
/// The position in the feed is the position of the node in all of its topics. If the node was away
/// for so long that [the feed](RedisLogBuilder::feed_events) does not reach back to its position,
/// it asks for the last event of each topic that it follows, once.
///
/// A process has three connections: for appends, for what clients missed, and for the feed. It
/// makes a fourth when it fetches events that are not in the feed. So none waits for another. It
/// reads the feed from its first follower on.
///
/// # Order, and Redis Cluster
///
/// Ids are in one order over all topics, since a client that follows several topics comes back with
/// one id. One order needs one counter, and the keys that an append uses must be in one slot of a
/// cluster. So all keys of a log have one hash tag, `{prefix}`, and a log is in one slot, whatever
/// its topics are. Two counters, one for each of two slots, would follow two clocks: either a
/// client gets an event late, after it was sent one with a larger id, or each event waits until
/// the other slot is known to have given out no smaller id.
///
/// To use more of a cluster, or to have nodes read less, make several logs, each with a
/// [prefix](RedisLogBuilder::prefix) of its own, and put topics that clients follow together into
/// the same log.
///
/// A log finds the server that has its slot by itself, from [any server](RedisLogBuilder::connect)
/// of the cluster. It goes on at another one when the slot is moved there, or when a replica takes
/// over. What the replica did not have yet is a gap. The log connects to the servers that the
/// cluster names with the user, the password and the protocol of its URL; with TLS, certificates
/// must name the hosts that the cluster names.
///
/// While Redis moves a slot key by key, as `redis-cli --cluster reshard` does, it serves no request
/// for several keys at either server. So appends wait, and are refused after
/// [the timeout](RedisLogBuilder::append_timeout); followers wait, and miss nothing. How long that
/// takes depends on the keys: two for each topic, and one for each message id.
///
/// # What Redis keeps
///
/// Redis keeps [a number of events](RedisLogBuilder::events) of a topic, and drops the topic [a
/// time](RedisLogBuilder::idle) after its last event. A client that asks for events that are gone
/// gets a [`Gap`](super::Gap). Redis must not evict keys (`maxmemory-policy noeviction`): an event
/// that it evicted may be missing without a gap.
///
/// A topic with one short event takes 4.6 KB of Redis, since a stream sets that much aside for its
/// next events. With `stream-node-max-bytes 256` it takes 0.75 KB, and `1024` makes it 1.5 KB.
///
/// With `appendonly yes` and `appendfsync always` a crash of Redis loses no event that was
/// acknowledged; with `everysec` it loses about a second of events. Ids are never given out twice,
/// since sequences are microseconds of Redis's clock; so an id also tells when its event was
/// appended. A Redis that lost everything counts as another log, and its clients get a gap.
///
/// A Redis that forgot only its last events, as it crashed, was a replica that was behind, or was
/// set back to an earlier copy, is told by the nodes how far they had read, before they append.
/// Then clients that were not sent those events get a gap before the next event of their topic,
/// also if the topic lost nothing.
///
/// A server that hangs, and goes on after another one took its place, may take requests for a
/// moment before it hears of that. An event that it takes is lost. A node that was told of such an
/// event notices that the other server lacks it: all clients of the node get a gap, and the other
/// nodes' clients before the next event of their topic. A client that was sent it and comes back to
/// another node gets the gap there, after events that were appended by then.
///
/// # While Redis is away
///
/// Followers wait, and go on where they were when Redis is back. An append fails, at once or after
/// [the timeout](RedisLogBuilder::append_timeout). After an [`Away`](BrokerError::Away) or a
/// [`TimedOut`](BrokerError::TimedOut) the event may or may not have been appended. The log does
/// not try again, since the event might then be there twice. A caller that must know appends the
/// event [once](EventLog::append_once), and tries again.
///
/// If a server refuses an event because it became a replica, still reads its data or gives its slot
/// away, the log tries again until the timeout, over a new connection if that may help: another
/// server may have taken over by then. A connection that was idle is checked before an event is
/// sent over it.
///
/// After a failover by Redis Sentinel a log finds the new server by itself, if it [asks
/// Sentinel](RedisLogBuilder::sentinel) for it (feature `redis-sentinel`).
///
/// If the Tokio runtime ends in which the log was made, its followers end, too.
///
/// # Rights
///
/// A log needs the keys that begin with `{prefix}:`. What the user may not read of a topic is lost
/// for its clients: they get a gap, and then what the feed names. Other topics do not wait for it.
///
/// # Patterns
///
/// Patterns are followed in the feed: a node that has a follower of a pattern keeps the last events
/// of all topics in one window more. So a client that comes back gets what the
/// [feed](RedisLogBuilder::feed_events) still names, and a gap if it does not reach back to its
/// position, also if no event that matches was lost.
///
/// # Examples
///
/// ```no_run
/// use tower_sse::event_log::{RedisLog, Topic};
/// use tower_sse::{Event, Hub};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(RedisLog::connect("redis://127.0.0.1:6379").await?);
/// hub.publish(&Topic::new("news")?, Event::new().data("extra")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisLog {
    inner: Arc<RedisLogInner>,
}

struct RedisLogInner {
    log: BrokerLog<RedisLink>,
    /// The reader has a connection of its own.
    address: RedisAddress,
}

impl RedisLog {
    /// Connects to the Redis at a URL such as `redis://127.0.0.1:6379`, with the default settings:
    /// see [`RedisLogBuilder`].
    ///
    /// # Errors
    ///
    /// See [`RedisLogBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, BrokerError> {
        Self::builder().connect(url).await
    }

    /// Whether the log reads what is appended, since when, and if not, why.
    ///
    /// It reads from its first follower on.
    #[must_use]
    pub fn health(&self) -> LogHealth {
        let log = &self.inner.log;
        LogHealth { refused_topics: log.topics.refused(), ..log.link.health.get() }
    }

    /// Creates a builder, which sets the settings of a log.
    pub fn builder() -> RedisLogBuilder {
        RedisLogBuilder::default()
    }

    async fn with(settings: RedisLogBuilder, url: &str) -> Result<Self, BrokerError> {
        let BrokerSettings { events, idle, duplicate_window, append_timeout, .. } = settings.common;
        let feed_events = settings.feed_events;
        let keep = LogLimits { events, feed_events, idle, duplicate_window };
        let keys = RedisKeys::new(&settings.prefix, keep);
        let address = RedisAddress::parse(&settings, url, &keys.feed)?;
        let link = RedisLink::new(&address, keys, append_timeout);
        // After this there is an epoch, and the clock of Redis is known.
        let patience = append_timeout.max(RESPONSE_TIMEOUT);
        let head = link.head_within(patience, HeadRequest::Read).await.map_err(failed)?;
        let log = BrokerLog::new(link, head, &settings.common);
        Ok(Self { inner: Arc::new(RedisLogInner { log, address }) })
    }

    async fn append_event(
        &self,
        topic: &Topic,
        event: &Event,
        message: Option<&MessageId>,
    ) -> Result<Appended, BrokerError> {
        let log = &self.inner.log;
        let event = EventToAppend { topic, bytes: &log.encode(event)?, message };
        log.link.append(&event, log.append_timeout).await.map_err(failed)
    }
}

impl EventLog for RedisLog {
    type Error = BrokerError;
    type Follower = RedisFollower;

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

    fn follow(&self, topics: Topics, from: Start) -> RedisFollower {
        let RedisLogInner { log, address } = &*self.inner;
        let follower = log.follow(&topics, from, |link, topics, head| {
            FeedReader::new(link, topics, address.clone(), head).run()
        });
        RedisFollower { follower, _log: self.clone() }
    }

    async fn read(&self, topic: &Topic, from: Start, limit: usize) -> Result<Page, BrokerError> {
        self.inner.log.read(topic, from, limit).await
    }

    async fn last(&self, topics: &Topics, count: usize) -> Result<Vec<Logged>, BrokerError> {
        self.inner.log.last(topics, count).await
    }

    async fn forget(&self, topic: &Topic, after: Duration) -> Result<(), BrokerError> {
        let log = &self.inner.log;
        log.link.forget(topic, after, log.append_timeout).await.map_err(failed)
    }

    fn is_final(error: &BrokerError) -> bool {
        error.is_final()
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, BrokerError> {
        let log = &self.inner.log;
        let head = log.link.head_within(log.append_timeout, HeadRequest::Reserve);
        let head = head.await.map_err(failed)?;
        // The id of no event: it reveals no id of another topic.
        Ok(id_before(head.epoch, head.sequence.saturating_add(1)))
    }
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog")
            .field("keys", &self.inner.log.link.keys)
            .field("topics", &self.inner.log.topics)
            .finish_non_exhaustive()
    }
}

/// Follows topics of a [`RedisLog`]: a position in each topic, and a waker while it waits.
pub struct RedisFollower {
    follower: BrokerFollower,
    /// So that the reader goes on while there is a follower.
    _log: RedisLog,
}

impl Follow for RedisFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        Pin::new(&mut self.follower).poll_next(cx)
    }
}

impl fmt::Debug for RedisFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.follower.fmt(f)
    }
}

/// How long it may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
