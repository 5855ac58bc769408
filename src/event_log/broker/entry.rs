//! An event as a broker keeps it.

use crate::event_log::Logged;

/// An event as a broker keeps it.
#[derive(Clone, Debug)]
pub(in crate::event_log) struct Entry {
    /// Tells the log from one that was there before its broker lost all.
    pub(in crate::event_log) epoch: u64,
    pub(in crate::event_log) sequence: u64,
    /// The sequence before it in its topic; where that is not known, one that is at least that.
    pub(in crate::event_log) before: u64,
    pub(in crate::event_log) logged: Logged,
}
