//! Events that are written for many clients, each with something of its own.

use std::time::Duration;

use bytes::Bytes;

use super::event::millis;
use super::{Event, LineEnd};

/// An encoded event, with room for what is one client's own: how long it is to wait, and its place.
#[derive(Debug)]
pub(crate) struct Stencil {
    text: Box<str>,
    /// Where a `retry` goes, and where an id: none where the event has its own, or no data.
    retry_at: Option<usize>,
    place_at: Option<usize>,
    end: &'static str,
}

impl Stencil {
    pub(crate) fn of(event: &Event, end: LineEnd) -> Self {
        let mut text = String::new();
        event.write_head(end, event.event_id(), |part| text.push_str(part));
        let retry_at = (event.has_data() && event.retry.is_none()).then_some(text.len());
        event.write_data(end, |part| text.push_str(part));
        let place_at = (event.has_data() && event.id.is_none()).then_some(text.len());
        event.write_blank(end, |part| text.push_str(part));
        Self { text: text.into(), retry_at, place_at, end: end.as_str() }
    }

    /// The event for one client; what there is no room for is left out.
    pub(crate) fn fill(&self, retry: Option<Duration>, place: Option<&str>) -> Bytes {
        let mut bytes = Vec::new();
        self.fill_into(&mut bytes, retry, place);
        Bytes::from(bytes)
    }

    /// Writes the same behind what is in `bytes`.
    pub(crate) fn fill_into(
        &self,
        bytes: &mut Vec<u8>,
        retry: Option<Duration>,
        place: Option<&str>,
    ) {
        let mut digits = itoa::Buffer::new();
        let retry = retry.zip(self.retry_at).map(|(retry, at)| (at, digits.format(millis(retry))));
        let place = place.zip(self.place_at).map(|(place, at)| (at, place));
        let line = |name: &str, line: Option<(usize, &str)>| {
            line.map_or(0, |(_, value)| name.len() + value.len() + self.end.len())
        };
        let len = self.text.len() + line(RETRY, retry) + line(ID, place);
        // Exactly filled: `Bytes` would allocate once more for a vector with room to spare.
        bytes.reserve_exact(len);
        let mut from = 0;
        for (name, line) in [(RETRY, retry), (ID, place)] {
            if let Some((at, value)) = line {
                for part in [&self.text[from..at], name, value, self.end] {
                    bytes.extend_from_slice(part.as_bytes());
                }
                from = at;
            }
        }
        bytes.extend_from_slice(self.text[from..].as_bytes());
    }

    /// How long the event is without what is a client's own.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }
}

const RETRY: &str = "retry: ";
const ID: &str = "id: ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::EventId;

    #[test]
    fn one_client_gets_what_the_event_leaves_open() {
        let (retry, place) = (Some(Duration::from_millis(5)), Some("7"));
        #[rustfmt::skip]
        let table = [
            (Event::new().data("x"),                          "retry: 5\ndata: x\nid: 7\n\n"),
            (Event::new().data("x").id(EventId::from_static("1")),         "id: 1\nretry: 5\ndata: x\n\n"),
            (Event::new().data("x").retry(Duration::ZERO),    "retry: 1\ndata: x\nid: 7\n\n"),
            // Alone in its block a `retry` breaks clients, and an id does.
            (Event::new().comment("c").id(EventId::from_static("1")),      ": c\n"),
        ];
        for (event, expected) in table {
            for end in LineEnd::ALL {
                let stencil = Stencil::of(&event, end);
                assert_eq!(stencil.fill(retry, place), expected.replace('\n', end.as_str()));
                assert_eq!(stencil.fill(None, None), event.encode_with(end));
            }
        }
    }
}
