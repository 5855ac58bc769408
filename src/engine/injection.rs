//! An event that is written into streams, encoded once for all of them.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::wire::{Event, LineEnd};

/// An event that is written into streams, encoded once a kind of line end.
#[derive(Debug)]
pub(crate) struct Injection {
    pub(super) event: Event,
    encoded: [OnceLock<Bytes>; LineEnd::ALL.len()],
}

impl Injection {
    pub(crate) fn new(event: Event) -> Self {
        Self { event, encoded: Default::default() }
    }

    pub(super) fn bytes(&self, line_end: LineEnd) -> Bytes {
        let encoded = &self.encoded[line_end as usize];
        encoded.get_or_init(|| self.event.encode_with(line_end)).clone()
    }
}
