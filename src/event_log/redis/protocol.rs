//! What Redis is sent, and what it answers: the keys of a log, the scripts that Redis runs, each
//! atomically, and how its replies are parsed into events.

use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult, Script, Value};

use crate::event_log::broker::{BrokerEvent, LoadedTopic, WindowLimits};
use crate::event_log::ids::random;
use crate::event_log::{Logged, Topic};
use crate::wire::EventId;

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
    lasts: Box<str>,
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
            lasts: key("last:"),
            events,
            idle,
        }
    }

    pub(super) fn topic(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.topics)
    }

    /// The key of the last sequence of a topic.
    pub(super) fn last(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.lasts)
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

/// What a request for the head does with it, if Redis takes writes.
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
    page: Script,
}

impl RedisScripts {
    pub(super) fn new() -> Self {
        Self {
            append: Script::new(include_str!("append.lua")),
            head: Script::new(include_str!("head.lua")),
            load: Script::new(concat!(include_str!("bounded.lua"), include_str!("load.lua"))),
            page: Script::new(concat!(include_str!("bounded.lua"), include_str!("page.lua"))),
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
        call.key(&*keys.epoch).key(keys.topic(topic)).key(keys.last(topic)).arg(event);
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

    /// The last events of a topic, up to these limits, and the clock of Redis.
    pub(super) async fn load(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        topic: &Topic,
        limits: WindowLimits,
    ) -> RedisResult<(LoadedTopic, u64)> {
        let mut call = self.load.key(&*keys.head);
        call.key(&*keys.epoch).key(keys.topic(topic)).key(keys.last(topic));
        call.arg(new_epoch()).arg(limits.events).arg(keys.idle_millis()).arg(limits.bytes);
        let (epoch, head, clock, floor, entries): (u64, u64, u64, u64, Vec<Value>) =
            call.invoke_async(connection).await?;
        let events = parse_entries(entries.into_iter().rev(), topic)?.events;
        Ok((LoadedTopic { epoch, head, floor, events }, clock))
    }

    /// The next events of a topic after a position, up to these limits, but at least one.
    pub(super) async fn page(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        topic: &Topic,
        position: u64,
        limits: WindowLimits,
    ) -> RedisResult<ParsedEntries> {
        let mut call = self.page.key(keys.topic(topic));
        call.arg(format!("{position}-1")).arg(limits.events).arg(limits.bytes);
        let entries: Vec<Value> = call.invoke_async(connection).await?;
        parse_entries(entries.into_iter(), topic)
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

/// Entries of one topic's stream.
#[derive(Debug, Default)]
pub(super) struct ParsedEntries {
    /// The events, in order.
    pub(super) events: Vec<BrokerEvent>,
    /// The sequences of the events whose predecessor is not known, as they were the first after the
    /// topic was idle.
    pub(super) unknown_before: Vec<u64>,
    /// The number of entries, with foreign ones, and the bytes of their fields.
    pub(super) count: usize,
    pub(super) bytes: usize,
    /// The id of the last entry, as Redis writes it.
    pub(super) last: Option<String>,
}

/// Parses entries of a topic's stream. Foreign entries, which are not events of a log, are left out
/// and do not count as missing.
///
/// # Errors
///
/// If this is not a list of entries. What is not understood must not be taken for nothing: events
/// would be lost without a word.
pub(super) fn parse_entries(
    values: impl Iterator<Item = Value>,
    topic: &Topic,
) -> RedisResult<ParsedEntries> {
    let mut parsed = ParsedEntries::default();
    // The sequence of the last foreign entry, and that of the event before it.
    let mut foreign: Option<(u64, u64)> = None;
    for value in values {
        parsed.count += 1;
        let (id, fields) = id_and_fields(value).ok_or_else(not_understood)?;
        match (parse_event(&id, &fields, topic), sequence(&id)) {
            (Some((mut event, known)), _) => {
                if let Some((sequence, before)) = foreign.take() {
                    if event.before == sequence {
                        event.before = before;
                    }
                }
                if !known {
                    parsed.unknown_before.push(event.sequence);
                }
                parsed.events.push(event);
            }
            (None, Some((sequence, _))) => {
                let last = parsed.events.last().map(|event| event.sequence);
                let before = foreign.map(|(_, before)| before).or(last);
                foreign = before.map(|before| (sequence, before));
            }
            (None, None) => {}
        }
        parsed.bytes += fields.iter().map(len).sum::<usize>();
        parsed.last = Some(id);
    }
    Ok(parsed)
}

/// Parses a read of several streams into each stream's key and its entries.
///
/// # Errors
///
/// If this is not such a reply.
pub(super) fn parse_streams(value: Value) -> RedisResult<Vec<(String, Vec<Value>)>> {
    // A map in RESP3, and an array of pairs in RESP2.
    let streams = match value {
        Value::Nil => return Ok(Vec::new()),
        Value::Map(streams) => streams,
        Value::Array(streams) => {
            let pair = |stream| {
                let [key, entries] = array(stream)?.try_into().ok()?;
                Some((key, entries))
            };
            streams.into_iter().map(pair).collect::<Option<_>>().ok_or_else(not_understood)?
        }
        _ => return Err(not_understood()),
    };
    let key_and_entries = |(key, entries)| Some((text(key)?, array(entries)?));
    streams.into_iter().map(key_and_entries).collect::<Option<_>>().ok_or_else(not_understood)
}

fn not_understood() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "a reply is not understood").into()
}

fn len(value: &Value) -> usize {
    if let Value::BulkString(bytes) = value { bytes.len() } else { 0 }
}

/// Parses an event, and returns whether its predecessor is known.
fn parse_event(id: &str, fields: &[Value], topic: &Topic) -> Option<(BrokerEvent, bool)> {
    let (sequence, 0) = sequence(id)? else {
        return None;
    };
    let field = |name: &[u8]| {
        let mut pairs = fields.chunks_exact(2);
        let pair = pairs.find(|pair| matches!(&pair[0], Value::BulkString(it) if it == name))?;
        if let Value::BulkString(value) = &pair[1] { Some(&**value) } else { None }
    };
    let number = |name| std::str::from_utf8(field(name)?).ok()?.parse::<u64>().ok();
    let (epoch, before) = (number(b"g")?, number(b"b")?);
    let id = EventId::with_epoch(epoch, sequence);
    let logged = Logged::from_encoded(topic.clone(), &id, field(b"e")?).ok()?;
    let event = BrokerEvent { epoch, sequence, before, logged };
    (before < sequence).then_some((event, field(b"k") == Some(b"1")))
}

fn id_and_fields(value: Value) -> Option<(String, Vec<Value>)> {
    let [id, fields] = array(value)?.try_into().ok()?;
    Some((text(id)?, array(fields)?))
}

fn sequence(id: &str) -> Option<(u64, u64)> {
    let (sequence, rest) = id.split_once('-')?;
    Some((sequence.parse().ok()?, rest.parse().ok()?))
}

fn array(value: Value) -> Option<Vec<Value>> {
    if let Value::Array(values) = value { Some(values) } else { None }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn stored(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![bulk(id), Value::Array(fields.iter().map(|it| bulk(it)).collect())])
    }

    fn event(id: &str, before: &str, known: &str) -> Value {
        stored(id, &["e", "data: x\n\n", "g", "7", "b", before, "k", known])
    }

    #[test]
    fn foreign_entries_are_left_out_and_are_no_gap() {
        let topic = Topic::new("t").unwrap();
        let parsed = parse_entries(
            [
                event("10-0", "9", "0"),
                stored("11-5", &["some", "thing"]),
                stored("12-0", &["e", "data: x\n\ndata: y\n\n", "g", "7", "b", "11", "k", "1"]),
                event("13-0", "12", "1"),
                event("14-0", "13", "1"),
                event("15-0", "15", "1"),
                stored("16-0", &["e", "data: x\n\n", "g", "-7", "b", "15", "k"]),
            ]
            .into_iter(),
            &topic,
        )
        .unwrap();
        let found: Vec<_> = parsed.events.iter().map(|it| (it.before, it.sequence)).collect();
        assert_eq!(found, [(9, 10), (10, 13), (13, 14)]);
        assert_eq!(parsed.unknown_before, [10]);
        assert_eq!((parsed.count, parsed.last.as_deref()), (7, Some("16-0")));
        assert_eq!(parsed.events[0].logged.bytes(), "data: x\nid: 7-10\n\n");
    }

    #[test]
    fn a_reply_that_is_not_understood_is_an_error_and_never_nothing() {
        let topic = Topic::new("t").unwrap();
        let id_alone = Value::Array(vec![bulk("1-0")]);
        for odd in [Value::Int(1), Value::Array(vec![Value::Nil]), bulk("x"), id_alone] {
            assert!(parse_streams(odd.clone()).is_err(), "{odd:?}");
            assert!(parse_entries([odd].into_iter(), &topic).is_err());
        }
        assert!(parse_streams(Value::Nil).unwrap().is_empty());
    }

    #[test]
    fn both_protocols_have_the_same_streams() {
        let entries = || Value::Array(vec![event("10-0", "9", "0")]);
        let two = parse_streams(Value::Array(vec![Value::Array(vec![bulk("k"), entries()])]));
        let three = parse_streams(Value::Map(vec![(bulk("k"), entries())]));
        assert_eq!(two.unwrap(), three.unwrap());
    }
}
