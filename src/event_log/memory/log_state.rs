//! What all topics of a log in memory share: its epoch, its limits, and what is counted.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::MemoryLogBuilder;
use crate::event_log::ids::LogEpoch;

/// State that all topics of a log share.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) epoch: LogEpoch,
    pub(super) limits: MemoryLogBuilder,
    /// The last sequence that was given out.
    ///
    /// The sequence of an event is taken under its topic's lock. So a caller that reads this and
    /// then takes that lock sees all events of the topic up to what it read.
    head: AtomicU64,
    /// How many topics had an event since their creation.
    pub(super) topics: AtomicUsize,
    /// How many had none.
    pub(super) without_events: AtomicUsize,
    /// The bytes of all events.
    pub(super) bytes: AtomicUsize,
}

impl LogState {
    pub(super) fn new(limits: MemoryLogBuilder) -> Self {
        Self {
            epoch: LogEpoch::random(),
            limits,
            head: AtomicU64::new(0),
            topics: AtomicUsize::new(0),
            without_events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::SeqCst)
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.head.fetch_add(1, Ordering::SeqCst) + 1
    }
}
