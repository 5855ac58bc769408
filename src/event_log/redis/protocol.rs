//! What Redis is sent, and what it answers: the keys of a log, the scripts that Redis runs, each
//! atomically, and how its replies are parsed into events.

use std::time::Duration;

use redis::{ErrorKind, RedisError, RedisResult, Script, ScriptInvocation, Value};

use super::feed::FeedPage;
use crate::event_log::broker::{BrokerEvent, LoadedTopic, LogHead, WindowLimits};
use crate::event_log::ids::{parse_id, random};
use crate::event_log::{Appended, Logged, MessageId, Topic};
use crate::wire::EventId;

/// The keys of a log in Redis, and how much they keep. All keys have one hash tag, so that a
/// cluster keeps them together, and a script can use them.
#[derive(Clone, Debug)]
pub(super) struct RedisKeys {
    /// The sequence of the last event.
    head: Box<str>,
    /// A sequence after which the next one is.
    least: Box<str>,
    epoch: Box<str>,
    /// Up to this sequence there were events that the server forgot.
    lost: Box<str>,
    pub(super) feed: Box<str>,
    pub(super) topics: Box<str>,
    lasts: Box<str>,
    messages: Box<str>,
    pub(super) limits: LogLimits,
}

/// How much Redis keeps of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    /// How many events of a topic.
    pub(super) events: usize,
    /// How many events the feed names.
    pub(super) feed_events: usize,
    /// How long a topic is kept after its last event.
    pub(super) idle: Duration,
    /// For how long a message id is taken.
    pub(super) duplicate_window: Duration,
}

impl RedisKeys {
    pub(super) fn new(prefix: &str, limits: LogLimits) -> Self {
        let key = |rest: &str| format!("{{{prefix}}}:{rest}").into();
        Self {
            head: key("head"),
            least: key("least"),
            epoch: key("epoch"),
            lost: key("lost"),
            feed: key("feed"),
            topics: key("topic:"),
            lasts: key("last:"),
            messages: key("message:"),
            limits,
        }
    }

    pub(super) fn topic(&self, topic: &Topic) -> String {
        format!("{}{topic}", self.topics)
    }

    /// The key of the last sequence of a topic, or of all topics.
    pub(super) fn last(&self, topic: &Topic) -> String {
        match topic.is_all() {
            true => self.head.to_string(),
            false => format!("{}{topic}", self.lasts),
        }
    }

    /// The key of a message of a topic. Neither has a space.
    fn message(&self, topic: &Topic, message: &MessageId) -> String {
        format!("{}{topic} {message}", self.messages)
    }

    fn idle_millis(&self) -> u64 {
        millis(self.limits.idle)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The head as the scripts return it.
type Head = (u64, u64, u64, u64);

fn head_of((epoch, last_event, sequence, clock): Head) -> LogHead {
    LogHead { epoch, last_event, sequence, clock }
}

/// What a request for the head does with it, if Redis takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadRequest {
    Read,
    /// Takes a sequence that no event will have.
    Reserve,
    /// The same, and notes that events before it were lost, of whatever topic.
    Lose,
}

/// An event that is to be appended.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventToAppend<'a> {
    pub(super) topic: &'a Topic,
    /// The event without an id.
    pub(super) bytes: &'a [u8],
    /// The message that is to be taken once, if it is one.
    pub(super) message: Option<&'a MessageId>,
}

/// The scripts. Redis knows them by their hashes; they are sent again if it forgot them.
#[derive(Debug)]
pub(super) struct RedisScripts {
    append: Script,
    head: Script,
    load: Script,
    page: Script,
    page_all: Script,
    pub(super) last: Script,
}

impl RedisScripts {
    pub(super) fn new() -> Self {
        let reading = |script| Script::new(&[include_str!("bounded.lua"), script].concat());
        Self {
            append: Script::new(include_str!("append.lua")),
            head: Script::new(include_str!("head.lua")),
            load: reading(include_str!("load.lua")),
            page: reading(include_str!("page.lua")),
            page_all: reading(include_str!("page_all.lua")),
            last: reading(include_str!("last.lua")),
        }
    }

