//! How long answers of a broker are waited for, and that what has none is requested again.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::{
    BrokerEvent, BrokerFuture, BrokerSource, FetchFuture, LastPage, LoadedTopic, MAX_RETRY_DELAY,
    MIN_RETRY_DELAY, WindowLimits, next_delay, read_last,
};
use crate::event_log::{BrokerError, Logged, Topic, Topics};

/// What is requested of a broker. Each request may fail, and has so long for its answer. If it
/// fails with [`BrokerError::Refused`], it would fail again; otherwise the broker is away for a
/// time.
pub(in crate::event_log) trait BrokerRequests:
    Clone + Send + Sync + 'static
{
    /// See [`BrokerSource::load`].
    fn load(
        &self,
        topic: &Topic,
        limits: WindowLimits,
        within: Duration,
    ) -> impl Future<Output = Result<LoadedTopic, BrokerError>> + Send;

    /// See [`BrokerSource::page`] and [`BrokerSource::fill`]. Both have a connection of their own.
    fn page(
        &self,
        reader: PageReader,
        topic: &Topic,
        position: u64,
        within: Duration,
    ) -> impl Future<Output = Result<Vec<BrokerEvent>, BrokerError>> + Send;

    /// Events of topics back from a sequence.
    fn last(
        &self,
        topics: &Topics,
        up_to: u64,
        limits: WindowLimits,
        within: Duration,
    ) -> impl Future<Output = Result<LastPage, BrokerError>> + Send;

    /// See [`BrokerSource::head`].
    fn head(
        &self,
        within: Duration,
    ) -> impl Future<Output = Result<(u64, u64), BrokerError>> + Send;

    /// See [`BrokerSource::reserve`].
    fn reserve(
        &self,
        within: Duration,
    ) -> impl Future<Output = Result<(u64, u64), BrokerError>> + Send;

    /// See [`BrokerSource::known`].
    fn known(&self) -> u64;

    /// See [`BrokerSource::live`].
    fn live(&self, at: Instant) -> u64;
}

/// Who reads a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) enum PageReader {
    Follower,
    Window,
}

/// Makes each request until it is answered, however long the broker is away.
#[derive(Clone)]
pub(in crate::event_log) struct PatientSource<R> {
    requests: R,
    /// Bound how many long answers are on their way at the same time. A request that is repeated
    /// does not count while it waits.
    replaying: Arc<Semaphore>,
    filling: Arc<Semaphore>,
}

impl<R: BrokerRequests> PatientSource<R> {
    pub(in crate::event_log) fn new(requests: R) -> Self {
        let at_a_time = || Arc::new(Semaphore::new(MAX_REPLAYS));
        Self { requests, replaying: at_a_time(), filling: at_a_time() }
    }

    /// The last events of topics.
    ///
    /// One request is enough, unless the events are many or long, or few of the last ones match a
    /// pattern.
    ///
    /// # Errors
    ///
    /// If the broker refuses the request.
    pub(in crate::event_log) async fn last(
        &self,
        topics: &Topics,
        count: usize,
    ) -> Result<Vec<Logged>, BrokerError> {
        let page = |up_to, limits| {
            until_answered(move |within| {
                in_turn(&self.replaying, self.requests.last(topics, up_to, limits, within))
            })
        };
        read_last(count, page).await
    }
}

impl<R: BrokerRequests> BrokerSource for PatientSource<R> {
    fn load(&self, topic: &Topic, limits: WindowLimits) -> FetchFuture<LoadedTopic> {
        let (Self { requests, replaying, .. }, topic) = (self.clone(), topic.clone());
        Box::pin(async move {
            let load = |within| in_turn(&replaying, requests.load(&topic, limits, within));
            until_answered(load).await
        })
    }

    fn page(&self, topic: &Topic, position: u64) -> BrokerFuture<Vec<BrokerEvent>> {
        let (Self { requests, replaying, .. }, topic) = (self.clone(), topic.clone());
        Box::pin(async move {
            let page = |within| requests.page(PageReader::Follower, &topic, position, within);
            until_granted(|within| in_turn(&replaying, page(within))).await
        })
    }

    fn fill(&self, topic: &Topic, position: u64) -> FetchFuture<Vec<BrokerEvent>> {
        let (Self { requests, filling, .. }, topic) = (self.clone(), topic.clone());
        Box::pin(async move {
            let page = |within| requests.page(PageReader::Window, &topic, position, within);
            until_answered(|within| in_turn(&filling, page(within))).await
        })
    }

    fn head(&self) -> BrokerFuture<(u64, u64)> {
        let requests = self.requests.clone();
        Box::pin(async move { until_granted(|within| requests.head(within)).await })
    }

    fn reserve(&self) -> BrokerFuture<(u64, u64)> {
        let requests = self.requests.clone();
        Box::pin(async move { until_granted(|within| requests.reserve(within)).await })
    }

    fn known(&self) -> u64 {
        self.requests.known()
    }

    fn live(&self, at: Instant) -> u64 {
        self.requests.live(at)
    }
}

/// Repeats a request until there is an answer, or a refusal. Each time it waits longer, so that a
/// long answer over a slow connection comes in the end.
async fn until_answered<T, F: Future<Output = Result<T, BrokerError>>>(
    request: impl Fn(Duration) -> F,
) -> Result<T, BrokerError> {
    let (mut delay, mut patience) = (MIN_RETRY_DELAY, Patience::new());
    loop {
        match request(patience.get()).await {
            Err(BrokerError::TimedOut) => patience.double(),
            Err(BrokerError::Away(_)) => {}
            answer => return answer,
        }
        sleep(delay).await;
        delay = next_delay(delay);
    }
}

/// Repeats a request until it is neither refused nor without an answer.
async fn until_granted<T, F: Future<Output = Result<T, BrokerError>>>(
    request: impl Fn(Duration) -> F,
) -> T {
    loop {
        if let Ok(answer) = until_answered(&request).await {
            return answer;
        }
        sleep(MAX_RETRY_DELAY).await;
    }
}

/// Makes a request when so few others are being made that it may be.
async fn in_turn<F: Future>(at_a_time: &Semaphore, request: F) -> F::Output {
    // The semaphore is never closed.
    let _permit = at_a_time.acquire().await;
    request.await
}

/// How long the next request waits for its answer. After one that had none in time it is twice as
/// long, so that a long answer comes in the end, over a slow connection, too.
#[derive(Debug)]
pub(in crate::event_log) struct Patience(Duration);

impl Patience {
    pub(in crate::event_log) fn new() -> Self {
        Self(RESPONSE_TIMEOUT)
    }

    pub(in crate::event_log) fn get(&self) -> Duration {
        self.0
    }

    /// There was no answer within the time.
    pub(in crate::event_log) fn double(&mut self) {
        self.0 = (self.0 * 2).min(MAX_PATIENCE);
    }
}

/// How long an answer to a request of a follower or the reader may take at first.
pub(in crate::event_log) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that an answer may take.
pub(in crate::event_log) const MAX_PATIENCE: Duration = Duration::from_secs(60);

/// How much a client that missed more than the window is given at a time, unless one event is
/// longer.
pub(in crate::event_log) const PAGE: WindowLimits = WindowLimits { events: 256, bytes: 256 * 1024 };

/// So many long answers are waited for at the same time.
const MAX_REPLAYS: usize = 16;
