//! Takes events out of the bytes of a handler's stream.

use crate::wire::{Decoder, Event, EventName};

/// Takes events out of the bytes of a handler's stream, the way a client would read them.
#[derive(Debug)]
pub(super) struct Taken {
    decoder: Decoder,
    longest: usize,
}

/// An event that is longer than what is kept.
#[derive(Debug)]
pub(super) struct TooLong;

impl Taken {
    pub(super) fn new(longest: usize) -> Self {
        Self { decoder: Decoder::new(), longest }
    }

    /// The next event that ends in `rest`, which is then behind it.
    ///
    /// It has the name, the data and the `retry` that came with it, or before it in a block without
    /// data. Its id and comments are not kept.
    pub(super) fn next(&mut self, rest: &mut &[u8]) -> Result<Option<Event>, TooLong> {
        // A piece at a time, so that no more is held than may be.
        while !rest.is_empty() {
            let room = self.longest.saturating_sub(self.decoder.held()) + 1;
            let (mut piece, behind) = rest.split_at(room.min(rest.len()));
            let event = self.decoder.next_event(&mut piece);
            *rest = &rest[rest.len() - behind.len() - piece.len()..];
            if let Some(event) = event {
                let mut taken = Event::new().data(event.data);
                if let Some(retry) = self.decoder.take_retry() {
                    taken = taken.retry(retry);
                }
                // A NUL is the only thing in a name that was read and cannot be written.
                if let Ok(name) = EventName::new(event.event.replace('\0', "\u{fffd}")) {
                    taken = taken.event(name);
                }
                return if taken.len_without_id() > self.longest {
                    Err(TooLong)
                } else {
                    Ok(Some(taken))
                };
            }
            if self.decoder.held() > self.longest {
                return Err(TooLong);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::support::oracle::interpret;
    use crate::support::streams::{cut, cuts, stream};

    fn taken(chunks: &[Vec<u8>]) -> Vec<u8> {
        let (mut taken, mut out) = (Taken::new(1 << 16), Vec::new());
        for chunk in chunks {
            let mut rest = &chunk[..];
            while let Some(event) = taken.next(&mut rest).unwrap() {
                out.extend_from_slice(&event.encode());
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
            prop_assert_eq!(events(&taken(&cut(&stream, &cuts))), events(&stream));
        }
    }

    #[test]
    fn a_retry_rides_in_an_event_and_comments_and_ids_do_not() {
        let out =
            taken(&[b"retry: 5\n\n: c\nid: 9\ndata: a\n\nretry: 0\nevent: b\ndata: b\n\n".into()]);
        assert_eq!(out, b"retry: 5\ndata: a\n\nevent: b\nretry: 1\ndata: b\n\n");
    }

    #[test]
    fn what_is_too_long_is_not_held() {
        let mut endless = Taken::new(100);
        assert!(endless.next(&mut &[b"data: ".as_slice(), &[b'x'; 1000]].concat()[..]).is_err());
        assert!(endless.decoder.held() <= 102);
        let lines = b"data:\n".repeat(30);
        assert!(Taken::new(100).next(&mut &[&lines[..], b"\n"].concat()[..]).is_err());
    }
}
