//! The clock of Redis, as far as it is known here.

use std::sync::Mutex;
use std::time::Instant;

use crate::sync::lock;

/// The clock of Redis: a moment of it, and when that was heard of.
///
/// Sequences are not before this clock. So what it showed for sure at a time is a place before all
/// events that are appended later, on whichever node. Where the clock was set back, sequences are ahead
/// of it, and go on from where they were, by one at a time.
#[derive(Debug)]
pub(super) struct Clock(Mutex<Heard>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// In microseconds.
    now: u64,
    sequence: u64,
    at: Instant,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Heard { now: 0, sequence: 0, at: Instant::now() }))
    }

    /// Takes note of what an answer said: the clock, in microseconds, and the last sequence.
    pub(super) fn heard(&self, now: u64, sequence: u64) {
        let heard = Heard { now, sequence, at: Instant::now() };
        *lock(&self.0) = heard;
    }

    /// A place before all that is appended from now on, if the clock is not set back meanwhile.
    pub(super) fn at_least(&self) -> u64 {
        let heard = *lock(&self.0);
        let passed = u64::try_from(heard.at.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Two clocks differ by some seconds a day; this allows for more than a minute.
        heard.sequence.max(heard.now + (passed - passed / 1000))
    }
}
