//! An event as a broker keeps it.

use crate::log::Logged;

/// An event as a broker keeps it.
#[derive(Clone, Debug)]
pub(in crate::log) struct Entry {
    /// Tells the log from one that was there before its broker lost all.
    pub(in crate::log) epoch: u64,
    pub(in crate::log) sequence: u64,
    /// The sequence before it in its topic; where that is not known, one that is at least that.
    pub(in crate::log) before: u64,
    pub(in crate::log) logged: Logged,
}