    /// Begins a call with the keys of the log and its new epoch, if it has none.
    fn begin<'a>(script: &'a Script, keys: &RedisKeys) -> ScriptInvocation<'a> {
        let mut call = script.key(&*keys.head);
        call.key(&*keys.least).key(&*keys.epoch).key(&*keys.lost).arg(new_epoch());
        call
    }

    /// Appends an event, unless its message was taken.
    pub(super) async fn append(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        event: &EventToAppend<'_>,
    ) -> RedisResult<(Appended, LogHead)> {
        let EventToAppend { topic, bytes, message } = *event;
        let mut call = Self::begin(&self.append, keys);
        call.key(keys.last(topic)).key(keys.topic(topic)).key(&*keys.feed);
        call.arg(bytes).arg(keys.limits.events).arg(keys.idle_millis()).arg(topic.as_str());
        call.arg(keys.limits.feed_events).arg(MAX_FEED_EVENT);
        if let Some(message) = message {
            call.key(keys.message(topic, message)).arg(millis(keys.limits.duplicate_window));
        }
        let (epoch, last_event, sequence, clock, taken): (_, _, _, _, Option<String>) =
            call.invoke_async(connection).await?;
        let head = head_of((epoch, last_event, sequence, clock));
        let appended = match taken {
            None => Appended::new(EventId::with_epoch(epoch, sequence)),
            Some(id) => {
                let (epoch, sequence) = parse_id(&id).ok_or_else(not_understood)?;
                Appended::repeat(EventId::with_epoch(epoch, sequence))
            }
        };
        Ok((appended, head))
    }

    /// The head, after Redis is told what this process knows of it. So a server that lacks some
    /// events, as it was set back to an earlier copy, gives out no sequence again, and knows that
    /// there may have been events before the next one of each topic.
    pub(super) async fn head(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        known: LogHead,
        request: HeadRequest,
    ) -> RedisResult<LogHead> {
        let mut call = Self::begin(&self.head, keys);
        call.key(&*keys.feed).arg(known.epoch).arg(known.last_event).arg(known.sequence);
        call.arg(match request {
            HeadRequest::Read => 0,
            HeadRequest::Reserve => 1,
            HeadRequest::Lose => 2,
        });
        Ok(head_of(call.invoke_async(connection).await?))
    }

    /// The last events of a topic, up to these limits, and the head at the same moment.
    pub(super) async fn load(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        topic: &Topic,
        limits: WindowLimits,
    ) -> RedisResult<(LoadedTopic, LogHead)> {
        let mut call = Self::begin(&self.load, keys);
        call.key(keys.last(topic)).key(keys.topic(topic));
        call.arg(limits.events).arg(keys.idle_millis()).arg(limits.bytes);
        let (head, floor, entries): (Head, u64, Vec<Value>) = match call
            .invoke_async(connection)
            .await
        {
            Err(error) if is_forbidden(&error) => {
                // It is as if all events so far were lost.
                let known = LogHead { epoch: 0, last_event: 0, sequence: 0, clock: 0 };
                let head = self.head(connection, keys, known, HeadRequest::Read).await?;
                let LogHead { epoch, sequence: floor, .. } = head;
                let events = Vec::new();
                return Ok((LoadedTopic { epoch, head: floor, floor, events, whole: true }, head));
            }
            loaded => loaded?,
        };
        let head = head_of(head);
        // Redis stops at a limit, or when there are no more.
        let bytes: usize = entries.iter().map(size_of_fields).sum();
        let whole = entries.len() < limits.events && bytes < limits.bytes;
        let events = parse_entries(entries.into_iter().rev(), topic)?.events;
        Ok((LoadedTopic { epoch: head.epoch, head: head.sequence, floor, events, whole }, head))
    }

    /// The next events of a topic, or of all topics, after a position, up to these limits, but at
    /// least one.
    pub(super) async fn page(
        &self,
        connection: &mut (impl redis::aio::ConnectionLike + Send),
        keys: &RedisKeys,
        topic: &Topic,
        position: u64,
        limits: WindowLimits,
    ) -> RedisResult<ParsedEntries> {
        let mut call = match topic.is_all() {
            true => self.page_all.key(&*keys.feed),
            false => self.page.key(keys.topic(topic)),
        };
        call.arg(format!("{position}-1")).arg(limits.events).arg(limits.bytes).arg(&*keys.topics);
        let entries: Vec<Value> = match call.invoke_async(connection).await {
            Err(error) if is_forbidden(&error) && !topic.is_all() => Vec::new(),
            entries => entries?,
        };
        match topic.is_all() {
            true => FeedPage::of_entries(entries).map(FeedPage::into_events),
            false => parse_entries(entries.into_iter(), topic),
        }
    }
}

/// An event with no more bytes is in the feed itself. Each node reads it there, also nodes that do
/// not follow its topic; a node that does saves a request, which has about as many bytes.
const MAX_FEED_EVENT: usize = 512;

/// An epoch for a log that has none, so that a Redis that lost everything is another log. Scripts
/// cannot make one, since their random numbers are not random.
fn new_epoch() -> u64 {
    random()
}

