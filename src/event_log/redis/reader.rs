//! The one reader of a process: it reads all topics that are followed by one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisResult, Value};
use tokio::time::{sleep, timeout};

use super::link::{FIRST_PAUSE, Link, longer};
use super::reply;
use super::scripts::Head;
use crate::event_log::Topic;
use crate::event_log::broker::{Cell, Upstream};

/// Reads what is appended to the topics that are followed, for as long as it is polled.
pub(super) struct Reader {
    link: Link,
    upstream: Arc<Upstream>,
    client: Client,
    /// By the key in Redis.
    topics: HashMap<String, Reading>,
    /// The changes of the upstream that are taken up.
    changes: Option<u64>,
    epoch: Option<u64>,
    /// When Redis was last heard of.
    heard: Instant,
    /// Whether there was more by then than it gave.
    cut_short: bool,
    wake: String,
}

/// A topic, and the id behind which it is read on.
struct Reading {
    topic: Topic,
    cell: Arc<Cell>,
    behind: String,
}

/// How a read ended.
enum Read {
    /// All there is up to now is read.
    All,
    /// There may be more.
    More,
}

impl Reader {
    pub(super) fn new(link: Link, upstream: Arc<Upstream>, client: Client) -> Self {
        Self {
            link,
            upstream,
            client,
            topics: HashMap::new(),
            changes: None,
            epoch: None,
            heard: Instant::now(),
            cut_short: false,
            wake: START.to_owned(),
        }
    }

