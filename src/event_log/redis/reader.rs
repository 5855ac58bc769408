//! The reader: the one task of a process that reads the feed, and tells the topics that are
//! followed what it names.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisResult, Value};
use tokio::time::{sleep, timeout};

use super::CONNECT_TIMEOUT;
use super::address::RedisAddress;
use super::feed::FeedPage;
use super::history::FeedHistory;
use super::link::RedisLink;
use super::protocol::{HeadRequest, is_forbidden};
use crate::event_log::Topic;
use crate::event_log::broker::{
    BrokerTopic, BrokerTopics, LogHead, MIN_RETRY_DELAY, Patience, next_delay,
};

/// Reads the feed over a connection of its own.
///
/// What it asks Redis for does not depend on what is followed, unless it falls out of the feed:
/// then it asks once for the last sequence of each topic that is followed.
pub(super) struct FeedReader {
    link: RedisLink,
    topics: Arc<BrokerTopics>,
    address: RedisAddress,
    epoch: u64,
    /// The sequence up to which the feed was read without a break.
    position: u64,
    history: FeedHistory,
    /// The server was found to have entries before the position that were not read.
    has_branched: bool,
    /// The id from which on the feed is read.
    last_id: String,
    /// The last event of the log when the feed had no more, if it is after the position.
    expected: u64,
    /// When the feed was read last, or the topics were compared.
    last_reply: Instant,
    patience: Patience,
}

/// What comes of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FeedState {
    InOrder,
    /// Redis does not have all entries after the position any more, or lost everything.
    Broken,
    /// There are entries before the position that were not read, on this server or on the one that
    /// other connections lead to.
    Branched,
    /// The connection leads to the wrong server.
    Misled,
}

impl FeedReader {
    /// A reader that begins after the head of a log.
    pub(super) fn new(
        link: RedisLink,
        topics: Arc<BrokerTopics>,
        address: RedisAddress,
        head: LogHead,
    ) -> Self {
        let mut reader = Self {
            link,
            topics,
            address,
            epoch: head.epoch,
            position: 0,
            history: FeedHistory::after(0),
            has_branched: false,
            last_id: String::new(),
            expected: 0,
            last_reply: Instant::now(),
            patience: Patience::new(),
        };
        reader.go_on_after(head);
        reader.topics.set_watermark(reader.position);
        reader
    }

