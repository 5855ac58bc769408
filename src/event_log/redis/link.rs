//! Requests to Redis: appends, the head of the log, and ranges of topics.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::RedisResult;
use tokio::time::{sleep, timeout};

use super::address::RedisAddress;
use super::connection::{Lease, RedisConnection, failed, is_not_ready, timed_out};
use super::protocol::{EventToAppend, HeadRequest, RedisKeys, RedisScripts};
use crate::event_log::broker::{
    BrokerEvent, BrokerRequests, LastPage, LoadedTopic, LogClock, LogHead, MAX_PATIENCE,
    MIN_RETRY_DELAY, PAGE, PageReader, RESPONSE_TIMEOUT, WindowLimits, next_delay,
};
use crate::event_log::health::HealthCell;
use crate::event_log::{Appended, BrokerError, Topic, Topics};

/// The connections for all requests but the reads of the feed.
#[derive(Clone)]
pub(super) struct RedisLink {
    /// For appends and the head. What is long does not delay what is short, so replays have a
    /// connection of their own, and so have events that are too long for the feed.
    short: Arc<RedisConnection>,
    pub(super) replays: Arc<RedisConnection>,
    fills: Arc<RedisConnection>,
    /// The number of the short connection whose server was told what this process knows.
    told: Arc<AtomicU64>,
    pub(super) keys: Arc<RedisKeys>,
    pub(super) scripts: Arc<RedisScripts>,
    pub(super) clock: Arc<LogClock>,
    pub(super) health: Arc<HealthCell>,
}

impl RedisLink {
    pub(super) fn new(address: &RedisAddress, keys: RedisKeys, append_timeout: Duration) -> Self {
        let connection = |timeout| Arc::new(RedisConnection::new(address.clone(), timeout));
        Self {
            short: connection(append_timeout.max(RESPONSE_TIMEOUT)),
            replays: connection(MAX_PATIENCE),
            fills: connection(MAX_PATIENCE),
            told: Arc::default(),
            keys: Arc::new(keys),
            scripts: Arc::new(RedisScripts::new()),
            clock: Arc::new(LogClock::new()),
            health: Arc::new(HealthCell::new("redis")),
        }
    }

    /// Appends an event within a time.
    pub(super) async fn append(
        &self,
        event: &EventToAppend<'_>,
        within: Duration,
    ) -> RedisResult<Appended> {
        let append = |mut lease: Lease| async move {
            self.tell_server(&lease).await?;
            self.scripts.append(&mut lease.connection, &self.keys, event).await
        };
        let (appended, head) = self.request(within, append).await?;
        self.clock.set(head);
        Ok(appended)
    }

    /// Requests the head within a time.
    pub(super) async fn head_within(
        &self,
        within: Duration,
        request: HeadRequest,
    ) -> RedisResult<LogHead> {
        let head = |lease| self.head_over(lease, request);
        self.set_clock(self.request(within, head).await)
    }

    pub(super) async fn request_head(&self, request: HeadRequest) -> RedisResult<LogHead> {
        let lease = self.short.get().await?;
        self.set_clock(self.request_over(lease, |lease| self.head_over(lease, request)).await)
    }

    /// Makes a short request within a time. If Redis refuses it because it is not ready, or not the
    /// right server, the request is made again, over another connection if that may help.
    async fn request<T, F: Future<Output = RedisResult<T>>>(
        &self,
        within: Duration,
        request: impl Fn(Lease) -> F,
    ) -> RedisResult<T> {
        let mut refused = None;
        let answered = async {
            let mut delay = MIN_RETRY_DELAY;
            loop {
                let answer = match self.short.get().await {
                    Ok(lease) => {
                        // Until there is an answer it may have been executed.
                        refused = None;
                        self.request_over(lease, &request).await
                    }
                    Err(error) => Err(error),
                };
                match answer {
                    Err(error) if is_not_ready(&error) => refused = Some(error),
                    answer => return answer,
                }
                sleep(delay).await;
                delay = next_delay(delay);
            }
        };
        match timeout(within, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(refused.unwrap_or_else(timed_out)),
        }
    }

    async fn request_over<T, F: Future<Output = RedisResult<T>>>(
        &self,
        lease: Lease,
        request: impl Fn(Lease) -> F,
    ) -> RedisResult<T> {
        let mut answer = Answer::of(&self.short, &lease);
        let answered = request(lease.clone()).await;
        answer.came();
        self.short.note(&lease, answered)
    }

