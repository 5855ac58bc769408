//! Events out of the replies of Redis.

use redis::Value;

use crate::event_log::broker::Entry;
use crate::event_log::{Logged, Topic};
use crate::wire::EventId;

/// Events of one topic, in order.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) events: Vec<Entry>,
    /// Of which of them it is not known what was before, as they were the first behind an idle time.
    pub(super) first: Vec<u64>,
    /// How many there were in all, with those that are of somebody else.
    pub(super) count: usize,
    /// The id of the last one, as Redis has it.
    pub(super) last: Option<String>,
}

/// Reads entries of a stream. What is no event of a log is left out, and nothing is missing for it.
pub(super) fn entries(values: impl Iterator<Item = Value>, topic: &Topic) -> Entries {
    let mut read = Entries::default();
    // What was left out, and what was before that.
    let mut left_out: Option<(u64, u64)> = None;
    for value in values {
        read.count += 1;
        let Some((id, fields)) = id_and_fields(value) else {
            continue;
        };
        let parsed = entry(&id, &fields, topic);
        match (parsed, sequence(&id)) {
            (Some((mut entry, known)), _) => {
                if let Some((sequence, before)) = left_out.take() {
                    if entry.before == sequence {
                        entry.before = before;
                    }
                }
                if !known {
                    read.first.push(entry.sequence);
                }
                read.events.push(entry);
            }
            (None, Some((sequence, _))) => {
                let last = read.events.last().map(|entry| entry.sequence);
                let before = left_out.map(|(_, before)| before).or(last);
                left_out = before.map(|before| (sequence, before));
            }
            (None, None) => {}
        }
        read.last = Some(id);
    }
    read
}

/// The replies of a read of several streams: each stream's key and its entries.
pub(super) fn streams(value: Value) -> Vec<(String, Vec<Value>)> {
    let key_and_entries = |stream| {
        let [key, entries] = array(stream)?.try_into().ok()?;
        Some((text(key)?, array(entries)?))
    };
    array(value).unwrap_or_default().into_iter().filter_map(key_and_entries).collect()
}

/// An entry, and whether it is known what was before it.
fn entry(id: &str, fields: &[Value], topic: &Topic) -> Option<(Entry, bool)> {
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
    let entry = Entry { epoch, sequence, before, logged };
    (before < sequence).then_some((entry, field(b"k") == Some(b"1")))
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
    fn what_somebody_else_wrote_is_left_out_and_is_no_gap() {
        let topic = Topic::new("t").unwrap();
        let read = entries(
            [
                event("10-0", "9", "0"),
                stored("11-5", &["some", "thing"]),
                stored("12-0", &["e", "data: x\n\ndata: y\n\n", "g", "7", "b", "11", "k", "1"]),
                Value::Nil,
                event("13-0", "12", "1"),
                event("14-0", "13", "1"),
                event("15-0", "15", "1"),
                stored("16-0", &["e", "data: x\n\n", "g", "-7", "b", "15", "k"]),
            ]
            .into_iter(),
            &topic,
        );
        let found: Vec<_> = read.events.iter().map(|it| (it.before, it.sequence)).collect();
        assert_eq!(found, [(9, 10), (10, 13), (13, 14)]);
        assert_eq!(read.first, [10]);
        assert_eq!((read.count, read.last.as_deref()), (8, Some("16-0")));
        assert_eq!(read.events[0].logged.bytes(), "data: x\nid: 7-10\n\n");
    }

    #[test]
    fn replies_that_are_none_give_nothing() {
        let topic = Topic::new("t").unwrap();
        for odd in [Value::Nil, Value::Int(1), Value::Array(vec![Value::Nil]), bulk("x")] {
            assert!(streams(odd.clone()).is_empty(), "{odd:?}");
            assert!(entries([odd].into_iter(), &topic).events.is_empty());
        }
    }
}
