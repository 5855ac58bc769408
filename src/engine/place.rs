//! Numbers a stream's events and keeps the client's place.

use std::time::Duration;

use bytes::Bytes;

use super::{Engine, EventIds, Injection, Observation, Position, Rotation, Settings};
use crate::wire::{Event, LineEnd, Stencil, with_id_line};

/// What is known of a client's place in its stream, and of the events up to it.
///
/// It is not there before there is something to know: a stream without ids never has one.
#[derive(Debug)]
pub(super) struct Known {
    position: Position,
    /// The number of the next event.
    next: u64,
    events: u64,
    /// The position is another than when it was asked for last.
    moved: bool,
}

impl Default for Known {
    fn default() -> Self {
        Self { position: Position::None, next: 1, events: 0, moved: true }
    }
}

impl Known {
    /// The place that a client brought.
    pub(super) fn brought(position: Position) -> Option<Box<Self>> {
        let brought = position != Position::None;
        brought.then(|| Box::new(Self { position, ..Self::default() }))
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
}

/// Whether ids of the stream's own are read. A number, since every stream has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch(u8);

impl Watch {
    /// Nobody asks for the place, or it is not known any more.
    const NO: Self = Self(0);

    /// A farewell may ask for it. It is counted down: a stream whose first events have no ids is
    /// taken to have none, since reading on would cost every event of every stream a scan. If ids
    /// come later all the same, the farewell does not restate them, which moves no client that
    /// follows the specification.
    const PROBING: Self = Self(16);

    const YES: Self = Self(u8::MAX);

    pub(super) fn of(settings: &Settings) -> Self {
        match settings {
            // Its own events are what tells that a stream is not idle.
            Settings { ids: Some(_), .. }
            | Settings { count_events: true, .. }
            | Settings { rotation: Some(Rotation { idle: Some(_), .. }), .. } => Self::YES,
            Settings { restate: true, .. } => Self::PROBING,
            _ => Self::NO,
        }
    }
}

impl<S: AsRef<Settings>> Engine<S> {
    /// The client's place behind what was sent.
    pub(crate) fn place(&self) -> &Position {
        self.known.as_ref().map_or(&Position::None, |known| &known.position)
    }

    /// Whether the place is another than when this was asked last.
    pub(crate) fn take_moved(&mut self) -> bool {
        self.known.as_mut().is_some_and(|known| std::mem::take(&mut known.moved))
    }

    /// Events that were sent, as far as they were counted.
    pub(crate) fn events(&self) -> u64 {
        self.known.as_ref().map_or(0, |known| known.events)
    }

    /// Reads ids from now on, for a farewell that was not to be expected: it must not restate a
    /// place that is not the client's any more.
    pub(super) fn expect_farewell(&mut self) {
        if self.watch == Watch::NO {
            self.watch = Watch::PROBING;
        }
    }

    /// Whether each event must be looked at.
    pub(super) fn is_watched(&self) -> bool {
        self.watch != Watch::NO
    }

    /// Takes an event with data and without an id; gives it the next one if ids are on.
    pub(super) fn pass_unnumbered(&mut self) -> Option<&Position> {
        if let Some(ids) = &self.settings.ids {
            return Some(self.known.get_or_insert_default().number(ids));
        }
        self.count();
        match self.watch {
            Watch::NO | Watch::YES => {}
            Watch(1) => {
                self.watch = Watch::NO;
                if let Some(known) = &mut self.known {
                    (known.position, known.moved) = (Position::Unknown, true);
                }
            }
            Watch(left) => self.watch = Watch(left - 1),
        }
        None
    }

    /// Takes an id of the stream's own, in a block with or without data.
    ///
    /// None stands for one whose text cannot be had.
    pub(super) fn pass_numbered(&mut self, data: bool, id: Option<&[u8]>) {
        if data {
            self.count();
        }
        if self.watch == Watch::NO {
            return;
        }
        self.watch = Watch::YES;
        let known = self.known.get_or_insert_default();
        known.moved = true;
        match id {
            Some(id) => known.position.follow(id),
            None => known.position = Position::Unknown,
        }
    }

    /// Counts an event, where somebody asks for the number.
    fn count(&mut self) {
        if self.watch == Watch::YES || self.settings.noted == Observation::FirstEvent {
            self.known.get_or_insert_default().events += 1;
        }
    }

    /// Encodes an event that is not the stream's own, with an id if ids are on.
    pub(super) fn encode(&mut self, injection: &Injection) -> Bytes {
        let line_end = self.scanner.line_end();
        let (event, bytes) = (&injection.event, injection.bytes(line_end));
        match event.event_id() {
            _ if !event.has_data() => bytes,
            Some(id) => {
                self.pass_numbered(true, Some(id.as_str().as_bytes()));
                bytes
            }
            None => match self.pass_unnumbered() {
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
