//! The scripts that Redis runs, each atomically, and the keys that they are given.

use std::time::Duration;

use redis::{RedisResult, Script, Value};

use super::reply;
use crate::event_log::Topic;
use crate::event_log::broker::LoadedTopic;
use crate::event_log::ids::random;

/// The keys of a log in Redis, and how much they keep. All keys have one hash tag, so that a
/// cluster keeps them together.
#[derive(Clone, Debug)]
pub(super) struct RedisKeys {
    /// The last sequence.
    pub(super) head: Box<str>,
    epoch: Box<str>,
    /// A stream of this process's own, which wakes its poller.
    pub(super) wake: Box<str>,
    topics: Box<str>,
    /// How many events of a topic are kept.
    events: usize,
    /// How long a topic is kept after its last event.
    pub(super) idle: Duration,
}

impl RedisKeys {
    pub(super) fn new(prefix: &str, events: usize, idle: Duration) -> Self {
        let key = |rest: &str| format!("{{{prefix}}}:{rest}").into();
        Self {
            head: key("head"),
            epoch: key("epoch"),
            wake: key(&format!("wake:{}", random())),
            topics: key("topic:"),
            events,
            idle,
        }
    }

    pub(super) fn topic(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.topics)
    }

    fn idle_millis(&self) -> u64 {
        u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The head of a log at one moment, and the clock of Redis.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogHead {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// The clock of Redis, in microseconds.
    pub(super) clock: u64,
}

/// What a request for the head does with it.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeadRequest {
    Read,
    /// Takes a sequence that no event will have.
    Reserve,
    /// Raises the sequence to at least this one, if the epoch is this one.
    AtLeast(u64, u64),
}

/// The scripts. Redis knows them by their hashes; they are sent again if it forgot them.
#[derive(Debug)]
pub(super) struct RedisScripts {
    append: Script,
    head: Script,
    load: Script,
}

impl RedisScripts {
    pub(super) fn new() -> Self {
        Self {
            append: Script::new(include_str!("append.lua")),
            head: Script::new(include_str!("head.lua")),
            load: Script::new(include_str!("load.lua")),
        }
    }

    pub(super) async fn append(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        topic: &Topic,
        event: &[u8],
    ) -> RedisResult<LogHead> {
        let mut call = self.append.key(&*keys.head);
        call.key(&*keys.epoch).key(keys.topic(topic)).arg(event);
        call.arg(new_epoch()).arg(keys.events).arg(keys.idle_millis());
        Ok(log_head(call.invoke_async(connection).await?))
    }

    pub(super) async fn head(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        request: HeadRequest,
    ) -> RedisResult<LogHead> {
        let (epoch, least) = match request {
            HeadRequest::AtLeast(epoch, least) => (epoch.to_string(), least),
            HeadRequest::Read | HeadRequest::Reserve => (String::new(), 0),
        };
        let reserve = u8::from(matches!(request, HeadRequest::Reserve));
        let mut call = self.head.key(&*keys.head);
        call.key(&*keys.epoch).arg(new_epoch()).arg(epoch).arg(least).arg(reserve);
        Ok(log_head(call.invoke_async(connection).await?))
    }

    /// The last events of a topic, at most `events` of them, and the clock of Redis.
    pub(super) async fn load(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        topic: &Topic,
        events: usize,
    ) -> RedisResult<(LoadedTopic, u64)> {
        let mut call = self.load.key(&*keys.head);
        call.key(&*keys.epoch).key(keys.topic(topic));
        call.arg(new_epoch()).arg(events).arg(keys.idle_millis());
        let (epoch, head, clock, floor, entries): (u64, u64, u64, u64, Vec<Value>) =
            call.invoke_async(connection).await?;
        let events = reply::parse_entries(entries.into_iter().rev(), topic).events;
        Ok((LoadedTopic { epoch, head, floor, events }, clock))
    }
}

/// An epoch for a log that has none, so that a Redis that lost everything is another log. Scripts
/// cannot make one, since their random numbers are not random.
fn new_epoch() -> u64 {
    random()
}

fn log_head((epoch, sequence, clock): (u64, u64, u64)) -> LogHead {
    LogHead { epoch, sequence, clock }
}
