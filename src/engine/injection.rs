//! An event that is written into streams, encoded once for all of them.

use bytes::Bytes;

use crate::wire::{ByLineEnd, Event, LineEnd};

/// An event that is written into streams, encoded once a kind of line end.
#[derive(Debug)]
pub(crate) struct Injection {
    pub(super) event: Event,
    encoded: ByLineEnd<Bytes>,
}

impl Injection {
    pub(crate) fn new(event: Event) -> Self {
        Self { event, encoded: ByLineEnd::default() }
    }

    pub(super) fn bytes(&self, line_end: LineEnd) -> Bytes {
        self.encoded.get(line_end, || self.event.encode_with(line_end)).clone()
    }
}
