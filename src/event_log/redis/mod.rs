//! A log in Redis, that any number of nodes share.

mod builder;
mod clock;
mod error;
mod keys;
mod link;
mod reader;
mod reply;
mod scripts;

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use redis::Client;
use redis::aio::ConnectionManagerConfig;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::clock::Clock;
use self::keys::Keys;
use self::link::{Common, FIRST_PAUSE, LONGEST_PAUSE, Link};
use self::reader::Reader;
use self::scripts::{Head, Scripts};
use super::broker::{BrokerFollower, Cell, Limits, Upstream};
use super::{EventLog, Follow, Start, Step, Topic, Topics};
use crate::InvalidSetting;
use crate::sync::lock;
use crate::wire::{Event, EventId};

pub use builder::RedisLogBuilder;
pub use error::RedisLogError;

/// A log in Redis Streams, that any number of nodes share: an event has the same id on each of them,
/// and a client goes on at another node where it was at the first.
///
/// It needs Redis 5 or later, and was tested with 7. Each topic is a stream, and all of them are in one order.
/// Clones are handles to the same log, which uses two connections: one for what is appended and
/// asked for, and one for the only reader, which reads all topics that are followed in this process
/// into windows from which followers read. Its cost for an event grows with the number of topics that are
/// followed in the process, by about as much as their names take.
///
/// # What is kept
///
/// A topic keeps [a number of events](RedisLogBuilder::events), and is gone [a time](RedisLogBuilder::idle)
/// after its last one. What cannot be had any more is told by a [`Gap`](super::Gap). Redis must not
/// evict keys (`maxmemory-policy noeviction`): an event that it dropped by itself may be missing without a gap.
/// With `appendonly yes` and `appendfsync always` a crash loses nothing that was acknowledged; with
/// `everysec` about a second of it. Ids are never given twice, since sequences are microseconds of
/// Redis's clock: so they also tell when an event was appended. A Redis that lost all is seen as
/// another log, and its clients are told of a gap.
///
/// # While Redis is away
///
/// Followers wait, and go on where they were when it is back. An append fails, at once or after
/// [the time that was set](RedisLogBuilder::append_timeout). Behind an [`Away`](RedisLogError::Away)
/// or a [`TimedOut`](RedisLogError::TimedOut) the event may have been appended or not, and it is
/// not tried again, since it might be there twice.
///
/// # Patterns
///
/// Redis has no index of topics, and so this log has no patterns: who follows a set with a pattern in
/// it gets a gap, and the end.
///
/// # Examples
///
/// ```no_run
/// use tower_sse::{Event, Hub};
/// use tower_sse::event_log::{RedisLog, Topic};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(RedisLog::connect("redis://127.0.0.1:6379").await?);
/// hub.publish(&Topic::new("news")?, Event::new().data("extra")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisLog {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    upstream: Arc<Upstream>,
    client: Client,
    runtime: Handle,
    /// The reader, and what loads topics: they end with the last handle and follower.
    tasks: Mutex<JoinSet<()>>,
    append_timeout: Duration,
    longest: usize,
}

impl RedisLog {
    /// Connects to a Redis at an URL such as `redis://127.0.0.1:6379`, with defaults for all else.
    ///
    /// # Errors
    ///
    /// As of [`RedisLogBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, RedisLogError> {
        Self::builder().connect(url).await
    }

    /// Settings of a log.
    pub fn builder() -> RedisLogBuilder {
        RedisLogBuilder::default()
    }

    async fn with(settings: RedisLogBuilder, url: &str) -> Result<Self, RedisLogError> {
        // Not what is wrong with it: there may be a password in it.
        let invalid = |_| InvalidSetting::new("url", "it is no address of a Redis");
        let client = Client::open(url).map_err(invalid)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(settings.append_timeout.max(ANSWER)))
            .set_min_delay(FIRST_PAUSE)
            .set_max_delay(LONGEST_PAUSE);
        // Once, and not over and over: who starts wants to know.
        let first = config.clone().set_number_of_retries(0);
        drop(client.get_connection_manager_with_config(first).await?);
        let link = Link {
            connection: client.get_connection_manager_with_config(config).await?,
            common: Arc::new(Common {
                keys: Keys::new(&settings.prefix, settings.events, settings.idle),
                scripts: Scripts::new(),
                clock: Clock::new(),
                window: settings.window,
            }),
        };
        // From here on there is an epoch, and its clock is known.
        link.moment(Head::Look).await?;
        let limits = Limits { events: settings.window, bytes: settings.window_bytes };
        let upstream = Arc::new(Upstream::new(Box::new(link.clone()), limits));
        let shared = Shared {
            link,
            upstream,
            client,
            runtime: Handle::current(),
            tasks: Mutex::default(),
            append_timeout: settings.append_timeout,
            longest: settings.longest,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Fills a topic that is followed for the first time, and has it read.
    fn load(&self, cell: Arc<Cell>) {
        let shared = &self.shared;
        let (link, upstream) = (shared.link.clone(), Arc::clone(&shared.upstream));
        let mut tasks = lock(&shared.tasks);
        // The reader never ends, so there is none only before the first topic.
        while tasks.try_join_next().is_some() {}
        if tasks.is_empty() {
            let reader = Reader::new(link.clone(), Arc::clone(&upstream), shared.client.clone());
            tasks.spawn_on(reader.run(), &shared.runtime);
        }
        let load = async move {
            upstream.load(&cell).await;
            link.wake().await;
        };
        tasks.spawn_on(load, &shared.runtime);
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = redis::RedisResult<T>> + Send,
    ) -> Result<T, RedisLogError> {
        match timeout(self.shared.append_timeout, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(RedisLogError::TimedOut),
        }
    }
}

impl EventLog for RedisLog {
    type Error = RedisLogError;
    type Follower = RedisFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, RedisLogError> {
        let event = event.encode_without_id().ok_or(RedisLogError::NoData)?;
        if event.len() > self.shared.longest {
            return Err(RedisLogError::TooLong);
        }
        let appended = self.within(self.shared.link.append(topic, &event)).await?;
        Ok(EventId::with_epoch(appended.epoch, appended.sequence))
    }

    fn follow(&self, topics: Topics, from: Start) -> RedisFollower {
        let upstream = Arc::clone(&self.shared.upstream);
        let follower = BrokerFollower::new(upstream, &topics, from, |cell| self.load(cell));
        RedisFollower { follower, _log: self.clone() }
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, RedisLogError> {
        // A sequence of its own: it is behind all that there is, and reveals no id.
        let here = self.within(self.shared.link.moment(Head::Take)).await?;
        Ok(EventId::with_epoch(here.epoch, here.sequence))
    }
}

impl fmt::Debug for RedisLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisLog")
            .field("keys", &self.shared.link.common.keys)
            .field("upstream", &self.shared.upstream)
            .finish_non_exhaustive()
    }
}

/// Follows topics of a [`RedisLog`]: a place in each, and a waker while it waits.
pub struct RedisFollower {
    follower: BrokerFollower,
    /// So that what it reads is read.
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

const CONNECT: Duration = Duration::from_secs(2);

/// What is asked for by followers may take as long.
const ANSWER: Duration = Duration::from_secs(5);
