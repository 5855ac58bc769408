//! Where the ids of events come from.

use std::fmt;
use std::sync::Arc;

use super::Position;
use crate::wire::EventId;

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
