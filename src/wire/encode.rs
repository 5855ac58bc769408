//! How events are written.

use std::iter;
use std::time::Duration;

use bytes::Bytes;
use memchr::memchr2;

use super::event::millis;
use super::short::Short;
use super::{Event, EventId, LineEnd};

impl Event {
    /// The bytes of the event, with lines that end in LF.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_with(LineEnd::Lf)
    }

    /// The bytes of the event, with lines that end in `end`.
    pub(crate) fn encode_with(&self, end: LineEnd) -> Bytes {
        self.encode_for(end, None, None)
    }

    /// The same for one client: with this `retry`, and with its place as the last line. Where there
    /// is no data, or the event has its own, they are left out.
    pub(crate) fn encode_for(
        &self,
        end: LineEnd,
        retry: Option<Duration>,
        place: Option<&str>,
    ) -> Bytes {
        let added = match self.has_data() {
            true => Added {
                id: self.event_id().map(EventId::as_str),
                retry: retry.map(millis),
                place: place.filter(|_| self.id.is_none()),
            },
            false => Added::default(),
        };
        let mut short = Short::default();
        self.write(end, added, |part| short.push(part.as_bytes()));
        short.filled().map_or_else(
            |len| {
                // Exactly filled: `Bytes` would allocate once more for a vector with room to spare.
                let mut bytes = Vec::with_capacity(len);
                self.write(end, added, |part| bytes.extend_from_slice(part.as_bytes()));
                debug_assert_eq!(bytes.len(), len);
                Bytes::from(bytes)
            },
            Bytes::copy_from_slice,
        )
    }

    /// The bytes of the event without an id and without the blank line that ends it, and room for
    /// so many more. None if there is no data.
    #[cfg(feature = "hub")]
    pub(crate) fn encode_unended(&self, room: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.encode_unended_into(room, &mut bytes).then_some(bytes)
    }

    /// The bytes of the event without an id, as brokers keep it. None if there is no data.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(crate) fn encode_without_id(&self) -> Option<Vec<u8>> {
        let mut bytes = self.encode_unended("\n".len())?;
        bytes.push(b'\n');
        Some(bytes)
    }

    /// The same into a vector that is used again. Says no, and writes nothing, if there is no data.
    #[cfg(feature = "hub")]
    #[must_use]
    pub(crate) fn encode_unended_into(&self, room: usize, bytes: &mut Vec<u8>) -> bool {
        if let Some(data) = &self.data {
            // Most events are one line: then this is enough, and else it grows.
            bytes.reserve("data: \n\n".len() + data.len() + room);
            self.write(LineEnd::Lf, Added::default(), |part| {
                bytes.extend_from_slice(part.as_bytes());
            });
            bytes.pop();
        }
        self.has_data()
    }

    /// How many bytes the event has, as it is encoded without an id.
    #[cfg(feature = "resume")]
    pub(crate) fn len_without_id(&self) -> usize {
        let mut len = 0;
        self.write(LineEnd::Lf, Added::default(), |part| len += part.len());
        len
    }

    /// Gives `out` the parts of the encoded event, in order.
    fn write(&self, end: LineEnd, added: Added<'_>, mut out: impl FnMut(&str)) {
        let end = end.as_str();
        let mut line = |name: &str, value: &str| {
            out(name);
            out(value);
            out(end);
        };

        for text in self.comment.iter().flat_map(|comment| lines(comment)) {
            line(if text.is_empty() { ":" } else { ": " }, text);
        }
        if let Some(name) = self.name.as_ref().filter(|_| self.has_data()) {
            line("event: ", name.as_str());
        }
        if let Some(id) = added.id {
            line("id: ", id);
        }
        if let Some(millis) = self.retry.or(added.retry) {
            line("retry: ", itoa::Buffer::new().format(millis));
        }
        if let Some(data) = &self.data {
            // The space always: without it, one that the text begins with would be lost.
            lines(data).for_each(|text| line("data: ", text));
            if let Some(place) = added.place {
                line("id: ", place);
            }
            line("", "");
        }
    }
}

/// What is written that is not the event's own, or not always.
#[derive(Clone, Copy, Debug, Default)]
struct Added<'a> {
    /// In front, where an event has its own.
    id: Option<&'a str>,
    retry: Option<u32>,
    /// Behind the data, where a stream's ids are.
    place: Option<&'a str>,
}

/// The lines of `text`, at least one, without the CRLF, CR or LF between them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest.take()?;
        let Some(at) = memchr2(b'\r', b'\n', text.as_bytes()) else {
            return Some(text);
        };
        let (line, tail) = text.split_at(at);
        rest = Some(tail.strip_prefix("\r\n").unwrap_or(&tail[1..]));
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::Decoder;

    #[test]
    fn every_line_ends_as_asked() {
        let event = Event::new().comment("a\n\nb").data("x\r\ny\rz\n");
        let lines = ": a\n:\n: b\ndata: x\ndata: y\ndata: z\ndata: \n\n";
        for end in LineEnd::ALL {
            let expected = lines.replace('\n', end.as_str());
            assert_eq!(event.encode_with(end), expected, "{end:?}");
        }
    }

    #[test]
    fn without_data_there_is_no_id() {
        let event = Event::new().id("1").unwrap();
        assert_eq!((event.has_data(), event.event_id()), (false, None));
        let event = event.data("").retry(Duration::ZERO);
        assert!(event.has_data() && event.event_id().is_some() && event.retry == Some(1));
    }

    #[test]
    fn one_client_gets_what_the_event_leaves_open() {
        let (retry, place) = (Some(Duration::from_millis(5)), Some("7"));
        #[rustfmt::skip]
        let table = [
            (Event::new().data("x"),                          "retry: 5\ndata: x\nid: 7\n\n"),
            (Event::new().data("x").id("1").unwrap(),         "id: 1\nretry: 5\ndata: x\n\n"),
            (Event::new().data("x").retry(Duration::ZERO),    "retry: 1\ndata: x\nid: 7\n\n"),
            // Alone in its block a `retry` breaks clients, and an id does.
            (Event::new().comment("c").id("1").unwrap(),      ": c\n"),
        ];
        for (event, expected) in table {
            assert_eq!(event.encode_for(LineEnd::Lf, retry, place), expected);
        }
    }

    proptest! {
        #[test]
        fn decodes_to_what_was_given(
            data in "([a:\0 ]|\r\n|\r|\n|data: |[^a]){0,9}|[a\n]{200,300}",
            comment in "([a: ]|\r\n|\r|\n|data: |[^a]){0,5}",
            name in "([a: ]|[^\0\r\n]){0,3}",
            id in "([a: ]|[^\0\r\n]){0,3}",
        ) {
            let event = Event::new().comment(comment).data(data.as_str());
            let event = event.event(name.as_str())?.id(id.as_str())?;
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            let name = if name.is_empty() { "message" } else { &name };

            for end in LineEnd::ALL {
                let events = Decoder::new().decode(&event.encode_with(end));
                prop_assert_eq!(events.len(), 1);
                prop_assert_eq!(&events[0].event, name);
                prop_assert_eq!(&events[0].data, &data);
                prop_assert_eq!(&events[0].last_event_id, &id);
            }
        }
    }
}
