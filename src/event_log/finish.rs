//! The event that finishes a topic, and the id by which a client is recognised that was sent it.
//!
//! The end of a topic is an event in the log like any other. So each node and each log has it in
//! its place, and it survives what the log survives.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;

use super::Topics;
use crate::wire::{CloseReason, Event, EventId, end_with_id};

/// The event that finishes a topic.
///
/// The comment tells it from a close event that an application publishes. Clients do not get it.
pub(crate) fn finish_event() -> Event {
    CloseReason::Finished.event("close").retry(FINISHED_RETRY).comment("finished")
}

/// The id of the event that `bytes` begin with, if that event finishes its topic.
pub(crate) fn finish_id(bytes: &[u8]) -> Option<&str> {
    let rest = bytes.strip_prefix(FINISH)?;
    let end = memchr::memchr(b'\n', rest)?;
    std::str::from_utf8(&rest[..end]).ok()
}

/// The close event that tells a client that all of its topics are finished.
pub(crate) fn close_event(id: &str, topics: TopicsHash) -> Bytes {
    let mut mark = String::with_capacity(MARK_LEN);
    let _ = write!(mark, "{TOLD}{:08x}", topics.0);
    let close = &FINISH[COMMENT_LEN..FINISH.len() - "id: ".len()];
    let mut bytes = Vec::with_capacity(FINISH.len() + id.len() + MARK_LEN + "\n\n".len());
    bytes.extend_from_slice(close);
    end_with_id(&mut bytes, &[id, &mark]);
    bytes.into()
}

/// The encoded event, up to its id.
const FINISH: &[u8] =
    b": finished\nevent: close\nretry: 86400000\ndata: {\"reason\":\"finished\"}\nid: ";
const COMMENT_LEN: usize = ": finished\n".len();

/// Longer than a page is open, and less than the 24 days that timers of JavaScript hold.
const FINISHED_RETRY: Duration = Duration::from_secs(24 * 60 * 60);

/// Stands for a set of topics in the id of its close event, since the next request of a client may
/// be for other topics. It is the same on each node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicsHash(u32);

impl TopicsHash {
    /// Does not depend on the order of the names.
    pub(crate) fn of(topics: &Topics) -> Self {
        // FNV-1a. A client that finds a collision gets its own stream ended.
        let hash = |name: &str| {
            name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            })
        };
        let names = topics.names().map(|topic| hash(topic.as_str()));
        Self(names.fold(0, u32::wrapping_add))
    }
}

/// What the id of a client says about the end of its topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told<'a> {
    /// Nothing: it is the id of an event.
    Nothing,
    /// The client was told of the end of other topics than those that it asks for, after the event
    /// with this id.
    OfOthers(&'a str),
    /// The client was told, and stops when it gets a 204.
    Finished,
    /// The client was told after the event with this id, and does not stop when it gets a 204.
    Again(&'a str),
}

/// Reads the id of a client that asks for these topics.
pub(crate) fn told<'a>(id: &'a EventId, topics: &Topics) -> Told<'a> {
    match split(id.as_str()) {
        None => Told::Nothing,
        // A set with patterns does not end.
        Some((id, ..)) if topics.has_patterns() => Told::OfOthers(id),
        Some((id, _, hash)) if TopicsHash(hash) != TopicsHash::of(topics) => Told::OfOthers(id),
        Some((id, AGAIN, _)) => Told::Again(id),
        Some(_) => Told::Finished,
    }
}

/// The length of the id without what it says about an end.
pub(super) fn len_without_mark(id: &str) -> usize {
    split(id).map_or(id, |(id, ..)| id).len()
}

/// The same id for a client that takes a 204 for a stream that broke.
pub(super) fn to_be_told_again(id: EventId) -> EventId {
    let again = match split(id.as_str()) {
        Some((id, TOLD, hash)) => EventId::new(format!("{id}{AGAIN}{hash:08x}")).ok(),
        _ => None,
    };
    again.unwrap_or(id)
}

fn split(id: &str) -> Option<(&str, &str, u32)> {
    let (id, mark) = id.split_at_checked(id.len().checked_sub(MARK_LEN)?)?;
    let (word, hash) = mark.split_at_checked(TOLD.len())?;
    let canonical = hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let hash = u32::from_str_radix(hash, 16).ok().filter(|_| canonical)?;
    matches!(word, TOLD | AGAIN).then_some((id, word, hash))
}

/// What follows the id of the log in the id of a close event, before the topics.
const TOLD: &str = ".f";

/// The same in the id of a request whose client is to be told again.
const AGAIN: &str = ".a";

const MARK_LEN: usize = TOLD.len() + 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{Logged, Topic};

    fn id(text: &str) -> EventId {
        EventId::new(text).unwrap()
    }

    fn logged(event: Event) -> Logged {
        Logged::new(Topic::from_static("t"), &id("7-1"), event).unwrap()
    }

    #[test]
    fn an_end_is_known_by_its_bytes_and_no_event_of_an_application_is_one() {
        assert_eq!(finish_id(logged(finish_event()).bytes()), Some("7-1"));
        assert!(logged(finish_event()).finishes_topic());
        for other in [
            CloseReason::Finished.event("close"),
            CloseReason::Finished.event("close").comment("finished"),
            finish_event().comment("x"),
            finish_event().data("{\"reason\":\"finished\"}\nmore"),
            Event::new().data("finished"),
        ] {
            let logged = logged(other);
            assert!(!logged.finishes_topic(), "{:?}", logged.bytes());
        }
    }

    #[test]
    fn a_client_is_sent_the_event_without_the_comment_and_with_the_topics_in_its_id() {
        let topics = Topics::from_static(&["t"]);
        let sent = close_event("7-1", TopicsHash::of(&topics));
        let text = std::str::from_utf8(&sent).unwrap();
        let start = "event: close\nretry: 86400000\ndata: {\"reason\":\"finished\"}\nid: 7-1.f";
        let hash = text.strip_prefix(start).unwrap().strip_suffix("\n\n").unwrap();
        let place = id(&format!("7-1.f{hash}"));
        assert_eq!(told(&place, &topics), Told::Finished);
        assert_eq!(told(&to_be_told_again(place.clone()), &topics), Told::Again("7-1"));
        assert_eq!(told(&place, &Topics::from_static(&["u"])), Told::OfOthers("7-1"));
        assert_eq!(len_without_mark(place.as_str()), "7-1".len());
    }

    #[test]
    fn a_set_of_topics_is_the_same_in_any_order() {
        let hash = |topics: &[&'static str]| TopicsHash::of(&Topics::from_static(topics));
        assert_eq!(hash(&["a", "b"]), hash(&["b", "a"]));
        assert_ne!(hash(&["a", "b"]), hash(&["a"]));
        assert_ne!(hash(&["a.b"]), hash(&["b.a"]));
        // The same on each node, and in each version.
        assert_eq!(hash(&["orders.42"]), TopicsHash(0x693a_56ac));
    }

    #[test]
    fn no_other_id_says_that_its_client_was_told() {
        for text in [
            "",
            "7-1",
            "7-1.f",
            "7-1.f0000000",
            "7-1.f0000000G",
            "7-1.fABCDEF01",
            "7-1.x00000000",
            "7-1.f+0000000",
            "\u{e9}000000000",
        ] {
            assert_eq!(told(&id(text), &Topics::from_static(&["t"])), Told::Nothing, "{text}");
            assert_eq!(to_be_told_again(id(text)), id(text));
        }
    }
}
