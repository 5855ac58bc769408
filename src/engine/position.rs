//! The ids of a stream's events: where they come from, and the position of its client among them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::wire::{Event, EventId, EventTemplate, LastEventId, LineEnd};

/// A client's position in its stream: the id that it would send as `Last-Event-ID`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Position {
    /// No id was sent, and the client brought none.
    #[default]
    None,
    /// The number of the last event that was given an id.
    Number(u64),
    /// An id of the stream's own, or the one that the client brought.
    #[expect(clippy::box_collection, reason = "a `String` in it would make every stream larger")]
    Text(Box<String>),
    /// Ids may have been sent that were not read.
    Unknown,
}

impl Position {
    /// The position that a client brought: a `Last-Event-ID` that can be an id. Any other value
    /// counts as none.
    pub(crate) fn brought(header: &[u8]) -> Self {
        match LastEventId::parse(header) {
            LastEventId::Id(id) if id.as_str().len() <= MAX_ID_LEN => {
                Self::Text(Box::new(id.as_str().to_owned()))
            }
            _ => Self::None,
        }
    }

    /// Moves to an id that was sent.
    pub(super) fn follow(&mut self, id: &[u8]) {
        match std::str::from_utf8(id) {
            Ok(id) if id.len() <= MAX_ID_LEN => match self {
                // The common case does not allocate.
                Self::Text(text) => {
                    text.clear();
                    text.push_str(id);
                }
                position => *position = Self::Text(Box::new(id.to_owned())),
            },
            _ => *self = Self::Unknown,
        }
    }

    /// Copies another position, without an allocation where there is room.
    pub(crate) fn set(&mut self, other: &Self) {
        match (self, other) {
            (Self::Number(n), Self::Number(other)) => *n = *other,
            (Self::Text(text), Self::Text(other)) => text.clone_from(other),
            (position, other) => *position = other.clone(),
        }
    }

    /// Calls `read` with the id as text, or with none if there is no id to restate.
    #[inline]
    pub(crate) fn with_text<R>(&self, read: impl FnOnce(Option<&str>) -> R) -> R {
        match self {
            Self::Number(n) => read(Some(itoa::Buffer::new().format(*n))),
            Self::Text(text) if !text.is_empty() => read(Some(text)),
            _ => read(None),
        }
    }
}

/// Where the ids of a stream's events come from.
#[derive(Clone)]
pub(crate) enum EventIds {
    Sequential,
    With(Arc<dyn Fn(u64) -> EventId + Send + Sync>),
}

impl EventIds {
    /// The id of the `n`-th event, as the client's position. None if the function gives an empty
    /// id: such an event gets no id, and the client keeps the position that it has.
    #[inline]
    pub(super) fn number(&self, n: u64) -> Option<Position> {
        match self {
            Self::Sequential => Some(Position::Number(n)),
            Self::With(id) => {
                let id = id(n);
                let text = (!id.as_str().is_empty()).then(|| id.as_str().to_owned());
                text.map(|text| Position::Text(Box::new(text)))
            }
        }
    }
}

impl fmt::Debug for EventIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sequential => "Sequential",
            Self::With(_) => "With(..)",
        })
    }
}

/// Encodes an event that restates a client's position and does not move it.
pub(crate) fn restate(
    event: &Event,
    retry: Option<Duration>,
    position: &Position,
    line_end: LineEnd,
) -> Bytes {
    position.with_text(|id| EventTemplate::new(&[], event, line_end).fill(retry, id))
}

/// The longest id that is kept for a stream, in bytes. It bounds the memory of a stream. A longer
/// id is not restated, which moves no client that follows the specification.
const MAX_ID_LEN: usize = 1024;
