//! Events under other names than their own.

use bytes::Bytes;

use crate::event_log::Logged;
use crate::wire::EventName;

pub(super) type EventNames = dyn Fn(&Logged) -> Option<EventName> + Send + Sync;

/// A whole event, whose lines end in LF, under another name.
pub(super) fn renamed(event: &[u8], name: &EventName) -> Bytes {
    let mut bytes = Vec::with_capacity("event: \n".len() + name.as_str().len() + event.len());
    if !name.is_default() {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.push(b'\n');
    }
    let lines = event.split_inclusive(|byte| *byte == b'\n');
    for line in lines.filter(|line| !is_name(line)) {
        bytes.extend_from_slice(line);
    }
    bytes.into()
}

fn is_name(line: &[u8]) -> bool {
    line.strip_prefix(b"event").is_some_and(|rest| matches!(rest, [b':' | b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event_log::Topic;
    use crate::wire::{Decoder, Event, EventId};

    #[test]
    fn only_the_lines_with_the_name_are_others() {
        #[rustfmt::skip]
        let table = [
            ("data: x\nid: 1\n\n",                  "event: t\ndata: x\nid: 1\n\n"),
            (": c\nevent: e\ndata: x\nid: 1\n\n",   "event: t\n: c\ndata: x\nid: 1\n\n"),
            ("event\nevent:e\ndata: x\nid: 1\n\n",  "event: t\ndata: x\nid: 1\n\n"),
            ("events: e\ndata: event: e\n\n",       "event: t\nevents: e\ndata: event: e\n\n"),
        ];
        for (event, expected) in table {
            assert_eq!(renamed(event.as_bytes(), &EventName::from_static("t")), expected);
        }
        let default = renamed(b"event: e\ndata: x\n\n", &EventName::from_static("message"));
        assert_eq!(default, "data: x\n\n");
    }

    proptest! {
        #[test]
        fn a_client_reads_the_same_event_under_the_other_name(
            data in "([a:\0 ]|\n|event: e\n|[^a]){0,9}",
            comment in "([a: ]|\n|event: e|[^a]){0,5}",
            own in "[^\0\r\n]{0,3}",
            other in "[^\0\r\n]{1,3}",
        ) {
            let event = Event::new().comment(comment).event(EventName::new(own)?).data(data);
            let topic = Topic::from_static("t");
            let logged = Logged::new(topic, &EventId::from_static("7-1"), event).unwrap();
            let renamed = renamed(logged.bytes(), &EventName::new(&*other)?);
            let mut expected = Decoder::new().decode(logged.bytes());
            expected[0].event = other;
            prop_assert_eq!(Decoder::new().decode(&renamed), expected);
        }
    }
}
