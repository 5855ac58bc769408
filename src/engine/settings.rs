//! What the layers ask of the engine of one stream.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::spread::Spread;
use super::{EventIds, Farewell, KeepAlive, MAX_TIMER, Words};
use crate::wire::Notation;

/// What the layers ask of an engine. One value serves all streams of a service.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) keep_alive: Option<KeepAlive>,
    pub(crate) ids: Option<EventIds>,
    /// The longest event that is held until it is whole, in bytes.
    pub(crate) hold_limit: usize,
    /// The stream may get a farewell, which restates the client's position.
    pub(crate) restate: bool,
    pub(crate) count_events: bool,
    pub(crate) observation: Observation,
    /// The farewell that is sent instead of an error of the stream's own body.
    pub(crate) on_error: Option<Farewell>,
    /// The range of times for which clients wait after an error before they come back, each for a
    /// time of its own.
    pub(crate) error_retry: RangeInclusive<Duration>,
    /// What the dialect says. `None` for the default dialect.
    pub(crate) words: Option<Words>,
    /// The farewell that is sent after the last event when the stream's own body ends.
    pub(crate) close_at_end: Option<Farewell>,
    /// The body is a stream of another engine. It ends on a boundary, so what follows its last
    /// event is a farewell of bytes, which has no boundary.
    pub(crate) around_another: bool,
    /// When the stream is ended for its age. `None` if it never is, not even for an expiry.
    pub(crate) rotation: Option<Rotation>,
}

/// What is counted without a scan of all bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observation {
    Nothing,
    /// Each frame, so that none takes the fast path.
    Frames,
    /// Each frame, and the first event, up to which all bytes are scanned.
    FirstEvent,
}

impl Settings {
    /// Larger than nearly every event, and small enough to be held for every stream at once.
    pub(crate) const HOLD_LIMIT: usize = 64 * 1024;

    /// How streams of this notation are kept alive.
    pub(super) fn keep_alive_in(&self, notation: Notation) -> Option<&KeepAlive> {
        self.keep_alive.as_ref().filter(|keep_alive| keep_alive.suits(notation))
    }

    /// Whether all events are counted.
    pub(crate) fn counts_all_events(&self) -> bool {
        self.ids.is_some() || self.count_events
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_alive: None,
            ids: None,
            hold_limit: Self::HOLD_LIMIT,
            restate: false,
            count_events: false,
            observation: Observation::Nothing,
            on_error: None,
            error_retry: ERROR_RETRY,
            words: None,
            close_at_end: None,
            around_another: false,
            rotation: Some(Rotation::default()),
        }
    }
}

/// When streams are ended for their age, and how.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    pub(crate) max_age: Option<Duration>,
    /// The longest time without an event of the stream's own.
    pub(crate) idle: Option<Duration>,
    /// How long clients are to wait, each its own time from this range.
    pub(crate) retry: RangeInclusive<Duration>,
    pub(crate) farewell: Farewell,
}

impl Default for Rotation {
    /// Ends only streams whose credential expires.
    fn default() -> Self {
        let retry = Duration::from_millis(100)..=Duration::from_secs(1);
        Self { max_age: None, idle: None, retry, farewell: Farewell::default() }
    }
}

impl Rotation {
    /// Whether streams without an expiry are ended, too.
    pub(crate) fn is_on(&self) -> bool {
        self.max_age.is_some() || self.idle.is_some()
    }

    /// The age at which the `n`-th stream ends: within the last fifth of the maximum age.
    pub(super) fn age_of(&self, n: u32) -> Option<Duration> {
        let most = self.max_age?.min(MAX_TIMER);
        let fifth = most / 5;
        Some(fifth * 4 + Spread::nth(n.into()).of(fifth))
    }
}

/// How long clients wait after an error, where no drain says so: a little, and not all the same.
pub(crate) const ERROR_RETRY: RangeInclusive<Duration> =
    Duration::from_millis(500)..=Duration::from_secs(5);
