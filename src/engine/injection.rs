//! Events of the server that are written into streams.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::wire::{ByLineEnd, Event, LineEnd, Notation, in_notation, json_line};

/// An event that is written into streams, encoded once for each kind of line end.
#[derive(Debug)]
pub(crate) struct Injection {
    event: Event,
    encoded: ByLineEnd<Bytes>,
    line: OnceLock<Option<Bytes>>,
}

impl Injection {
    pub(crate) fn new(event: Event) -> Self {
        Self { event, encoded: ByLineEnd::default(), line: OnceLock::new() }
    }

    pub(super) fn event(&self) -> &Event {
        &self.event
    }

    pub(super) fn bytes(&self, line_end: LineEnd) -> Bytes {
        self.encoded.get(line_end, || self.event.encode_with(line_end)).clone()
    }

    /// The data as a line of JSON. None if there is no data.
    pub(super) fn line(&self, notation: Notation) -> Option<Bytes> {
        let line = self.line.get_or_init(|| self.event.data_text().and_then(json_line)).clone();
        line.map(|line| in_notation(line, notation))
    }
}
