//! Which streams a drain is about, how they ended, and the report of it.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::engine::EndReason;

/// What a stream is to a drain: open only, or a member with a number.
///
/// It is written under the locks of the roster. So each stream is counted once or not at all, also
/// one that leaves at the moment of the trigger. One number holds both, which is memory of every
/// stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainStatus(NonZeroU32);

impl DrainStatus {
    /// No drain has come by.
    pub(crate) const OPEN: Self = Self(NonZeroU32::MIN);

    /// The number of the member, from 1 on.
    pub(super) fn member(self) -> Option<u32> {
        Some(self.0.get() - 1).filter(|number| *number > 0)
    }
}

/// Counts the members of a drain: the streams that were open when it began, or opened during its
/// notice.
#[derive(Debug, Default)]
pub(super) struct DrainTally {
    admitted: AtomicUsize,
    /// How many ended, by [`EndReason::index`], without those that were open up to the deadline.
    ended: [AtomicUsize; EndReason::ALL.len()],
}

impl DrainTally {
    /// Makes a stream a member, if it is not one. Returns its number, from 1 on, and whether it is
    /// new.
    pub(super) fn admit(&self, status: &mut DrainStatus) -> (u32, bool) {
        if let Some(number) = status.member() {
            return (number, false);
        }
        let before = u32::try_from(self.admitted.fetch_add(1, Relaxed)).unwrap_or(u32::MAX);
        let number = before.saturating_add(1);
        *status = DrainStatus(DrainStatus::OPEN.0.saturating_add(number));
        (number, true)
    }

    /// Counts how a member ended.
    pub(super) fn record_end(&self, reason: EndReason) {
        self.ended[reason.index()].fetch_add(1, Relaxed);
    }

    pub(super) fn report(&self, elapsed: Duration) -> DrainReport {
        // Each count is read once. Streams that leave meanwhile are in one count or in the other,
        // and those that are in none were open at the deadline.
        let ended = EndReason::ALL.map(|reason| self.ended[reason.index()].load(Relaxed));
        let [closed, cut, stalled] = [EndReason::Closed, EndReason::Cut, EndReason::Stalled]
            .map(|reason| ended[reason.index()]);
        let all: usize = ended.iter().sum();
        DrainReport {
            closed,
            finished: all - closed - cut - stalled,
            cut,
            stalled,
            forced: self.admitted.load(Relaxed).saturating_sub(all),
            elapsed,
        }
    }
}

/// What happened to the streams that were open when a drain began, or opened during its notice.
///
/// Each of them is in exactly one of the counts.
///
/// With the feature `serde` it serialises with these fields, except that `elapsed` becomes
/// `elapsed_secs`, in seconds.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let report = tower_sse::Shutdown::new().drain().await;
/// let without_farewell = report.cut + report.stalled + report.forced;
/// assert_eq!(without_farewell, 0, "of {} streams", report.streams());
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Streams that got their farewell.
    pub closed: usize,
    /// Streams that ended before it was their turn: they came to their own end, failed, were closed
    /// by the application, or lost their client.
    pub finished: usize,
    /// Streams that ended in the middle of an event that was too long to hold, without a farewell.
    pub cut: usize,
    /// Streams whose connection was given up before the deadline, because the client took nothing
    /// for the [stall limit](crate::ShutdownBuilder::stall_limit).
    pub stalled: usize,
    /// Streams that were still open at the deadline, because the client does not read, or not fast
    /// enough. [Guarded](crate::Shutdown::guard) connections are given up then.
    pub forced: usize,
    /// The time from the trigger to the end, with the notice.
    pub elapsed: Duration,
}

/// All of it in one line.
impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { closed, finished, cut, stalled, forced, elapsed } = self;
        let (streams, seconds) = (self.streams(), elapsed.as_secs_f32());
        let noun = if streams == 1 { "stream" } else { "streams" };
        write!(f, "{streams} {noun} in {seconds:.1} s: {closed} closed, {finished} finished, ")?;
        write!(f, "{cut} cut, {stalled} stalled, {forced} forced")
    }
}

impl DrainReport {
    /// All streams that the report is about.
    #[must_use]
    pub const fn streams(&self) -> usize {
        self.closed + self.finished + self.cut + self.stalled + self.forced
    }
}
