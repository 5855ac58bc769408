//! The feed: the one stream in which each append names its topic, and its entries as Redis returns
//! them.
//!
//! A process that follows a hundred thousand topics reads the feed and nothing else. Each entry
//! names the entry before it, so a process knows whether it has read all of them.

use redis::{RedisResult, Value};

use super::protocol::{ParsedEntries, array, field, id_and_fields, not_understood, sequence};
use crate::event_log::broker::{Announcement, BrokerEvent};
use crate::event_log::{Logged, Topic};
use crate::wire::EventId;

/// An event that the feed names.
#[derive(Debug)]
pub(super) struct FeedEntry {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    /// The sequence of the entry before.
    pub(super) previous: u64,
    pub(super) topic: String,
    /// The sequence before this one in its topic; if it is not known, one that is not smaller.
    before: u64,
    predecessor: Predecessor,
    /// The event, if it is short.
    event: Option<Vec<u8>>,
}

/// Whether the log knows the sequence before an event in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Predecessor {
    Known,
    /// The topic had no event for so long that it expired.
    Expired,
    /// The server forgot events, and it may have been one of them.
    Lost,
}

/// Entries of the feed.
#[derive(Debug, Default)]
pub(super) struct FeedPage {
    pub(super) entries: Vec<FeedEntry>,
    /// The id of the last entry, as Redis writes it.
    pub(super) last_id: Option<String>,
}

impl FeedPage {
    /// Parses a read of the feed. Foreign entries are left out.
    ///
    /// # Errors
    ///
    /// If this is not such a reply. What is not understood must not be taken for nothing: events
    /// would be lost without a word.
    pub(super) fn parse(reply: Value) -> RedisResult<Self> {
        let entries = match reply {
            Value::Nil => return Ok(Self::default()),
            // A map in RESP3, and an array of pairs in RESP2.
            Value::Map(streams) => streams.into_iter().next().map(|(_, entries)| entries),
            Value::Array(streams) => streams.into_iter().next().and_then(|stream| {
                let [_, entries] = array(stream)?.try_into().ok()?;
                Some(entries)
            }),
            _ => None,
        };
        Self::of_entries(entries.and_then(array).ok_or_else(not_understood)?)
    }

    /// Parses entries of the feed, as [`parse`](Self::parse) does.
    pub(super) fn of_entries(entries: Vec<Value>) -> RedisResult<Self> {
        let mut page = Self::default();
        for entry in entries {
            let (id, fields) = id_and_fields(entry).ok_or_else(not_understood)?;
            page.entries.extend(FeedEntry::parse(&id, &fields));
            page.last_id = Some(id);
        }
        Ok(page)
    }

    /// The events, as those of all topics. One that is in its topic no more is left out, so it is
    /// missing before the next one.
    pub(super) fn into_events(self) -> ParsedEntries {
        let event = |entry: &FeedEntry| entry.announce(&Topic::ALL, 0)?.event;
        ParsedEntries {
            events: self.entries.iter().filter_map(event).collect(),
            last: self.last_id,
        }
    }
}

impl FeedEntry {
    fn parse(id: &str, fields: &[Value]) -> Option<Self> {
        let (sequence, 0) = sequence(id)? else {
            return None;
        };
        let mut numbers = std::str::from_utf8(field(fields, b"n")?).ok()?.split(' ');
        let mut number = || numbers.next()?.parse::<u64>().ok();
        let (epoch, previous, before) = (number()?, number()?, number()?);
        let predecessor = match numbers.next()? {
            "known" => Predecessor::Known,
            "expired" => Predecessor::Expired,
            _ => Predecessor::Lost,
        };
        let topic = String::from_utf8(field(fields, b"t")?.to_vec()).ok()?;
        let event = field(fields, b"e").map(<[u8]>::to_vec);
        let entry = Self { epoch, sequence, previous, topic, before, predecessor, event };
        (previous < sequence && before < sequence).then_some(entry)
    }

    /// What a process tells the topic, or the window of all topics, that has read the feed without
    /// a break up to `position`; `None` if the event is a foreign one.
    pub(super) fn announce(&self, to: &Topic, position: u64) -> Option<Announcement> {
        let &Self { epoch, sequence, .. } = self;
        let is_lost = self.predecessor == Predecessor::Lost;
        let before = match to.is_all() {
            // The first entry after what was lost is that of some topic.
            true if is_lost => self.previous.max(self.before),
            true => self.previous,
            false => self.before,
        };
        let follows_expired = !to.is_all() && self.predecessor == Predecessor::Expired;
        let event = match &self.event {
            None => None,
            Some(event) => {
                let id = EventId::with_epoch(epoch, sequence);
                let topic = if to.is_all() { Topic::new(&self.topic).ok()? } else { to.clone() };
                let logged = Logged::from_encoded(topic, &id, event).ok()?;
                Some(BrokerEvent { epoch, sequence, before, follows_expired, logged })
            }
        };
        // A process that has read up to there has read what the server forgot.
        let continues = if is_lost { position >= before } else { follows_expired };
        Some(Announcement { epoch, sequence, before, continues, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::redis::protocol::tests::{bulk, stored};

    fn entry(id: &str, numbers: &str) -> Value {
        stored(id, &["t", "a.b", "n", numbers, "e", "data: x\n\n"])
    }

    fn streams(entries: Vec<Value>) -> [Value; 2] {
        let two = Value::Array(vec![bulk("k"), Value::Array(entries.clone())]);
        [Value::Array(vec![two]), Value::Map(vec![(bulk("k"), Value::Array(entries))])]
    }

    #[test]
    fn both_protocols_have_the_same_feed() {
        for reply in streams(vec![entry("10-0", "7 8 9 known"), entry("12-0", "7 10 11 expired")]) {
            let page = FeedPage::parse(reply).unwrap();
            let read: Vec<_> = page.entries.iter().map(|it| (it.previous, it.sequence)).collect();
            assert_eq!((read, page.last_id.as_deref()), (vec![(8, 10), (10, 12)], Some("12-0")));
            assert_eq!((page.entries[0].epoch, &*page.entries[0].topic), (7, "a.b"));
        }
    }

    #[test]
    fn a_reply_that_is_not_understood_is_an_error_and_never_nothing() {
        let id_alone = streams(vec![Value::Array(vec![bulk("1-0")])]);
        let odd =
            [Value::Int(1), Value::Array(vec![Value::Nil]), Value::Array(Vec::new()), bulk("x")];
        for odd in odd.into_iter().chain(id_alone) {
            assert!(FeedPage::parse(odd.clone()).is_err(), "{odd:?}");
        }
        assert!(FeedPage::parse(Value::Nil).unwrap().entries.is_empty());
    }

    #[test]
    fn foreign_entries_are_passed_over() {
        let foreign = ["7 8 10 known", "7 10 9 known", "7 8", "-7 8 9 known", ""];
        let mut entries: Vec<_> = foreign.iter().map(|numbers| entry("10-0", numbers)).collect();
        entries.push(stored("11-0", &["some", "thing"]));
        entries.push(entry("12-1", "7 8 9 known"));
        let [reply, _] = streams(entries);
        let page = FeedPage::parse(reply).unwrap();
        assert!(page.entries.is_empty(), "{page:?}");
        assert_eq!(page.last_id.as_deref(), Some("12-1"));
    }
}
