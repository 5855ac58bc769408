//! Whom a drain is about, and how they ended.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::engine::EndReason;

/// What a stream is to a drain. Written under the locks of the roster, so that each stream is
/// counted once or not at all, also one that leaves at the moment of the trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainStatus {
    /// It entered, and no drain has come by.
    Open,
    Member,
    /// It is about to leave.
    Gone,
}

/// How many streams a drain is about: those that were open when it began or opened during its
/// notice.
#[derive(Debug, Default)]
pub(super) struct DrainTally {
    all: AtomicUsize,
    /// By reason, but for those that were open up to the deadline.
    ended: [AtomicUsize; EndReason::ALL.len()],
}

impl DrainTally {
    /// Makes a stream one of them.
    pub(super) fn admit(&self, status: &mut DrainStatus) {
        if *status == DrainStatus::Open {
            *status = DrainStatus::Member;
            self.all.fetch_add(1, Relaxed);
        }
    }

    /// Takes note of how one of them ended.
    pub(super) fn leave(&self, reason: EndReason) {
        self.ended[reason.index()].fetch_add(1, Relaxed);
    }

    pub(super) fn all(&self) -> usize {
        self.all.load(Relaxed)
    }

    pub(super) fn ended(&self, reason: EndReason) -> usize {
        self.ended[reason.index()].load(Relaxed)
    }
}
