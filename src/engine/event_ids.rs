//! Numbers events, and knows a client's place in its stream.

use std::fmt;
use std::sync::Arc;

use crate::wire::EventId;

/// Where the ids of a stream's events come from.
#[derive(Clone)]
pub(crate) enum EventIds {
    Sequential,
    With(Arc<dyn Fn(u64) -> EventId + Send + Sync>),
}

impl EventIds {
    /// The id of the n-th event, which becomes the client's place.
    pub(super) fn number(&self, n: u64) -> Position {
        match self {
            Self::Sequential => Position::Number(n),
            Self::With(id) => Position::Text(Box::new(id(n).as_str().to_owned())),
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

/// A client's place in its stream: the id that it would send as `Last-Event-ID`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Position {
    /// None was sent, and the client brought none.
    #[default]
    None,
    /// The number of the last event that was stamped.
    Number(u64),
    /// An id of the stream's own, or the one that the client brought.
    #[expect(clippy::box_collection, reason = "a `String` in it would make every stream larger")]
    Text(Box<String>),
    /// Ids may have passed that nobody read.
    Unknown,
}

impl Position {
    /// The place a client brought: a `Last-Event-ID` that could be an id.
    ///
    /// Anything else counts as none, an empty one too: some clients send one after a stream
    /// without ids.
    pub(crate) fn brought(header: &[u8]) -> Self {
        let text =
            std::str::from_utf8(header).ok().filter(|text| (1..=LONGEST).contains(&text.len()));
        match text.map(EventId::new) {
            Some(Ok(id)) => Self::Text(Box::new(id.as_str().to_owned())),
            _ => Self::None,
        }
    }

    /// Takes an id that was sent.
    pub(super) fn follow(&mut self, id: &[u8]) {
        match std::str::from_utf8(id) {
            Ok(id) if id.len() <= LONGEST => match self {
                // The common case does not allocate.
                Self::Text(text) => {
                    text.clear();
                    text.push_str(id);
                }
                place => *place = Self::Text(Box::new(id.to_owned())),
            },
            _ => *self = Self::Unknown,
        }
    }

    /// Takes over another place, without an allocation where there is room.
    pub(crate) fn set(&mut self, other: &Self) {
        match (self, other) {
            (Self::Text(text), Self::Text(other)) => text.clone_from(other),
            (place, other) => *place = other.clone(),
        }
    }

    /// The id as text, where there is one to restate.
    pub(crate) fn with_text<R>(&self, read: impl FnOnce(Option<&str>) -> R) -> R {
        match self {
            Self::Number(n) => read(Some(itoa::Buffer::new().format(*n))),
            Self::Text(text) if !text.is_empty() => read(Some(text)),
            _ => read(None),
        }
    }
}

/// The longest id that is kept for a stream, in bytes. Memory a stream stays bounded; a longer one
/// is not restated, which moves no client that follows the specification.
const LONGEST: usize = 1024;
