//! Numbers the events of a stream, and follows the client's position in it.

use bytes::Bytes;

use super::{EventIds, Injection, Observation, Position, Rotation, Settings};
use crate::wire::{LineEnd, Notation, with_id_line};

/// Whether the ids of the stream's own events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IdTracking {
    /// Nothing needs the position, or it is not known any more.
    Off,
    /// A farewell may need the position. After this many more events without an id, the stream is
    /// taken to have none, because reading on would cost a scan of every event of every stream. If
    /// ids come later, the farewell does not restate them, which moves no client that follows the
    /// specification.
    Probing(u8),
    On,
}

impl IdTracking {
    pub(super) fn of(settings: &Settings) -> Self {
        match settings {
            // Events of its own show that a stream is not idle.
            Settings { ids: Some(_), .. }
            | Settings { count_events: true, .. }
            | Settings { rotation: Some(Rotation { idle: Some(_), .. }), .. } => Self::On,
            Settings { restate: true, .. } => Self::Probing(PROBES),
            _ => Self::Off,
        }
    }

    /// Reads ids from now on, for a farewell that could not be foreseen: it must not restate a
    /// position that is not the client's any more.
    pub(super) fn expect_farewell(&mut self) {
        if *self == Self::Off {
            *self = Self::Probing(PROBES);
        }
    }
}

/// The client's position after what was sent, and the number of events up to there.
///
/// It allocates nothing before there is something to know: a stream without ids never does.
#[derive(Debug)]
pub(super) struct EventPosition(Option<Box<Tracked>>);

#[derive(Debug)]
struct Tracked {
    position: Position,
    /// The number of the next event.
    next: u64,
    events: u64,
    /// The position has changed since it was last reported.
    moved: bool,
}

impl Default for Tracked {
    fn default() -> Self {
        Self { position: Position::None, next: 1, events: 0, moved: true }
    }
}

impl EventPosition {
    /// The position that a client brought.
    pub(super) fn brought(position: Position) -> Self {
        let brought = position != Position::None;
        Self(brought.then(|| Box::new(Tracked { position, ..Tracked::default() })))
    }

    pub(super) fn position(&self) -> &Position {
        self.0.as_ref().map_or(&Position::None, |tracked| &tracked.position)
    }

    /// The position, if it has changed since the last call.
    #[inline]
    pub(super) fn take_moved(&mut self) -> Option<&Position> {
        let tracked = self.0.as_mut()?;
        std::mem::take(&mut tracked.moved).then_some(&tracked.position)
    }

    /// Events that were sent, as far as they were counted.
    #[inline]
    pub(super) fn events(&self) -> u64 {
        self.0.as_ref().map_or(0, |tracked| tracked.events)
    }

    /// Counts an event with data and without an id, and gives its new id.
    #[inline]
    pub(super) fn number(&mut self, ids: &EventIds) -> Option<&Position> {
        let tracked = self.0.get_or_insert_default();
        tracked.events += 1;
        let position = ids.number(tracked.next);
        tracked.next += 1;
        tracked.position = position?;
        tracked.moved = true;
        Some(&tracked.position)
    }
}

/// What passes events: the position, and how it is followed.
#[derive(Debug)]
pub(super) struct Ids<'a> {
    /// Where ids come from, if events get any.
    source: Option<&'a EventIds>,
    pub(super) settings: &'a Settings,
    tracking: &'a mut IdTracking,
    position: &'a mut EventPosition,
}

impl<'a> Ids<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        notation: Notation,
        tracking: &'a mut IdTracking,
        position: &'a mut EventPosition,
    ) -> Self {
        // Only events have ids.
        let has_ids = matches!(notation, Notation::Events(_));
        let source = settings.ids.as_ref().filter(|_| has_ids);
        Self { source, settings, tracking, position }
    }

    /// Passes an event with data and without an id. Gives its new id if ids are on.
    pub(super) fn pass_unnumbered(&mut self) -> Option<&Position> {
        if let Some(ids) = self.source {
            return self.position.number(ids);
        }
        self.count();
        match self.tracking {
            IdTracking::Off | IdTracking::On => {}
            IdTracking::Probing(0 | 1) => {
                *self.tracking = IdTracking::Off;
                if let Some(tracked) = &mut self.position.0 {
                    (tracked.position, tracked.moved) = (Position::Unknown, true);
                }
            }
            IdTracking::Probing(left) => *left -= 1,
        }
        None
    }

    /// Passes a block with an id of the stream's own, with or without data. The text is none where
    /// it cannot be had.
    pub(super) fn pass_numbered(&mut self, data: bool, id: Option<&[u8]>) {
        if data {
            self.count();
        }
        if *self.tracking == IdTracking::Off {
            return;
        }
        *self.tracking = IdTracking::On;
        let tracked = self.position.0.get_or_insert_default();
        tracked.moved = true;
        match id {
            Some(id) => tracked.position.follow(id),
            None => tracked.position = Position::Unknown,
        }
    }

    /// Counts an event, where the number is needed.
    fn count(&mut self) {
        let first = self.settings.observation == Observation::FirstEvent;
        if first || *self.tracking == IdTracking::On {
            self.position.0.get_or_insert_default().events += 1;
        }
    }

    /// Encodes an event that is not the stream's own, with an id if ids are on. None if the stream
    /// has no place for it.
    pub(super) fn encode(&mut self, injection: &Injection, notation: Notation) -> Option<Bytes> {
        match notation {
            Notation::Events(line_end) => Some(self.encode_event(injection, line_end)),
            Notation::Lines | Notation::Records => {
                let line = injection.line(notation)?;
                self.pass_unnumbered();
                Some(line)
            }
            Notation::Status(_) => None,
        }
    }

    fn encode_event(&mut self, injection: &Injection, line_end: LineEnd) -> Bytes {
        let (event, bytes) = (injection.event(), injection.bytes(line_end));
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

/// Adds an id as the last line of one encoded event.
fn with_id(event: Bytes, id: &Position, line_end: LineEnd) -> Bytes {
    let blank = event.len() - line_end.as_str().len();
    id.with_text(|id| match id {
        Some(id) => with_id_line(&event, blank, id, line_end),
        None => event,
    })
}

/// After so many events without an id a stream is taken to have none.
const PROBES: u8 = 16;
