//! What a process remembers of the feed that it read, to notice that another server has another
//! one.

use std::collections::VecDeque;

/// The last sequences of the feed that a process has read.
///
/// Each entry of the feed names the entry before it. If a server names one that this process has
/// not read, though it has read later ones, then that server took events of its own while this
/// process read from another: after a server hangs, another takes its place, and the first one goes
/// on for a moment, both have events that the other one lacks, in one order by their sequences.
///
/// If it names one that was read, the server only forgot what came after that.
#[derive(Debug)]
pub(super) struct FeedHistory {
    sequences: VecDeque<u64>,
}

impl FeedHistory {
    /// A history that begins after an entry.
    pub(super) fn after(sequence: u64) -> Self {
        Self { sequences: VecDeque::from([sequence]) }
    }

    /// Adds the next entry, whose sequence is larger than all others.
    pub(super) fn add(&mut self, sequence: u64) {
        if self.sequences.len() == MAX_REMEMBERED {
            self.sequences.pop_front();
        }
        self.sequences.push_back(sequence);
    }

    /// Whether an entry is known to have been read. One that is too old counts as one that was not.
    pub(super) fn has(&self, sequence: u64) -> bool {
        self.sequences.binary_search(&sequence).is_ok()
    }
}

/// A server that crashed has forgotten about a second of events. If they were more, clients that
/// were sent them get a gap, too. It takes 64 KiB at most.
const MAX_REMEMBERED: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_has_the_last_entries_and_no_other() {
        let mut history = FeedHistory::after(10);
        for sequence in (20..).step_by(10).take(MAX_REMEMBERED) {
            history.add(sequence);
        }
        assert!(!history.has(10), "it is too old");
        assert!(history.has(20) && history.has(10 * (MAX_REMEMBERED as u64 + 1)));
        assert!(!history.has(25) && !history.has(u64::MAX));
        assert_eq!(history.sequences.len(), MAX_REMEMBERED);
    }
}