    /// Reads for ever. After any error it connects anew, and reads on where it was.
    pub(super) async fn run(mut self) {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            let before = self.last_reply;
            if let Err(error) = self.connect_and_read().await {
                self.link.health.note_problem(&error);
            }
            self.topics.sweep();
            // Each branch is a gap for all clients, so it is never one right after the other.
            if self.last_reply > before && !self.has_branched {
                delay = MIN_RETRY_DELAY;
            }
            sleep(delay).await;
            delay = next_delay(delay);
        }
    }

    /// Reads over one connection, until there is an error.
    async fn connect_and_read(&mut self) -> RedisResult<()> {
        // Reads block for long on purpose, so they have timeouts of their own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let mut connection = self.address.connect(&config).await?;
        // It is shown in the list of clients. A user may lack the right to set it.
        let mut name = redis::cmd("CLIENT");
        name.arg(&["SETNAME", "tower-sse-reader"]);
        let _: RedisResult<()> = name.query_async(&mut connection).await;
        // Another server may have taken over.
        self.link.renew_pages();
        let mut state = self.state_at(self.link.request_head(HeadRequest::Read).await?);
        if self.has_branched || state == FeedState::Branched {
            state = self.branch().await?;
        }
        loop {
            match state {
                FeedState::InOrder => {}
                FeedState::Broken => self.compare(&mut connection).await?,
                FeedState::Branched => {
                    self.has_branched = true;
                    return Ok(());
                }
                FeedState::Misled => return Ok(()),
            }
            state = self.read(&mut connection).await?;
            self.link.health.note_reading();
            self.topics.sweep();
        }
    }

    /// How a server stands to what was read. Its feed does not tell that it lost everything, and
    /// the rest only with the next event.
    fn state_at(&self, head: LogHead) -> FeedState {
        if head.epoch != self.epoch {
            FeedState::Broken
        } else if self.has_branched_at(head.last_event) {
            FeedState::Branched
        } else {
            FeedState::InOrder
        }
    }

    /// Whether an entry that a server has is before the position, and was not read.
    fn has_branched_at(&self, sequence: u64) -> bool {
        sequence < self.position && !self.history.has(sequence)
    }

    /// Waits for entries of the feed.
    async fn read(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<FeedState> {
        let command = self.read_command();
        let renew = Arc::clone(&self.address.renew_reader);
        let request = self.with_patience(MAX_BLOCK, command.query_async::<Value>(connection));
        let reply = match select(pin!(request), pin!(renew.notified())).await {
            Either::Left((reply, _)) => reply?,
            Either::Right(_) => return Ok(FeedState::Misled),
        };
        let page = FeedPage::parse(reply)?;
        if page.last_id.is_some() {
            return Ok(self.take(page));
        }
        self.last_reply = Instant::now();
        if self.expected > self.position {
            return Ok(FeedState::Broken);
        }
        // This keeps the clock, too, by which live followers start.
        let head = self.link.request_head(HeadRequest::Read).await?;
        self.expected = head.last_event;
        Ok(self.state_at(head))
    }

    fn read_command(&self) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MAX_ENTRIES).arg("BLOCK").arg(MAX_BLOCK.as_secs() * 1000);
        command.arg("STREAMS").arg(&*self.link.keys.feed).arg(&self.last_id);
        command
    }

    /// Waits for an answer that comes within a time, which is longer after one that did not.
    async fn with_patience<T>(
        &mut self,
        wait: Duration,
        request: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        if let Ok(answer) = timeout(wait + self.patience.get(), request).await {
            self.patience = Patience::new();
            return answer;
        }
        self.patience.double();
        Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())
    }

    /// Tells topics that are followed, and the window of all topics if a pattern is followed, what
    /// entries name, up to the first that does not follow on what was read.
    pub(super) fn take(&mut self, page: FeedPage) -> FeedState {
        self.last_reply = Instant::now();
        let (mut state, mut named) = (FeedState::InOrder, Vec::new());
        for entry in page.entries {
            let (epoch, sequence) = (entry.epoch, entry.sequence);
            if epoch != self.epoch || entry.previous > self.position {
                state = FeedState::Broken;
                break;
            }
            if self.has_branched_at(entry.previous) {
                state = FeedState::Branched;
                break;
            }
            for name in [&*entry.topic, Topic::ALL.as_str()] {
                let announcement = |to: &Topic| entry.announce(to, self.position);
                named.extend(self.topics.announce(name, announcement));
            }
            self.position = sequence;
            self.history.add(sequence);
        }
        self.last_id = page.last_id.unwrap_or_default();
        self.link.clock.note_event(self.epoch, self.position);
        self.topics.wake_at(self.position, &named);
        state
    }

    /// Asks for the last sequence of each topic that is followed, and goes on from there.
    async fn compare(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<()> {
        // Before anything else, so that the feed names after this what is appended meanwhile.
        let head = self.link.request_head(HeadRequest::Read).await?;
        // In so short a time no event can have come and expired.
        let none_expired = self.last_reply.elapsed() < self.link.keys.limits.idle / 2;
        if head.epoch != self.epoch {
            self.topics.set_watermark(0);
        }
        let topics = self.topics.all();
        for topic in &topics {
            topic.reset(head.epoch, 0);
        }
        for batch in topics.chunks(MAX_COMPARED) {
            let mut command = redis::cmd("MGET");
            for topic in batch {
                command.arg(self.link.keys.last(&topic.name));
            }
            let request = command.query_async::<Vec<Option<u64>>>(connection);
            let lasts = match self.with_patience(Duration::ZERO, request).await {
                Err(error) if is_forbidden(&error) => {
                    self.last_of_each(connection, batch, head.last_event).await?
                }
                lasts => lasts?,
            };
            for (topic, last) in batch.iter().zip(lasts) {
                self.topics.compare(topic, last, none_expired);
            }
        }
        self.epoch = head.epoch;
        self.last_reply = Instant::now();
        self.go_on_after(head);
        self.topics.wake_at(self.position, &topics);
        Ok(())
    }

    /// The last sequence of each topic. A topic to which the user has no right may have had events
    /// up to `head`.
    async fn last_of_each(
        &mut self,
        connection: &mut MultiplexedConnection,
        topics: &[Arc<BrokerTopic>],
        head: u64,
    ) -> RedisResult<Vec<Option<u64>>> {
        let mut lasts = Vec::with_capacity(topics.len());
        for topic in topics {
            let mut command = redis::cmd("GET");
            command.arg(self.link.keys.last(&topic.name));
            let last = self.with_patience(Duration::ZERO, command.query_async(connection)).await;
            lasts.push(match last {
                Err(error) if is_forbidden(&error) => Some(head),
                last => last?,
            });
        }
        Ok(lasts)
    }

    /// Goes on with what a server has that took events of its own before the position. All that is
    /// here may lack some of them.
    async fn branch(&mut self) -> RedisResult<FeedState> {
        // So that also clients of other nodes, and those that come back there, are told.
        let head = self.link.request_head(HeadRequest::Lose).await?;
        self.has_branched = false;
        if head.epoch != self.epoch {
            return Ok(FeedState::Broken);
        }
        self.go_on_after(head);
        self.topics.branch(self.position);
        Ok(FeedState::InOrder)
    }

    fn go_on_after(&mut self, head: LogHead) {
        self.position = head.last_event;
        self.history = FeedHistory::after(self.position);
        self.last_id = format!("{}-0", self.position);
    }
}

impl Drop for FeedReader {
    /// Its runtime has ended: followers would wait for ever.
    fn drop(&mut self) {
        self.topics.end();
    }
}

/// The most entries in one reply, which have at most a kilobyte each.
const MAX_ENTRIES: usize = 512;

/// The most topics whose last sequences are asked for at a time.
const MAX_COMPARED: usize = 512;

/// The longest time that a read blocks. The next read notices a dead connection.
const MAX_BLOCK: Duration = Duration::from_secs(5);
