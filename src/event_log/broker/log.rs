//! What a log of a broker is in this process, whatever the broker is.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{BrokerFollower, BrokerRequests, BrokerSettings, BrokerTopics, LogHead, PatientSource};
use crate::event_log::{BrokerError, Logged, Page, Start, Topic, Topics};
use crate::wire::Event;

/// What all handles and followers of a log share. Its tasks end with the last of them.
pub(in crate::event_log) struct BrokerLog<R> {
    pub(in crate::event_log) link: R,
    source: PatientSource<R>,
    pub(in crate::event_log) topics: Arc<BrokerTopics>,
    /// The head when the log was made, after which the reader begins.
    head: LogHead,
    runtime: Handle,
    /// From the first follower on, the reader and what fetches topics.
    reading: OnceLock<JoinSet<()>>,
    pub(in crate::event_log) append_timeout: Duration,
    max_event_bytes: usize,
}

impl<R: BrokerRequests> BrokerLog<R> {
    /// It reads in the runtime in which it is made.
    pub(in crate::event_log) fn new(link: R, head: LogHead, settings: &BrokerSettings) -> Self {
        let source = PatientSource::new(link.clone());
        let topics = Arc::new(BrokerTopics::new(Box::new(source.clone()), settings.window));
        Self {
            link,
            source,
            topics,
            head,
            runtime: Handle::current(),
            reading: OnceLock::new(),
            append_timeout: settings.append_timeout,
            max_event_bytes: settings.max_event_bytes,
        }
    }

    /// Encodes an event that is to be appended.
    pub(in crate::event_log) fn encode(&self, event: &Event) -> Result<Vec<u8>, BrokerError> {
        let bytes = event.encode_without_id().ok_or(BrokerError::NoData)?;
        if bytes.len() > self.max_event_bytes {
            return Err(BrokerError::TooLong);
        }
        Ok(bytes)
    }

    /// Follows topics. The first time it spawns the reader.
    pub(in crate::event_log) fn follow<F: Future<Output = ()> + Send + 'static>(
        &self,
        topics: &Topics,
        from: Start,
        reader: impl FnOnce(R, Arc<BrokerTopics>, LogHead) -> F,
    ) -> BrokerFollower {
        self.reading.get_or_init(|| {
            let reader = reader(self.link.clone(), Arc::clone(&self.topics), self.head);
            self.topics.spawn_reading(reader, &self.runtime)
        });
        BrokerFollower::new(Arc::clone(&self.topics), topics, from)
    }

    pub(in crate::event_log) async fn read(
        &self,
        topic: &Topic,
        from: Start,
        limit: usize,
    ) -> Result<Page, BrokerError> {
        // Boxed, so that futures that look at a log are small.
        self.in_time(Box::pin(Arc::clone(&self.topics).read(topic, from, limit))).await
    }

    pub(in crate::event_log) async fn last(
        &self,
        topics: &Topics,
        count: usize,
    ) -> Result<Vec<Logged>, BrokerError> {
        self.in_time(Box::pin(self.source.last(topics, count))).await
    }

    /// Waits for an answer as long as for that of an append.
    pub(in crate::event_log) async fn in_time<T, E: Into<BrokerError>>(
        &self,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BrokerError> {
        let answer = timeout(self.append_timeout, request).await;
        answer.map_err(|_| BrokerError::TimedOut)?.map_err(Into::into)
    }
}
