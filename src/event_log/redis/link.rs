//! Requests to Redis, and the clock of Redis as its answers show it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::{Client, RedisResult};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use super::RESPONSE_TIMEOUT;
use super::connection::{Lease, RedisConnection, is_not_ready};
use super::protocol::{HeadRequest, LogHead, RedisKeys, RedisScripts};
use crate::event_log::Topic;
use crate::event_log::broker::{
    BrokerEvent, BrokerFuture, BrokerSource, LoadedTopic, WindowLimits,
};
use crate::event_log::health::HealthCell;
use crate::sync::lock;

/// The connections for all requests but those of the poller.
#[derive(Clone)]
pub(super) struct RedisLink {
    /// For appends and the head. What is long does not delay what is short, so replays have a
    /// connection of their own.
    short: Arc<RedisConnection>,
    long: Arc<RedisConnection>,
    pub(super) keys: Arc<RedisKeys>,
    scripts: Arc<RedisScripts>,
    clock: Arc<RedisClock>,
    /// How much of a topic is loaded.
    window: WindowLimits,
    /// Bounds how many long answers are on their way at the same time.
    long_answers: Arc<Semaphore>,
    /// Has the poller connect anew: when Redis could not wake it, and when another connection was
    /// found to lead to the wrong server.
    pub(super) renew_poller: Arc<Notify>,
    pub(super) health: Arc<HealthCell>,
}

impl RedisLink {
    pub(super) fn new(
        client: &Client,
        keys: RedisKeys,
        window: WindowLimits,
        append_timeout: Duration,
    ) -> Self {
        let renew_poller = Arc::<Notify>::default();
        let connection = |timeout| {
            Arc::new(RedisConnection::new(client.clone(), timeout, Arc::clone(&renew_poller)))
        };
        Self {
            short: connection(append_timeout.max(RESPONSE_TIMEOUT)),
            long: connection(MAX_REQUEST_TIMEOUT),
            keys: Arc::new(keys),
            scripts: Arc::new(RedisScripts::new()),
            clock: Arc::new(RedisClock::new()),
            window,
            long_answers: Arc::new(Semaphore::new(MAX_LONG_ANSWERS)),
            renew_poller,
            health: Arc::new(HealthCell::new()),
        }
    }

    /// Appends an event within a time. If Redis refuses it because it is not ready, or not the
    /// right server, the event is sent again over another connection.
    pub(super) async fn append(
        &self,
        topic: &Topic,
        event: &[u8],
        within: Duration,
    ) -> Option<RedisResult<LogHead>> {
        let mut refused = None;
        let append = async {
            let mut delay = MIN_RETRY_DELAY;
            loop {
                let connection = &*self.short;
                let mut lease = connection.get().await?;
                let mut answer = Answer::of(connection, &lease);
                let appended =
                    self.scripts.append(&mut lease.connection, &self.keys, topic, event).await;
                answer.came();
                match connection.note(&lease, appended) {
                    Err(error) if is_not_ready(&error) => refused = Some(error),
                    other => return self.set_clock(other),
                }
                sleep(delay).await;
                delay = next_delay(delay);
            }
        };
        match timeout(within, append).await {
            Ok(answer) => Some(answer),
            Err(_) => refused.map(Err),
        }
    }

    pub(super) async fn request_head(&self, request: HeadRequest) -> RedisResult<LogHead> {
        let connection = &*self.short;
        let mut lease = connection.get().await?;
        let mut answer = Answer::of(connection, &lease);
        let head = self.scripts.head(&mut lease.connection, &self.keys, request).await;
        answer.came();
        self.set_clock(connection.note(&lease, head))
    }

    /// Has the keys of a topic expire after a time, if no event comes before.
    pub(super) async fn forget(&self, topic: &Topic, after: Duration) -> RedisResult<()> {
        let keys = &self.keys;
        let millis = u64::try_from(after.min(keys.idle).as_millis()).unwrap_or(u64::MAX);
        let mut both = redis::pipe();
        for key in [keys.topic(topic), keys.last(topic)] {
            both.cmd("PEXPIRE").arg(key).arg(millis).ignore();
        }
        let mut lease = self.short.get().await?;
        let done = both.query_async::<()>(&mut lease.connection).await;
        self.short.note(&lease, done)
    }

    fn set_clock(&self, head: RedisResult<LogHead>) -> RedisResult<LogHead> {
        if let Ok(head) = &head {
            self.clock.set(head.clock, head.sequence);
        }
        head
    }

