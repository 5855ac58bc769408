//! How events are written.

use std::iter;

use bytes::Bytes;
use memchr::memchr2;

use super::{Event, EventId, LineEnd};

impl Event {
    /// The bytes of the event, with lines that end in LF.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_with(LineEnd::Lf)
    }

    /// The bytes of the event, with lines that end in `end`.
    pub(crate) fn encode_with(&self, end: LineEnd) -> Bytes {
        let mut len = 0;
        self.write(end, |part| len += part.len());
        // Exactly filled: `Bytes` would allocate once more for a vector with room to spare.
        let mut bytes = Vec::with_capacity(len);
        self.write(end, |part| bytes.extend_from_slice(part.as_bytes()));
        debug_assert_eq!(bytes.len(), len);
        Bytes::from(bytes)
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
            let mut out = |part: &str| bytes.extend_from_slice(part.as_bytes());
            self.write_head(LineEnd::Lf, None, &mut out);
            self.write_data(LineEnd::Lf, &mut out);
        }
        self.has_data()
    }

    /// How many bytes the event has, as it is encoded without an id.
    #[cfg(feature = "resume")]
    pub(crate) fn len_without_id(&self) -> usize {
        let mut len = 0;
        let mut out = |part: &str| len += part.len();
        self.write_head(LineEnd::Lf, None, &mut out);
        self.write_data(LineEnd::Lf, &mut out);
        self.write_blank(LineEnd::Lf, &mut out);
        len
    }

    fn write(&self, end: LineEnd, mut out: impl FnMut(&str)) {
        self.write_head(end, self.event_id(), &mut out);
        self.write_data(end, &mut out);
        self.write_blank(end, &mut out);
    }

    /// Gives `out` the parts of what is in front of the data, in order.
    pub(super) fn write_head(&self, end: LineEnd, id: Option<&EventId>, mut out: impl FnMut(&str)) {
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
        if let Some(id) = id {
            line("id: ", id.as_str());
        }
        if let Some(millis) = self.retry {
            line("retry: ", itoa::Buffer::new().format(millis));
        }
    }

    /// The same of the data.
    pub(super) fn write_data(&self, end: LineEnd, mut out: impl FnMut(&str)) {
        for text in self.data.iter().flat_map(|data| lines(data)) {
            // The space always: without it, one that the text begins with would be lost.
            out("data: ");
            out(text);
            out(end.as_str());
        }
    }

    /// The same of what ends the event, where there is data.
    pub(super) fn write_blank(&self, end: LineEnd, mut out: impl FnMut(&str)) {
        if self.has_data() {
            out(end.as_str());
        }
    }
}

/// The lines of `text`, at least one, without the CRLF, CR or LF between them.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
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
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Decoder, EventName};

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
        let event = Event::new().id(EventId::from_static("1"));
        assert_eq!((event.has_data(), event.event_id()), (false, None));
        let event = event.data("").retry(Duration::ZERO);
        assert!(event.has_data() && event.event_id().is_some() && event.retry == Some(1));
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
            let event = event.event(EventName::new(&name)?).id(EventId::new(&id)?);
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