/// Entries of one topic's stream.
#[derive(Debug, Default)]
pub(super) struct ParsedEntries {
    /// The events, in order.
    pub(super) events: Vec<BrokerEvent>,
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
        let (id, fields) = id_and_fields(value).ok_or_else(not_understood)?;
        match (parse_event(&id, &fields, topic), sequence(&id)) {
            (Some(mut event), _) => {
                if let Some((sequence, before)) = foreign.take() {
                    if event.before == sequence {
                        event.before = before;
                    }
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
        parsed.last = Some(id);
    }
    Ok(parsed)
}

/// The bytes of an entry as `bounded.lua` counts them.
fn size_of_fields(entry: &Value) -> usize {
    let size = |value: &Value| if let Value::BulkString(bytes) = value { bytes.len() } else { 0 };
    match entry {
        Value::Array(parts) => match &parts[..] {
            [_, Value::Array(fields)] => fields.iter().map(size).sum(),
            _ => 0,
        },
        _ => 0,
    }
}

/// Whether the user lacks the right to a key. It would lack it again however often a node asks.
pub(super) fn is_forbidden(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

pub(super) fn not_understood() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "a reply is not understood").into()
}

fn parse_event(id: &str, fields: &[Value], topic: &Topic) -> Option<BrokerEvent> {
    let (sequence, 0) = sequence(id)? else {
        return None;
    };
    let number = |name| std::str::from_utf8(field(fields, name)?).ok()?.parse::<u64>().ok();
    let (epoch, before) = (number(b"g")?, number(b"b")?);
    let id = EventId::with_epoch(epoch, sequence);
    let logged = Logged::from_encoded(topic.clone(), &id, field(fields, b"e")?).ok()?;
    let follows_expired = field(fields, b"k") == Some(b"expired");
    let event = BrokerEvent { epoch, sequence, before, follows_expired, logged };
    (before < sequence).then_some(event)
}

/// The field of an entry with this name.
pub(super) fn field<'a>(fields: &'a [Value], name: &[u8]) -> Option<&'a [u8]> {
    let mut pairs = fields.chunks_exact(2);
    let pair = pairs.find(|pair| matches!(&pair[0], Value::BulkString(it) if it == name))?;
    if let Value::BulkString(value) = &pair[1] { Some(value) } else { None }
}

pub(super) fn id_and_fields(value: Value) -> Option<(String, Vec<Value>)> {
    let [id, fields] = array(value)?.try_into().ok()?;
    Some((text(id)?, array(fields)?))
}

pub(super) fn sequence(id: &str) -> Option<(u64, u64)> {
    let (sequence, rest) = id.split_once('-')?;
    Some((sequence.parse().ok()?, rest.parse().ok()?))
}

pub(super) fn array(value: Value) -> Option<Vec<Value>> {
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
pub(super) mod tests {
    use super::*;

    pub(in crate::event_log::redis) fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    pub(in crate::event_log::redis) fn stored(id: &str, fields: &[&str]) -> Value {
        Value::Array(vec![bulk(id), Value::Array(fields.iter().map(|it| bulk(it)).collect())])
    }

    fn event(id: &str, before: &str) -> Value {
        stored(id, &["e", "data: x\n\n", "g", "7", "b", before])
    }

    #[test]
    fn foreign_entries_are_left_out_and_are_no_gap() {
        let topic = Topic::new("t").unwrap();
        let parsed = parse_entries(
            [
                event("10-0", "9"),
                stored("11-5", &["some", "thing"]),
                stored("12-0", &["e", "data: x\n\ndata: y\n\n", "g", "7", "b", "11"]),
                event("13-0", "12"),
                event("14-0", "13"),
                event("15-0", "15"),
                stored("16-0", &["e", "data: x\n\n", "g", "-7", "b"]),
            ]
            .into_iter(),
            &topic,
        )
        .unwrap();
        let found: Vec<_> = parsed.events.iter().map(|it| (it.before, it.sequence)).collect();
        assert_eq!(found, [(9, 10), (10, 13), (13, 14)]);
        assert_eq!(parsed.last.as_deref(), Some("16-0"));
        assert_eq!(parsed.events[0].logged.bytes(), "data: x\nid: 7-10\n\n");
    }

    #[test]
    fn a_reply_that_is_not_understood_is_an_error_and_never_nothing() {
        let topic = Topic::new("t").unwrap();
        let id_alone = Value::Array(vec![bulk("1-0")]);
        for odd in [Value::Int(1), Value::Array(vec![Value::Nil]), bulk("x"), id_alone] {
            assert!(parse_entries([odd.clone()].into_iter(), &topic).is_err(), "{odd:?}");
        }
    }
}