    async fn try_load(&self, topic: &Topic) -> RedisResult<LoadedTopic> {
        let mut lease = self.long.get().await?;
        let load = self.scripts.load(&mut lease.connection, &self.keys, topic, self.window).await;
        let (loaded, clock) = self.long.note(&lease, load)?;
        self.clock.set(clock, loaded.head);
        Ok(loaded)
    }

    async fn try_page(&self, topic: &Topic, mut position: u64) -> RedisResult<Vec<BrokerEvent>> {
        loop {
            let mut lease = self.long.get().await?;
            let connection = &mut lease.connection;
            let page = self.scripts.page(connection, &self.keys, topic, position, PAGE).await;
            let read = self.long.note(&lease, page)?;
            match read.last {
                // Foreign entries only: the topic may have events after them.
                Some(last) if read.events.is_empty() => {
                    let last = last.split_once('-').and_then(|(it, _)| it.parse().ok());
                    position = last.unwrap_or(u64::MAX);
                }
                _ => return Ok(read.events),
            }
        }
    }

    /// Has the poller update its list of topics.
    pub(super) async fn wake_poller(&self) {
        let wake = &*self.keys.wake;
        let mut both = redis::pipe();
        both.cmd("XADD").arg(wake).arg(&["MAXLEN", "1", "*", "w", ""]).ignore();
        both.cmd("PEXPIRE").arg(wake).arg(WAKE_TTL.as_secs() * 1000).ignore();
        let woken = async {
            let mut lease = self.short.get().await?;
            let woken = both.query_async::<()>(&mut lease.connection).await;
            self.short.note(&lease, woken)
        };
        // A Redis that is full takes no entry. If it is away, the poller starts anew anyway.
        if !matches!(timeout(RESPONSE_TIMEOUT, woken).await, Ok(Ok(()))) {
            self.renew_poller.notify_one();
        }
    }

    /// Repeats a request until there is an answer. Each time it waits longer, so that a long answer
    /// over a slow connection comes in the end.
    async fn retry<T, F: Future<Output = RedisResult<T>>>(&self, request: impl Fn() -> F) -> T {
        let (mut delay, mut patience) = (MIN_RETRY_DELAY, RESPONSE_TIMEOUT);
        loop {
            match timeout(patience, request()).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(_)) => {}
                Err(_) => patience = (patience * 2).min(MAX_REQUEST_TIMEOUT),
            }
            sleep(delay).await;
            delay = next_delay(delay);
        }
    }

    /// The same for an answer that may be long.
    async fn retry_long<T, F: Future<Output = RedisResult<T>>>(
        &self,
        request: impl Fn() -> F,
    ) -> T {
        // It is never closed.
        let _permit = self.long_answers.acquire().await;
        self.retry(request).await
    }
}

/// Gives a connection up if there is no answer: the request was dropped after its timeout.
struct Answer<'a> {
    connection: &'a RedisConnection,
    lease: Option<Lease>,
}

impl<'a> Answer<'a> {
    fn of(connection: &'a RedisConnection, lease: &Lease) -> Self {
        Self { connection, lease: Some(lease.clone()) }
    }

    fn came(&mut self) {
        self.lease = None;
    }
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        if let Some(lease) = &self.lease {
            self.connection.give_up(lease);
        }
    }
}

impl BrokerSource for RedisLink {
    fn load(&self, topic: &Topic) -> BrokerFuture<LoadedTopic> {
        let (link, topic) = (self.clone(), topic.clone());
        Box::pin(async move { link.retry_long(|| link.try_load(&topic)).await })
    }

    fn page(&self, topic: &Topic, position: u64) -> BrokerFuture<Vec<BrokerEvent>> {
        let (link, topic) = (self.clone(), topic.clone());
        Box::pin(async move { link.retry_long(|| link.try_page(&topic, position)).await })
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
/// events that are appended from now on, on any node. If the clock was set back, sequences are
/// ahead of it, and each is one more than the one before.
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

/// The longest time that a request waits for its answer.
const MAX_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How much a client that missed more than the window is given at a time, unless one event is
/// longer.
const PAGE: WindowLimits = WindowLimits { events: 256, bytes: 256 * 1024 };

/// So many pages are read at the same time.
const MAX_LONG_ANSWERS: usize = 16;

/// How long the wake stream of a process that has ended stays in Redis.
const WAKE_TTL: Duration = Duration::from_secs(60);
