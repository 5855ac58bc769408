//! Encoded events that get lines of one client: an id, or a `retry`.

use std::time::Duration;

use bytes::Bytes;

use super::event::millis;
use super::id_line::ID;
use super::{Event, LineEnd};

/// An encoded event with room for two lines that differ from client to client: its `retry`, and its
/// position as the `id`.
#[derive(Debug)]
pub(crate) struct EventTemplate {
    text: Box<str>,
    /// Where a `retry` line goes. None if the event has a `retry`, or no data.
    retry_at: Option<usize>,
    /// Where an id line goes. None if the event has an id, or no data.
    id_at: Option<usize>,
    end: &'static str,
}

impl EventTemplate {
    /// The last of several events gets the lines.
    pub(crate) fn new(before: &[Event], event: &Event, end: LineEnd) -> Self {
        let mut text = String::new();
        for event in before {
            event.write(end, event.event_id(), |part| text.push_str(part));
        }
        event.write_head(end, event.event_id(), |part| text.push_str(part));
        let retry_at = (event.has_data() && event.retry.is_none()).then_some(text.len());
        event.write_data(end, |part| text.push_str(part));
        let id_at = (event.has_data() && event.id.is_none()).then_some(text.len());
        event.write_blank(end, |part| text.push_str(part));
        Self { text: text.into(), retry_at, id_at, end: end.as_str() }
    }

    /// The event for one client. A value for which the event has no room is left out.
    pub(crate) fn fill(&self, retry: Option<Duration>, id: Option<&str>) -> Bytes {
        let mut digits = itoa::Buffer::new();
        let retry = retry.zip(self.retry_at).map(|(retry, at)| (at, digits.format(millis(retry))));
        let id = id.zip(self.id_at).map(|(id, at)| (at, id));
        let line = |name: &str, line: Option<(usize, &str)>| {
            line.map_or(0, |(_, value)| name.len() + value.len() + self.end.len())
        };
        let len = self.text.len() + line(RETRY, retry) + line(ID, id);
        // `Bytes` allocates once more for a vector with room to spare.
        let mut bytes = Vec::with_capacity(len);
        let mut from = 0;
        for (name, line) in [(RETRY, retry), (ID, id)] {
            if let Some((at, value)) = line {
                for part in [&self.text[from..at], name, value, self.end] {
                    bytes.extend_from_slice(part.as_bytes());
                }
                from = at;
            }
        }
        bytes.extend_from_slice(self.text[from..].as_bytes());
        Bytes::from(bytes)
    }
}

const RETRY: &str = "retry: ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::EventId;

    #[test]
    fn a_client_gets_the_lines_that_the_event_leaves_open() {
        let (retry, id) = (Some(Duration::from_millis(5)), Some("7"));
        let own_id = EventId::from_static("1");
        #[rustfmt::skip]
        let table = [
            (Event::new().data("x"),                       "retry: 5\ndata: x\nid: 7\n\n"),
            (Event::new().data("x").id(&own_id),           "id: 1\nretry: 5\ndata: x\n\n"),
            (Event::new().data("x").retry(Duration::ZERO), "retry: 1\ndata: x\nid: 7\n\n"),
            // A block with nothing but a `retry` or an id breaks clients.
            (Event::new().comment("c").id(&own_id),        ": c\n"),
        ];
        for (event, expected) in table {
            for end in LineEnd::ALL {
                let template = EventTemplate::new(&[], &event, end);
                assert_eq!(template.fill(retry, id), expected.replace('\n', end.as_str()));
                assert_eq!(template.fill(None, None), event.encode_with(end));
            }
        }
    }
}
