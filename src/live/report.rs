//! What happened to the streams of a drain.

use std::time::Duration;

use super::Drain;
use crate::engine::EndReason;

/// What happened to the streams that were open when a drain began.
///
/// With the feature `serde` it serialises with these fields, but for `elapsed_secs`, in seconds, in
/// place of `elapsed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// They got their farewell.
    pub closed: usize,
    /// They were over before it was their turn: they came to their own end, failed, were closed
    /// by the application, or their client went away.
    pub finished: usize,
    /// They ended in the middle of an event too long to hold back, without a farewell.
    pub cut: usize,
    /// They were still open when the deadline had passed: their clients do not read.
    pub forced: usize,
    /// How long it took, from the trigger on.
    pub elapsed: Duration,
}

impl DrainReport {
    pub(super) fn of(drain: &Drain, elapsed: Duration) -> Self {
        let (closed, cut) = (drain.ended(EndReason::Closed), drain.ended(EndReason::Cut));
        let all: usize = EndReason::ALL.iter().map(|&reason| drain.ended(reason)).sum();
        Self { closed, finished: all - closed - cut, cut, forced: drain.roster.len(), elapsed }
    }
}
