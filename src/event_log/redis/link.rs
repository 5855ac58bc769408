//! What is asked of Redis beside what the reader reads.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{RedisResult, Value};
use tokio::time::{sleep, timeout};

use super::clock::Clock;
use super::keys::Keys;
use super::reply;
use super::scripts::{Head, Moment, Scripts};
use crate::event_log::Topic;
use crate::event_log::broker::{Entry, Loaded, Source, Wait};

/// The connection for all that is not read for good. The client library renews it.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: ConnectionManager,
    pub(super) common: Arc<Common>,
}

pub(super) struct Common {
    pub(super) keys: Keys,
    pub(super) scripts: Scripts,
    pub(super) clock: Clock,
    /// How many events of a topic are in memory.
    pub(super) window: usize,
}

impl Link {
    pub(super) async fn append(&self, topic: &Topic, event: &[u8]) -> RedisResult<Moment> {
        let Common { scripts, keys, .. } = &*self.common;
        self.heard(scripts.append(&mut self.connection.clone(), keys, topic, event).await)
    }

    pub(super) async fn moment(&self, what: Head) -> RedisResult<Moment> {
        let Common { scripts, keys, .. } = &*self.common;
        self.heard(scripts.head(&mut self.connection.clone(), keys, what).await)
    }

    fn heard(&self, moment: RedisResult<Moment>) -> RedisResult<Moment> {
        if let Ok(moment) = &moment {
            self.common.clock.heard(moment.now, moment.sequence);
        }
        moment
    }

    async fn load_once(&self, topic: &Topic) -> RedisResult<Loaded> {
        let Common { scripts, keys, window, clock } = &*self.common;
        let connection = &mut self.connection.clone();
        let (loaded, now) = scripts.load(connection, keys, topic, *window).await?;
        clock.heard(now, loaded.head);
        Ok(loaded)
    }

    async fn page_once(&self, topic: &Topic, place: u64) -> RedisResult<Vec<Entry>> {
        let mut range = redis::cmd("XRANGE");
        range.arg(self.common.keys.topic(topic)).arg(format!("{place}-1")).arg("+");
        range.arg("COUNT").arg(PAGE);
        let values: Vec<Value> = range.query_async(&mut self.connection.clone()).await?;
        let (any, read) = (!values.is_empty(), reply::entries(values.into_iter(), topic));
        match (any, read.last) {
            // Only what is somebody else's: that is no end.
            (true, Some(last)) if read.events.is_empty() => {
                let last = last.split_once('-').and_then(|(it, _)| it.parse().ok());
                Box::pin(self.page_once(topic, last.unwrap_or(u64::MAX))).await
            }
            _ => Ok(read.events),
        }
    }

    /// Has the reader look at which topics there are.
    pub(super) async fn wake(&self) {
        let wake = &*self.common.keys.wake;
        let mut both = redis::pipe();
        both.cmd("XADD").arg(wake).arg(&["MAXLEN", "1", "*", "w", ""]).ignore();
        both.cmd("PEXPIRE").arg(wake).arg(WAKE_KEPT.as_secs() * 1000).ignore();
        // If Redis is away the reader begins anew anyway.
        let _: RedisResult<()> = both.query_async(&mut self.connection.clone()).await;
    }

    /// Asks until there is an answer.
    async fn insist<T, F: Future<Output = RedisResult<T>>>(&self, ask: impl Fn() -> F) -> T {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Ok(Ok(answer)) = timeout(ASK_AGAIN, ask()).await {
                return answer;
            }
            sleep(pause).await;
            pause = longer(pause);
        }
    }
}

impl Source for Link {
    fn load(&self, topic: &Topic) -> Wait<Loaded> {
        let (link, topic) = (self.clone(), topic.clone());
        Box::pin(async move { link.insist(|| link.load_once(&topic)).await })
    }

    fn page(&self, topic: &Topic, place: u64) -> Wait<Vec<Entry>> {
        let (link, topic) = (self.clone(), topic.clone());
        Box::pin(async move { link.insist(|| link.page_once(&topic, place)).await })
    }

    fn head(&self) -> Wait<(u64, u64)> {
        let link = self.clone();
        Box::pin(async move { place(link.insist(|| link.moment(Head::Look)).await) })
    }

    fn reserve(&self) -> Wait<(u64, u64)> {
        let link = self.clone();
        Box::pin(async move { place(link.insist(|| link.moment(Head::Take)).await) })
    }

    fn live(&self) -> u64 {
        self.common.clock.at_least()
    }
}

fn place(moment: Moment) -> (u64, u64) {
    (moment.epoch, moment.sequence)
}

/// The pause behind one more failure.
pub(super) fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Streams are silent for as much longer when Redis is back.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A question that gets no answer is asked again: the connection it went by may be dead.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Events a client is given in one piece when it was away for longer than the window.
const PAGE: usize = 256;

/// So that nothing is left of processes that have ended.
const WAKE_KEPT: Duration = Duration::from_secs(60);