    /// Reads for ever. While Redis is away it tries again and again.
    pub(super) async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.heard;
            // Whatever went wrong, a new connection and a look from the beginning put it right.
            let _ = self.read_on().await;
            if self.heard > before {
                pause = FIRST_PAUSE;
            }
            sleep(pause).await;
            pause = longer(pause);
        }
    }

    async fn read_on(&mut self) -> RedisResult<()> {
        // It waits for long on purpose, so the time is taken here and not by the library.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None);
        let mut connection =
            self.client.get_multiplexed_async_connection_with_config(&config).await?;
        redis::cmd("CLIENT")
            .arg(&["SETNAME", "tower-sse-reader"])
            .query_async::<()>(&mut connection)
            .await?;
        START.clone_into(&mut self.wake);
        self.begin().await?;
        loop {
            let changed = self.take_up();
            let mut read = Read::All;
            if changed {
                read = self.catch_up(&mut connection).await?;
            } else {
                let reply =
                    self.ask(&mut connection, self.command(Some(self.longest_wait()))).await?;
                read = self.take(reply, None, read);
            }
            // Until nothing is left that came in one order and was read in another.
            while let Read::More = read {
                read = self.catch_up(&mut connection).await?;
            }
            self.upstream.sweep();
        }
    }

    /// Compares the log with what was read of it, and forgets what is of another.
    async fn begin(&mut self) -> RedisResult<()> {
        let watermark = self.upstream.watermark();
        let known = self.epoch.map_or(Head::Look, |epoch| Head::AtLeast(epoch, watermark));
        let now = self.link.moment(known).await?;
        if self.epoch.is_some_and(|epoch| epoch != now.epoch) {
            self.upstream.set_watermark(0);
        }
        self.epoch = Some(now.epoch);
        for reading in self.topics.values_mut() {
            if reading.cell.reset(now.epoch) {
                START.clone_into(&mut reading.behind);
                reading.cell.wake();
            }
        }
        self.changes = None;
        Ok(())
    }

    /// Takes up topics that were loaded, and leaves those that were left.
    fn take_up(&mut self) -> bool {
        let changes = Some(self.upstream.changes());
        if std::mem::replace(&mut self.changes, changes) == changes {
            return false;
        }
        let mut known = std::mem::take(&mut self.topics);
        for cell in self.upstream.loaded() {
            let key = self.link.common.keys.topic(&cell.topic);
            let reading = known.remove(&key).filter(|it| Arc::ptr_eq(&it.cell, &cell));
            let reading = reading.unwrap_or_else(|| Reading {
                topic: cell.topic.clone(),
                behind: format!("{}-0", cell.last()),
                cell,
            });
            self.topics.insert(key, reading);
        }
        true
    }

    /// Reads all topics without waiting, and how far the log is: so all of them are read up to there.
    async fn catch_up(&mut self, connection: &mut MultiplexedConnection) -> RedisResult<Read> {
        let mut both = redis::pipe();
        both.atomic().get(&*self.link.common.keys.head).add_command(self.command(None));
        let asked = both.query_async::<(Option<u64>, Value)>(connection);
        let (head, reply) = timeout(ANSWER, asked).await.map_err(|_| too_late())??;
        let read = self.take(reply, head, Read::All);
        for reading in self.topics.values() {
            reading.cell.set_read();
            reading.cell.wake();
        }
        Ok(read)
    }

    async fn ask(
        &self,
        connection: &mut MultiplexedConnection,
        command: Cmd,
    ) -> RedisResult<Value> {
        let asked = command.query_async(connection);
        timeout(self.longest_wait() + ANSWER, asked).await.map_err(|_| too_late())?
    }

    /// What Redis keeps for a time must not be gone between two reads.
    fn longest_wait(&self) -> Duration {
        LONGEST_WAIT.min(self.link.common.keys.idle / 4).max(Duration::from_millis(1))
    }

    fn command(&self, wait: Option<Duration>) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(AT_ONCE);
        if let Some(wait) = wait {
            command.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
        command.arg("STREAMS").arg(&*self.link.common.keys.wake);
        let topics: Vec<_> = self.topics.iter().collect();
        for (key, _) in &topics {
            command.arg(key);
        }
        command.arg(&self.wake);
        for (_, reading) in &topics {
            command.arg(&reading.behind);
        }
        command
    }

    /// Puts what was read into the windows, and wakes who waits for it.
    fn take(&mut self, reply: Value, head: Option<u64>, mut read: Read) -> Read {
        // Nothing that was not read can have expired in so short a time.
        let had_all = !self.cut_short && self.heard.elapsed() < self.link.common.keys.idle / 2;
        self.heard = Instant::now();
        // How far the log is for sure, and how far what was cut short goes.
        let (mut newest, mut cut) = (head.unwrap_or_default(), u64::MAX);
        let mut touched = Vec::new();
        for (key, values) in reply::streams(reply) {
            let Some(reading) = self.topics.get_mut(&key) else {
                self.wake = last_id(&values).unwrap_or(START.to_owned());
                continue;
            };
            let mut found = reply::entries(values.into_iter(), &reading.topic);
            if had_all {
                let known = reading.cell.last();
                for entry in &mut found.events {
                    if found.first.contains(&entry.sequence) {
                        entry.before = entry.before.min(known);
                    }
                }
            }
            let end = found.events.last().map_or(0, |entry| entry.sequence);
            newest = newest.max(end);
            if found.count >= AT_ONCE {
                read = Read::More;
                cut = cut.min(end);
            }
            reading.cell.push(found.events);
            if let Some(id) = found.last {
                reading.behind = id;
            }
            touched.push(Arc::clone(&reading.cell));
        }
        let all = newest.min(cut);
        if all > self.upstream.watermark() {
            self.upstream.set_watermark(all);
        }
        for cell in touched {
            cell.wake();
        }
        self.cut_short = matches!(read, Read::More);
        read
    }
}

fn last_id(values: &[Value]) -> Option<String> {
    let Value::Array(entry) = values.last()? else { return None };
    let Value::BulkString(id) = entry.first()? else { return None };
    String::from_utf8(id.clone()).ok()
}

fn too_late() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

/// Before all that a stream has.
const START: &str = "0-0";

/// Events of one topic in one reply: it bounds the memory of a reply.
const AT_ONCE: usize = 512;

/// It asks again after so long, which is how a connection that is dead is noticed.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How much longer an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

const CONNECT: Duration = Duration::from_secs(2);
