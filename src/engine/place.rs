//! Numbers a stream's events and keeps the client's place.

use std::time::Duration;

use bytes::Bytes;

use super::{EventIds, Injection, Position, Rotation, Settings};
use crate::wire::{Event, LineEnd, Stencil, with_id_line};

/// The client's place in its stream, and the number of the next event.
#[derive(Debug)]
pub(super) struct Place {
    position: Position,
    next: u64,
    events: u64,
    watch: Watch,
    /// The position is another than when it was asked for last.
    moved: bool,
}

/// Whether ids of the stream's own are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// Nobody asks for the place, or it is not known any more.
    No,
    /// A farewell may ask for it. If this many more events have no id, the stream has none.
    Probing(u8),
    Yes,
}

impl Place {
    pub(super) fn new(position: Position, settings: &Settings) -> Self {
        let watch = match settings {
            // Its own events are what tells that a stream is not idle.
            Settings { ids: Some(_), .. }
            | Settings { count_events: true, .. }
            | Settings { rotation: Some(Rotation { idle: Some(_), .. }), .. } => Watch::Yes,
            Settings { restate: true, .. } => Watch::Probing(PROBED),
            _ => Watch::No,
        };
        Self { position, next: 1, events: 0, watch, moved: true }
    }

    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Reads ids from now on, for a farewell that was not to be expected: it must not restate a
    /// place that is not the client's any more.
    pub(super) fn expect_farewell(&mut self) {
        if self.watch == Watch::No {
            self.watch = Watch::Probing(PROBED);
        }
    }

    /// Whether the position has changed since this was asked last.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Whether each event must be looked at.
    pub(super) fn is_watched(&self) -> bool {
        self.watch != Watch::No
    }

    /// Takes an event with data and without an id; gives it the next one if ids are on.
    pub(super) fn pass_unnumbered(&mut self, ids: Option<&EventIds>) -> Option<&Position> {
        if let Some(ids) = ids {
            return Some(self.number(ids));
        }
        self.events += 1;
        match &mut self.watch {
            Watch::Probing(1) => {
                self.watch = Watch::No;
                self.position = Position::Unknown;
                self.moved = true;
            }
            Watch::Probing(left) => *left -= 1,
            Watch::No | Watch::Yes => {}
        }
        None
    }

    /// Takes an event with data and without an id, and gives it the next one.
    #[inline]
    pub(super) fn number(&mut self, ids: &EventIds) -> &Position {
        self.events += 1;
        self.position = ids.number(self.next);
        self.next += 1;
        self.moved = true;
        &self.position
    }

    /// Takes an id of the stream's own, in a block with or without data.
    ///
    /// None stands for one whose text cannot be had.
    pub(super) fn pass_numbered(&mut self, data: bool, id: Option<&[u8]>) {
        self.events += u64::from(data);
        if self.watch == Watch::No {
            return;
        }
        self.watch = Watch::Yes;
        self.moved = true;
        match id {
            Some(id) => self.position.follow(id),
            None => self.position = Position::Unknown,
        }
    }

    /// Writes an event that is not the stream's own, with an id if ids are on.
    pub(super) fn write(
        &mut self,
        injection: &Injection,
        line_end: LineEnd,
        ids: Option<&EventIds>,
    ) -> Bytes {
        let (event, bytes) = (&injection.event, injection.bytes(line_end));
        match event.event_id() {
            _ if !event.has_data() => bytes,
            Some(id) => {
                self.pass_numbered(true, Some(id.as_str().as_bytes()));
                bytes
            }
            None => match self.pass_unnumbered(ids) {
                Some(id) => with_id(bytes, id, line_end),
                None => bytes,
            },
        }
    }
}

/// Writes an event that restates a client's place and does not move it.
pub(crate) fn restate(
    event: &Event,
    retry: Option<Duration>,
    place: &Position,
    line_end: LineEnd,
) -> Bytes {
    place.with_text(|place| Stencil::of(event, line_end).fill(retry, place))
}

/// Adds an id as the last line of one encoded event.
fn with_id(event: Bytes, id: &Position, line_end: LineEnd) -> Bytes {
    let blank = event.len() - line_end.as_str().len();
    id.with_text(|id| match id {
        Some(id) => with_id_line(&event, blank, id, line_end),
        None => event,
    })
}

/// A stream whose first events have no ids is taken to have none: reading on would cost every
/// event of every stream a scan. If ids come later all the same, the farewell does not restate
/// them, which moves no client that follows the specification.
const PROBED: u8 = 16;
