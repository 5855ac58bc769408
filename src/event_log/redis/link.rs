//! The connection for requests to Redis, and the clock of Redis as its answers show it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::aio::ConnectionManager;
use redis::{RedisResult, Value};
use tokio::time::{sleep, timeout};

use super::protocol::{HeadRequest, LogHead, RedisKeys, RedisScripts, parse_entries};
use crate::event_log::Topic;
use crate::event_log::broker::{BrokerEvent, BrokerFuture, BrokerSource, LoadedTopic};
use crate::sync::lock;

/// The connection for all requests but those of the poller. The client library renews it.
#[derive(Clone)]
pub(super) struct RedisLink {
    connection: ConnectionManager,
    pub(super) keys: Arc<RedisKeys>,
    scripts: Arc<RedisScripts>,
    clock: Arc<RedisClock>,
    /// How many events of a topic are loaded.
    window: usize,
}

impl RedisLink {
    pub(super) fn new(connection: ConnectionManager, keys: RedisKeys, window: usize) -> Self {
        Self {
            connection,
            keys: Arc::new(keys),
            scripts: Arc::new(RedisScripts::new()),
            clock: Arc::new(RedisClock::new()),
            window,
        }
    }

    pub(super) async fn append(&self, topic: &Topic, event: &[u8]) -> RedisResult<LogHead> {
        let connection = &mut self.connection.clone();
        self.set_clock(self.scripts.append(connection, &self.keys, topic, event).await)
    }

    pub(super) async fn request_head(&self, request: HeadRequest) -> RedisResult<LogHead> {
        let connection = &mut self.connection.clone();
        self.set_clock(self.scripts.head(connection, &self.keys, request).await)
    }

    fn set_clock(&self, head: RedisResult<LogHead>) -> RedisResult<LogHead> {
        if let Ok(head) = &head {
            self.clock.set(head.clock, head.sequence);
        }
        head
    }

    async fn try_load(&self, topic: &Topic) -> RedisResult<LoadedTopic> {
        let connection = &mut self.connection.clone();
        let load = self.scripts.load(connection, &self.keys, topic, self.window);
        let (loaded, clock) = load.await?;
        self.clock.set(clock, loaded.head);
        Ok(loaded)
    }

    async fn try_page(&self, topic: &Topic, position: u64) -> RedisResult<Vec<BrokerEvent>> {
        let mut range = redis::cmd("XRANGE");
        range.arg(self.keys.topic(topic)).arg(format!("{position}-1")).arg("+");
        range.arg("COUNT").arg(PAGE_EVENTS);
        let values: Vec<Value> = range.query_async(&mut self.connection.clone()).await?;
        let (any, read) = (!values.is_empty(), parse_entries(values.into_iter(), topic));
        match (any, read.last) {
            // Foreign entries only: the topic may have events after them.
            (true, Some(last)) if read.events.is_empty() => {
                let last = last.split_once('-').and_then(|(it, _)| it.parse().ok());
                Box::pin(self.try_page(topic, last.unwrap_or(u64::MAX))).await
            }
            _ => Ok(read.events),
        }
    }

    /// Has the poller update its list of topics.
    pub(super) async fn wake_poller(&self) {
        let wake = &*self.keys.wake;
        let mut both = redis::pipe();
        both.cmd("XADD").arg(wake).arg(&["MAXLEN", "1", "*", "w", ""]).ignore();
        both.cmd("PEXPIRE").arg(wake).arg(WAKE_TTL.as_secs() * 1000).ignore();
        // If Redis is away, the poller starts anew anyway.
        let _: RedisResult<()> = both.query_async(&mut self.connection.clone()).await;
    }

    /// Repeats a request until there is an answer.
    async fn retry<T, F: Future<Output = RedisResult<T>>>(&self, request: impl Fn() -> F) -> T {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            if let Ok(Ok(answer)) = timeout(REQUEST_TIMEOUT, request()).await {
                return answer;
            }
            sleep(delay).await;
            delay = next_delay(delay);
        }
    }
}

impl BrokerSource for RedisLink {
    fn load(&self, topic: &Topic) -> BrokerFuture<LoadedTopic> {
        let (link, topic) = (self.clone(), topic.clone());
        Box::pin(async move { link.retry(|| link.try_load(&topic)).await })
    }

    fn page(&self, topic: &Topic, position: u64) -> BrokerFuture<Vec<BrokerEvent>> {
        let (link, topic) = (self.clone(), topic.clone());
        Box::pin(async move { link.retry(|| link.try_page(&topic, position)).await })
    }

    fn head(&self) -> BrokerFuture<(u64, u64)> {
        let link = self.clone();
        Box::pin(async move {
            let head = link.retry(|| link.request_head(HeadRequest::Read)).await;
            (head.epoch, head.sequence)
        })
    }

    fn reserve(&self) -> BrokerFuture<(u64, u64)> {
        let link = self.clone();
        Box::pin(async move {
            let head = link.retry(|| link.request_head(HeadRequest::Reserve)).await;
            (head.epoch, head.sequence)
        })
    }

    fn live(&self) -> u64 {
        self.clock.earliest_sequence()
    }
}

/// The clock of Redis, as the last answer showed it, and when that answer came.
///
/// Sequences are at least this clock. So the least that it can show now is a position before all
/// events that are appended from now on, on any node. If the clock was set back, sequences are ahead
/// of it, and each is one more than the one before.
#[derive(Debug)]
struct RedisClock(Mutex<ClockReading>);

#[derive(Clone, Copy, Debug)]
struct ClockReading {
    micros: u64,
    /// The last sequence of the log.
    sequence: u64,
    read_at: Instant,
}

impl RedisClock {
    fn new() -> Self {
        Self(Mutex::new(ClockReading { micros: 0, sequence: 0, read_at: Instant::now() }))
    }

    fn set(&self, micros: u64, sequence: u64) {
        let reading = ClockReading { micros, sequence, read_at: Instant::now() };
        *lock(&self.0) = reading;
    }

    /// A position before all events that are appended from now on, unless the clock is set back.
    fn earliest_sequence(&self) -> u64 {
        let reading = *lock(&self.0);
        let elapsed = u64::try_from(reading.read_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Two clocks differ by some seconds a day; this allows for more than a minute.
        reading.sequence.max(reading.micros + (elapsed - elapsed / 1000))
    }
}

/// The delay after one more failure.
pub(super) fn next_delay(delay: Duration) -> Duration {
    (delay * 2).min(MAX_RETRY_DELAY)
}

pub(super) const MIN_RETRY_DELAY: Duration = Duration::from_millis(50);

/// After Redis is back, streams are silent for as much longer.
pub(super) const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A request without an answer is sent again after this time: its connection may be dead.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// How many events a client that missed more than the window is given at a time.
const PAGE_EVENTS: usize = 256;

/// How long the wake stream of a process that has ended stays in Redis.
const WAKE_TTL: Duration = Duration::from_secs(60);
