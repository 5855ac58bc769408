//! Why an event is not kept in memory.

use std::error::Error;
use std::fmt;

/// An event that a [`MemoryLog`](super::MemoryLog) did not append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryLogError {
    /// It has no data: clients would not dispatch it.
    NoData,
    /// It is longer than all that a topic may keep.
    TooLong,
    /// Its topic would be one more than there may be.
    TooManyTopics,
}

impl fmt::Display for MemoryLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoData => "the event has no data",
            Self::TooLong => "the event is longer than what a topic may keep",
            Self::TooManyTopics => "there are as many topics as there may be",
        })
    }
}

impl Error for MemoryLogError {}
