//! The poller: the one task of a process that reads all topics that are followed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult, Value};
use tokio::time::{sleep, timeout};

use super::link::{MIN_RETRY_DELAY, RedisLink, next_delay};
use super::protocol::{HeadRequest, parse_entries, parse_streams};
use super::{CONNECT_TIMEOUT, RESPONSE_TIMEOUT};
use crate::event_log::broker::{BrokerTopic, BrokerTopics};

/// Reads events that are appended to topics that are followed, over one connection.
pub(super) struct RedisPoller {
    link: RedisLink,
    topics: Arc<BrokerTopics>,
    client: Client,
    /// The topics that are read, by their keys in Redis.
    polled: HashMap<String, PolledTopic>,
    /// The changes of the topics when `polled` was updated last.
    changes: Option<u64>,
    epoch: Option<u64>,
    /// When Redis answered last.
    last_reply: Instant,
    /// Whether the last reply may not have had all events.
    cut_short: bool,
    /// The id of the wake stream's last entry that was read.
    wake_id: String,
}

/// A topic, and the id of its last entry that was read.
struct PolledTopic {
    topic: Arc<BrokerTopic>,
    last_id: String,
}

/// What is left after a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remaining {
    Nothing,
    /// There may be more events.
    Perhaps,
}

impl RedisPoller {
    pub(super) fn new(link: RedisLink, topics: Arc<BrokerTopics>, client: Client) -> Self {
        Self {
            link,
            topics,
            client,
            polled: HashMap::new(),
            changes: None,
            epoch: None,
            last_reply: Instant::now(),
            cut_short: false,
            wake_id: FIRST_ID.to_owned(),
        }
    }

