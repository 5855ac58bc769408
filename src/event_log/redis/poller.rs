//! The poller: the one task of a process that reads all topics that are followed.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
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
    /// How many events of a topic are asked for at a time.
    count: usize,
    /// How long an answer may take.
    patience: Duration,
    /// The id of the wake stream's last entry that was read.
    wake_id: String,
}

/// A topic, and the id of its last entry that was read.
struct PolledTopic {
    topic: Arc<BrokerTopic>,
    last_id: String,
}

/// What is left after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            count: MAX_EVENTS,
            patience: RESPONSE_TIMEOUT,
            wake_id: FIRST_ID.to_owned(),
        }
    }

    /// Reads for ever. After any error it connects anew, and reads on where it was.
    pub(super) async fn run(mut self) {
        let mut delay = MIN_RETRY_DELAY;
        loop {
            let before = self.last_reply;
            if let Err(error) = self.connect_and_poll().await {
                self.link.health.note_problem(&error);
            }
            self.topics.sweep();
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
        // For those who look at the list of clients. A user may lack the right to do this.
        let mut name = redis::cmd("CLIENT");
        name.arg(&["SETNAME", "tower-sse-reader"]);
        let _: RedisResult<()> = name.query_async(&mut connection).await;
        FIRST_ID.clone_into(&mut self.wake_id);
        self.check_epoch().await?;
        loop {
            let mut remaining = match self.update_polled() {
                true => self.catch_up(&mut connection).await?,
                false => match self.block(&mut connection).await? {
                    Some(remaining) => remaining,
                    None => return Ok(()),
                },
            };
            self.link.health.note_reading();
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
        let (head, reply) = self.with_patience(Duration::ZERO, request).await?;
        self.push_reply(reply, Some(head.unwrap_or_default()))
    }

    /// Waits for events of any topic. None if another connection is to be made.
    async fn block(
        &mut self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<Option<Remaining>> {
        // Less than the time for which Redis keeps a topic, or events could be gone between two
        // reads.
        let wait = MAX_BLOCK.min(self.link.keys.idle / 4).max(Duration::from_millis(1));
        let command = self.read_command(Some(wait));
        let renew = Arc::clone(&self.link.renew_poller);
        let request = self.with_patience(wait, command.query_async::<Value>(connection));
        let reply = match select(pin!(request), pin!(renew.notified())).await {
            Either::Left((reply, _)) => reply?,
            // The next connection knows all topics, and may lead to another server.
            Either::Right(_) => return Ok(None),
        };
        if matches!(reply, Value::Nil) {
            // So that the clock is known well, by which live followers start.
            self.link.request_head(HeadRequest::Read).await?;
        }
        self.push_reply(reply, None).map(Some)
    }

    /// Waits for an answer that comes within a time. If there is none, the next one is asked for
    /// less, and has more time: progress is slow over a slow connection, but there is some.
    async fn with_patience<T>(
        &mut self,
        wait: Duration,
        request: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        if let Ok(answer) = timeout(wait + self.patience, request).await {
            self.patience = RESPONSE_TIMEOUT;
            return answer;
        }
        self.count = (self.count / 8).max(1);
        self.patience = (self.patience * 2).min(MAX_PATIENCE);
        Err(timed_out())
    }

    fn read_command(&self, block: Option<Duration>) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(self.count);
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
    ///
    /// `head` is the head of the log at that moment, if all topics were read up to it or cut short.
    fn push_reply(&mut self, reply: Value, head: Option<u64>) -> RedisResult<Remaining> {
        // In so short a time no event can have expired that was not read.
        let none_expired = !self.cut_short && self.last_reply.elapsed() < self.link.keys.idle / 2;
        self.last_reply = Instant::now();
        let mut remaining = Remaining::Nothing;
        // How far the log is known to reach, and up to where replies that were cut short reach.
        let (mut newest, mut cut) = (head.unwrap_or_default(), u64::MAX);
        let (mut touched, mut cut_topics, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (key, values) in parse_streams(reply)? {
            let Some(polled) = self.polled.get_mut(&key) else {
                self.wake_id = last_id(&values).unwrap_or(FIRST_ID.to_owned());
                continue;
            };
            let mut parsed = parse_entries(values.into_iter(), &polled.topic.name)?;
            bytes += parsed.bytes;
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
            if parsed.count >= self.count {
                remaining = Remaining::Perhaps;
                cut = cut.min(end);
                cut_topics.push(key);
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
        if head.is_some() {
            for (key, polled) in &self.polled {
                // Of a topic that was cut short, events may be missing that are before the
                // watermark of the others.
                if !cut_topics.contains(key) {
                    polled.topic.set_polled();
                }
                polled.topic.wake();
            }
        }
        for topic in touched {
            topic.wake();
        }
        self.cut_short = remaining == Remaining::Perhaps;
        self.count = next_count(self.count, bytes);
        Ok(remaining)
    }
}

/// How many events of a topic to ask for after a reply with so many bytes.
fn next_count(count: usize, bytes: usize) -> usize {
    match bytes {
        0..=SMALL_REPLY => (count * 2).min(MAX_EVENTS),
        bytes if bytes > LARGE_REPLY => (count / (bytes / LARGE_REPLY + 1)).max(1),
        _ => count,
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

/// A reply with more bytes has the next one asked for less.
const LARGE_REPLY: usize = 4 * 1024 * 1024;

/// A reply with no more bytes has the next one asked for more.
const SMALL_REPLY: usize = LARGE_REPLY / 4;

/// The longest time that an answer may take.
const MAX_PATIENCE: Duration = Duration::from_secs(60);

/// The most events of one topic in one reply.
const MAX_EVENTS: usize = 512;

/// The longest time that a read blocks. The next read notices a dead connection.
const MAX_BLOCK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::event_log::broker::{BrokerFollower, LoadedTopic, WindowLimits};
    use crate::event_log::redis::protocol::RedisKeys;
    use crate::event_log::{Follow, Start, Step, Topics};

    /// A poller that is given the replies of a Redis, and connects to none.
    fn poller() -> RedisPoller {
        let client = Client::open("redis://127.0.0.1:1").unwrap();
        let limits = WindowLimits { events: 10_000, bytes: 1 << 20 };
        let keys = RedisKeys::new("p", 10_000, Duration::from_secs(3600));
        let link = RedisLink::new(&client, keys, limits, Duration::from_secs(1));
        let topics = Arc::new(BrokerTopics::new(Box::new(link.clone()), limits));
        RedisPoller::new(link, topics, client)
    }

    fn follow(poller: &RedisPoller, names: &[&str], head: u64) -> BrokerFollower {
        let empty = |topic: Arc<BrokerTopic>| {
            topic.load(LoadedTopic { epoch: 7, head, floor: 0, events: Vec::new() });
        };
        let topics = Topics::new(names).unwrap();
        BrokerFollower::new(Arc::clone(&poller.topics), &topics, Start::Earliest, empty)
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    /// A reply with these events of one topic, each right after the one before.
    fn reply(name: &str, sequences: &[u64]) -> Value {
        let entry = |at: usize| {
            let before = if at == 0 { 0 } else { sequences[at - 1] };
            let fields = ["e", "data: x\n\n", "g", "7", "b", &before.to_string(), "k", "1"];
            let id = bulk(&format!("{}-0", sequences[at]));
            Value::Array(vec![id, Value::Array(fields.iter().map(|it| bulk(it)).collect())])
        };
        let entries = Value::Array((0..sequences.len()).map(entry).collect());
        Value::Array(vec![Value::Array(vec![bulk(&format!("{{p}}:topic:{name}")), entries])])
    }

    fn ready(follower: &mut BrokerFollower) -> Vec<u64> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut sequences = Vec::new();
        while let Poll::Ready(Some(Step::Event(event))) =
            Pin::new(&mut *follower).poll_next(&mut cx)
        {
            sequences.push(event.id().strip_prefix("7-").unwrap().parse().unwrap());
        }
        sequences
    }

    /// A topic that is followed anew had more events than fit into one reply, and another one had
    /// an event after them that was read already.
    #[tokio::test]
    async fn no_event_comes_before_older_ones_that_are_not_read_yet() {
        let mut poller = poller();
        let _known = follow(&poller, &["a"], 0);
        poller.update_polled();
        poller.push_reply(Value::Nil, Some(0)).unwrap();
        let mut both = follow(&poller, &["a", "b"], 0);
        poller.push_reply(reply("a", &[1_000]), None).unwrap();
        poller.changes = None;
        poller.update_polled();
        let of_b: Vec<u64> = (1..=600).collect();
        assert!(poller.push_reply(reply("b", &of_b[..512]), Some(1_000)) == Ok(Remaining::Perhaps));
        assert!(!ready(&mut both).contains(&1_000), "88 events are before it");
        assert!(poller.push_reply(reply("b", &of_b[511..]), Some(1_000)) == Ok(Remaining::Nothing));
        assert_eq!(ready(&mut both).last(), Some(&1_000));
    }

    #[test]
    fn replies_are_bounded_by_bytes() {
        assert_eq!(next_count(512, 512 << 20), 3);
        assert_eq!(next_count(3, LARGE_REPLY), 3);
        assert_eq!(next_count(3, 100), 6);
        assert_eq!(next_count(1, 1 << 30), 1);
        assert_eq!(next_count(MAX_EVENTS, 0), MAX_EVENTS);
    }
}
