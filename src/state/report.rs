//! What happened to the streams of a drain.

use std::time::Duration;

use super::tally::DrainTally;
use crate::engine::EndReason;

/// What happened to the streams that were open when a drain began, or opened during its notice.
///
/// Each of them is in exactly one of the counts.
///
/// With the feature `serde` it serialises with these fields, but for `elapsed_secs`, in seconds, in
/// place of `elapsed`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let report = tower_sse::Shutdown::new().drain().await;
/// let not_told = report.cut + report.stalled + report.forced;
/// assert_eq!(not_told, 0, "of {} streams", report.streams());
/// # }
/// ```
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
    /// Their connection was given up before the deadline, since their client had not taken
    /// anything for the [stall limit](crate::ShutdownBuilder::stall_limit).
    pub stalled: usize,
    /// They were still open at the deadline: their clients do not read, or not fast enough. A
    /// [guarded](crate::Shutdown::guard) connection is given up then.
    pub forced: usize,
    /// How long it took, from the trigger on, the notice included.
    pub elapsed: Duration,
}

impl DrainReport {
    /// All streams that the report is about.
    #[must_use]
    pub const fn streams(&self) -> usize {
        self.closed + self.finished + self.cut + self.stalled + self.forced
    }

    pub(super) fn of(members: &DrainTally, elapsed: Duration) -> Self {
        // Each count is looked at once. Streams that leave meanwhile are in the one or in the
        // other, and those that are in none were open at the deadline.
        let ended = EndReason::ALL.map(|reason| members.ended(reason));
        let [closed, cut, stalled] = [EndReason::Closed, EndReason::Cut, EndReason::Stalled]
            .map(|reason| ended[reason.index()]);
        let all: usize = ended.iter().sum();
        Self {
            closed,
            finished: all - closed - cut - stalled,
            cut,
            stalled,
            forced: members.all().saturating_sub(all),
            elapsed,
        }
    }
}