    /// Reads for ever. After any error it connects anew, and reads on where it was.
    pub(super) async fn run(mut self) {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            let before = self.last_reply;
            let _ = self.connect_and_poll().await;
            if self.last_reply > before {
                delay = MIN_RETRY_DELAY;
            }
            sleep(delay).await;
            delay = next_delay(delay);
        }
    }

    /// Reads over one connection, until there is an error.
    async fn connect_and_poll(&mut self) -> RedisResult<()> {
        // Reads block for long on purpose, so they have timeouts of their own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("CLIENT")
            .arg(&["SETNAME", "tower-sse-reader"])
            .query_async::<()>(&mut connection)
            .await?;
        FIRST_ID.clone_into(&mut self.wake_id);
        self.check_epoch().await?;
        loop {
            let mut remaining = match self.update_polled() {
                true => self.catch_up(&mut connection).await?,
                false => self.block(&mut connection).await?,
            };
            // Until the replies have the topics' events in one order: a reply that was cut short
            // may lack events of one topic that are before events of another.
            while remaining == Remaining::Perhaps {
                remaining = self.catch_up(&mut connection).await?;
            }
            self.topics.sweep();
        }
    }

    /// Reads the epoch of the log, and resets topics whose events are of another epoch.
    async fn check_epoch(&mut self) -> RedisResult<()> {
        let watermark = self.topics.watermark();
        let at_least = |epoch| HeadRequest::AtLeast(epoch, watermark);
        let request = self.epoch.map_or(HeadRequest::Read, at_least);
        let head = self.link.request_head(request).await?;
        if self.epoch.is_some_and(|epoch| epoch != head.epoch) {
            self.topics.set_watermark(0);
        }
        self.epoch = Some(head.epoch);
        for polled in self.polled.values_mut() {
            if polled.topic.reset(head.epoch) {
                FIRST_ID.clone_into(&mut polled.last_id);
                polled.topic.wake();
            }
        }
        self.changes = None;
        Ok(())
    }

    /// Adds topics that were loaded and removes topics that were dropped, and returns whether any
    /// changed.
    fn update_polled(&mut self) -> bool {
        let changes = Some(self.topics.changes());
        if std::mem::replace(&mut self.changes, changes) == changes {
            return false;
        }
        let mut known = std::mem::take(&mut self.polled);
        for topic in self.topics.loaded() {
            let key = self.link.keys.topic(&topic.name);
            let polled = known.remove(&key).filter(|it| Arc::ptr_eq(&it.topic, &topic));
            let polled = polled.unwrap_or_else(|| {
                let last_id = format!("{}-0", topic.last());
                PolledTopic { topic, last_id }
            });
            self.polled.insert(key, polled);
        }
        true
    }

    /// Reads all topics without blocking, and the head of the log at the same moment: up to there
    /// all topics are then read.
    async fn catch_up(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<Remaining> {
        let mut both = redis::pipe();
        both.atomic().get(&*self.link.keys.head).add_command(self.read_command(None));
        let request = both.query_async::<(Option<u64>, Value)>(connection);
        let (head, reply) = timeout(RESPONSE_TIMEOUT, request).await.map_err(|_| timed_out())??;
        let remaining = self.push_reply(reply, head);
        for polled in self.polled.values() {
            polled.topic.set_polled();
            polled.topic.wake();
        }
        Ok(remaining)
    }

    /// Waits for events of any topic.
    async fn block(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<Remaining> {
        // Less than the time for which Redis keeps a topic, or events could be gone between two
        // reads.
        let wait = MAX_BLOCK.min(self.link.keys.idle / 4).max(Duration::from_millis(1));
        let command = self.read_command(Some(wait));
        let request = timeout(wait + RESPONSE_TIMEOUT, command.query_async(connection));
        let reply = request.await.map_err(|_| timed_out())??;
        Ok(self.push_reply(reply, None))
    }

    fn read_command(&self, block: Option<Duration>) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(MAX_EVENTS);
        if let Some(time) = block {
            command.arg("BLOCK").arg(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        }
        command.arg("STREAMS").arg(&*self.link.keys.wake);
        let polled: Vec<_> = self.polled.iter().collect();
        for (key, _) in &polled {
            command.arg(key);
        }
        command.arg(&self.wake_id);
        for (_, polled) in &polled {
            command.arg(&polled.last_id);
        }
        command
    }

    /// Pushes the events of a reply into the windows, and wakes the followers.
    fn push_reply(&mut self, reply: Value, head: Option<u64>) -> Remaining {
        // In so short a time no event can have expired that was not read.
        let none_expired = !self.cut_short && self.last_reply.elapsed() < self.link.keys.idle / 2;
        self.last_reply = Instant::now();
        let mut remaining = Remaining::Nothing;
        // How far the log is known to reach, and up to where replies that were cut short reach.
        let (mut newest, mut cut) = (head.unwrap_or_default(), u64::MAX);
        let mut touched = Vec::new();
        for (key, values) in parse_streams(reply) {
            let Some(polled) = self.polled.get_mut(&key) else {
                self.wake_id = last_id(&values).unwrap_or(FIRST_ID.to_owned());
                continue;
            };
            let mut parsed = parse_entries(values.into_iter(), &polled.topic.name);
            if none_expired {
                let last = polled.topic.last();
                for event in &mut parsed.events {
                    if parsed.unknown_before.contains(&event.sequence) {
                        event.before = event.before.min(last);
                    }
                }
            }
            let end = parsed.events.last().map_or(0, |event| event.sequence);
            newest = newest.max(end);
            if parsed.count >= MAX_EVENTS {
                remaining = Remaining::Perhaps;
                cut = cut.min(end);
            }
            polled.topic.push(parsed.events);
            if let Some(id) = parsed.last {
                polled.last_id = id;
            }
            touched.push(Arc::clone(&polled.topic));
        }
        let watermark = newest.min(cut);
        if watermark > self.topics.watermark() {
            self.topics.set_watermark(watermark);
        }
        for topic in touched {
            topic.wake();
        }
        self.cut_short = remaining == Remaining::Perhaps;
        remaining
    }
}

fn last_id(values: &[Value]) -> Option<String> {
    let Value::Array(entry) = values.last()? else { return None };
    let Value::BulkString(id) = entry.first()? else { return None };
    String::from_utf8(id.clone()).ok()
}

fn timed_out() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// The id before all entries of a stream.
const FIRST_ID: &str = "0-0";

/// The most events of one topic in one reply, which bounds the memory of a reply.
const MAX_EVENTS: usize = 512;

/// The longest time that a read blocks. The next read notices a dead connection.
const MAX_BLOCK: Duration = Duration::from_secs(5);
