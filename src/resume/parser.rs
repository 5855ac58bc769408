//! [`EventParser`]: reads the events of a handler's stream.

use crate::wire::{Decoder, Event, EventName};

/// Reads events from the bytes of a handler's stream, as a client does.
#[derive(Debug)]
pub(super) struct EventParser {
    decoder: Decoder,
    max_len: usize,
}

/// An event that is longer than the buffer.
#[derive(Debug)]
pub(super) struct EventTooLong {
    /// What was read of it, written anew.
    pub(super) begin: Vec<u8>,
    /// Whether an LF that comes next is part of a line end that was read.
    pub(super) skips_lf: bool,
}

impl EventParser {
    pub(super) fn new(max_len: usize) -> Self {
        Self { decoder: Decoder::new(), max_len }
    }

    /// The next event that ends in `rest`, which then begins after the event.
    ///
    /// It has the name, the data and the `retry` that came with it, or before it in a block without
    /// data. It has no id and no comments.
    pub(super) fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Event>, EventTooLong> {
        // Piece by piece, so that the decoder never keeps more than an event may have.
        while !rest.is_empty() {
            let room = self.max_len.saturating_sub(self.decoder.held()).saturating_add(1);
            let (mut piece, tail) = rest.split_at(room.min(rest.len()));
            let message = self.decoder.next_event(&mut piece);
            *rest = &rest[rest.len() - tail.len() - piece.len()..];
            if let Some(message) = message {
                let mut event = Event::new().data(message.data);
                if let Some(retry) = self.decoder.take_retry() {
                    event = event.retry(retry);
                }
                // Of all names that can be read, only one with a NUL cannot be written.
                if let Ok(name) = EventName::new(message.event.replace('\0', "\u{fffd}")) {
                    event = event.event(name);
                }
                return match event.len_without_id() > self.max_len {
                    true => Err(EventTooLong { begin: event.encode().into(), skips_lf: false }),
                    false => Ok(Some(event)),
                };
            }
            if self.decoder.held() > self.max_len {
                let (begin, skips_lf) = self.decoder.unended();
                return Err(EventTooLong { begin, skips_lf });
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::support::{cut, cuts, interpret, stream};

    /// The events, and from the first one that is longer than `max_len` on the bytes as they are.
    fn parsed(chunks: &[Vec<u8>], max_len: usize) -> Vec<u8> {
        let (mut parser, mut out) = (EventParser::new(max_len), Vec::new());
        for (at, chunk) in chunks.iter().enumerate() {
            let mut rest = &chunk[..];
            loop {
                match parser.next(&mut rest) {
                    Ok(Some(event)) => out.extend_from_slice(&event.encode()),
                    Ok(None) => break,
                    Err(EventTooLong { begin, skips_lf }) => {
                        let rest = [rest, &chunks[at + 1..].concat()].concat();
                        let lf = usize::from(skips_lf && rest.starts_with(b"\n"));
                        return [&out, &begin, &rest[lf..]].concat();
                    }
                }
            }
            assert!(rest.is_empty());
        }
        out
    }

    proptest! {
        #[test]
        fn clients_see_the_same_events(stream in stream(), cuts in cuts()) {
            let events = |bytes: &[u8]| {
                let events = interpret(bytes).events.into_iter();
                events.map(|(name, data, _)| (name, data)).collect::<Vec<_>>()
            };
            for max_len in [1 << 16, 1, 4, 16, 64] {
                let parsed = parsed(&cut(&stream, &cuts), max_len);
                prop_assert_eq!(events(&parsed), events(&stream), "{}", max_len);
            }
        }
    }

    #[test]
    fn a_byte_order_mark_that_is_passed_on_is_skipped_at_the_start_only() {
        for (stream, count) in [("\u{feff}data: x\n\n", 1), ("\n\u{feff}data: x\n\n", 0)] {
            let parsed = parsed(&[stream.into()], 1);
            assert_eq!(interpret(&parsed).events.len(), count, "{parsed:?}");
        }
    }

    #[test]
    fn a_retry_is_kept_in_an_event_and_comments_and_ids_are_not() {
        let stream = b"retry: 5\n\n: c\nid: 9\ndata: a\n\nretry: 0\nevent: b\ndata: b\n\n";
        let out = parsed(&[stream.into()], 1 << 16);
        assert_eq!(out, b"retry: 5\ndata: a\n\nevent: b\nretry: 1\ndata: b\n\n");
    }

    #[test]
    fn no_more_of_an_event_is_held_than_it_may_have() {
        let mut endless = EventParser::new(100);
        assert!(endless.next(&mut &[b"data: ".as_slice(), &[b'x'; 1000]].concat()[..]).is_err());
        assert!(endless.decoder.held() <= 102);
        let lines = b"data:\n".repeat(30);
        assert!(EventParser::new(100).next(&mut &[&lines[..], b"\n"].concat()[..]).is_err());
    }
}