    async fn head_over(&self, mut lease: Lease, request: HeadRequest) -> RedisResult<LogHead> {
        let known = self.clock.known();
        let head = self.scripts.head(&mut lease.connection, &self.keys, known, request).await?;
        self.told.store(lease.number, Ordering::Relaxed);
        Ok(head)
    }

    /// Tells the server of a new connection what this process knows of the head, before an event is
    /// appended there: it may have forgotten it.
    async fn tell_server(&self, lease: &Lease) -> RedisResult<()> {
        if self.told.load(Ordering::Relaxed) != lease.number {
            let head = self.head_over(lease.clone(), HeadRequest::Read).await?;
            self.clock.set(head);
        }
        Ok(())
    }

    /// Has the events of a topic expire after a time, if none comes before. Its last sequence stays
    /// for as long as that of any topic, or the next event would hide that these were lost.
    pub(super) async fn forget(
        &self,
        topic: &Topic,
        after: Duration,
        within: Duration,
    ) -> RedisResult<()> {
        let millis = u64::try_from(after.min(self.keys.limits.idle).as_millis());
        let mut expire = redis::cmd("PEXPIRE");
        expire.arg(self.keys.topic(topic)).arg(millis.unwrap_or(u64::MAX));
        let expire = &expire;
        let forget =
            |mut lease: Lease| async move { expire.exec_async(&mut lease.connection).await };
        self.request(within, forget).await
    }

    /// Has events read over new connections from now on, which lead to the server of today.
    pub(super) fn renew_pages(&self) {
        self.replays.renew();
        self.fills.renew();
    }

    fn set_clock(&self, head: RedisResult<LogHead>) -> RedisResult<LogHead> {
        if let Ok(head) = &head {
            self.clock.set(*head);
        }
        head
    }

    async fn try_load(&self, topic: &Topic, limits: WindowLimits) -> RedisResult<LoadedTopic> {
        if topic.is_all() {
            // Followers that begin before this read the feed.
            let LogHead { epoch, last_event: floor, sequence: head, .. } =
                self.request_head(HeadRequest::Read).await?;
            return Ok(LoadedTopic { epoch, head, floor, events: Vec::new(), whole: false });
        }
        let connection = &*self.replays;
        let mut lease = connection.get().await?;
        let load = self.scripts.load(&mut lease.connection, &self.keys, topic, limits).await;
        let (loaded, head) = connection.note(&lease, load)?;
        self.clock.set(head);
        Ok(loaded)
    }

    async fn try_page(
        &self,
        connection: &RedisConnection,
        topic: &Topic,
        mut position: u64,
    ) -> RedisResult<Vec<BrokerEvent>> {
        loop {
            let mut lease = connection.get().await?;
            let request = &mut lease.connection;
            let page = self.scripts.page(request, &self.keys, topic, position, PAGE).await;
            let read = connection.note(&lease, page)?;
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

impl BrokerRequests for RedisLink {
    async fn load(
        &self,
        topic: &Topic,
        limits: WindowLimits,
        within: Duration,
    ) -> Result<LoadedTopic, BrokerError> {
        answered(within, self.try_load(topic, limits)).await
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
        answered(within, self.try_page(connection, topic, position)).await
    }

    async fn last(
        &self,
        topics: &Topics,
        up_to: u64,
        limits: WindowLimits,
        within: Duration,
    ) -> Result<LastPage, BrokerError> {
        answered(within, self.try_last(topics, up_to, limits)).await
    }

    async fn head(&self, within: Duration) -> Result<(u64, u64), BrokerError> {
        let head = answered(within, self.request_head(HeadRequest::Read)).await?;
        Ok((head.epoch, head.sequence))
    }

    async fn reserve(&self, within: Duration) -> Result<(u64, u64), BrokerError> {
        let head = answered(within, self.request_head(HeadRequest::Reserve)).await?;
        Ok((head.epoch, head.sequence))
    }

    fn known(&self) -> u64 {
        self.clock.known().sequence
    }

    fn live(&self, at: Instant) -> u64 {
        self.clock.earliest_after(at)
    }
}

async fn answered<T>(
    within: Duration,
    request: impl Future<Output = RedisResult<T>>,
) -> Result<T, BrokerError> {
    let answer = timeout(within, request).await.map_err(|_| BrokerError::TimedOut)?;
    answer.map_err(|error| match is_not_ready(&error) {
        true => BrokerError::Away(error.to_string().into()),
        false => failed(error),
    })
}
