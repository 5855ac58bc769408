//! What the layers ask of one stream's engine.

use std::ops::{Deref, RangeInclusive};
use std::sync::Arc;
use std::time::Duration;

use super::{EventIds, Farewell, KeepAlive, Rotation};

/// What the layers ask of an engine. One value serves all streams of a service.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) ids: Option<EventIds>,
    /// The longest event that is kept back until it is whole, in bytes.
    pub(crate) hold_limit: usize,
    /// The stream may be sent a farewell, which restates the client's place.
    pub(crate) restate: bool,
    pub(crate) count_events: bool,
    pub(crate) noted: Observation,
    /// Said instead of an error of the stream's own body.
    pub(crate) on_error: Option<ErrorFarewell>,
    /// The last event of a stream whose body came to its own end, on an event boundary.
    pub(crate) close_at_end: Option<Farewell>,
    /// The body is a stream of another engine. It ends on a boundary, so what follows its last event
    /// is a farewell of bytes, which has no boundary.
    pub(crate) around_another: bool,
    /// When the stream is ended for its age; none if it is not, not for an expiry either.
    pub(crate) rotation: Option<Rotation>,
}

/// What note is taken of, without a scan of all bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observation {
    Nothing,
    /// Each frame, so none passes by the short way.
    Frames,
    /// The same, and the first event, up to which all is scanned.
    FirstEvent,
}

#[derive(Clone, Debug)]
pub(crate) struct ErrorFarewell {
    pub(crate) farewell: Farewell,
    /// How long clients are to wait, each its own time from this range.
    pub(crate) retry: RangeInclusive<Duration>,
}

impl Settings {
    /// Larger than nearly every event, and small enough to be held for every stream at once.
    pub(crate) const HOLD_LIMIT: usize = 64 * 1024;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive: None,
            ids: None,
            hold_limit: Self::HOLD_LIMIT,
            restate: false,
            count_events: false,
            noted: Observation::Nothing,
            on_error: None,
            close_at_end: None,
            around_another: false,
            rotation: Some(Rotation::default()),
        }
    }
}

impl AsRef<Settings> for Settings {
    fn as_ref(&self) -> &Settings {
        self
    }
}

/// Settings as a part of something that an engine's owner asks for again: held once for both.
#[derive(Debug)]
pub(super) struct Shared<S>(pub(super) Arc<S>);

impl<S: AsRef<Settings>> Deref for Shared<S> {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        S::as_ref(&self.0)
    }
}
