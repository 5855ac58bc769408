//! The clock of Redis, as far as it is known here.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The clock of Redis: a moment of it, and when that was heard of.
///
/// Sequences are not before this clock. So what it showed for sure at a time is a place before all
/// events that are appended later, on whichever node.
#[derive(Debug)]
pub(super) struct Clock(Mutex<(u64, Instant)>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Mutex::new((0, Instant::now())))
    }

    /// Takes note of what an answer said, in microseconds.
    pub(super) fn heard(&self, micros: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (micros, Instant::now());
    }

    /// What it shows now at least, if it is not set back.
    pub(super) fn at_least(&self) -> u64 {
        let (heard, at) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(at.elapsed().as_micros()).unwrap_or(u64::MAX);
        // Two clocks differ by some seconds a day; this allows for more than a minute.
        heard + (passed - passed / 1000)
    }
}
