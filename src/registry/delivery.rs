//! What became of an event that was sent into streams.

use std::error::Error;
use std::fmt;

/// What became of an event that was sent into several streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// Streams into which it will be written when they are polled next.
    pub sent: usize,
    /// Streams whose mailbox was full, so that they do not get it.
    pub dropped: usize,
}

/// Why an event could not be sent into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The stream is not open any more.
    Gone,
    /// As many events wait for the stream as its mailbox holds.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "the stream is not open any more",
            Self::Full => "the stream's mailbox is full",
        })
    }
}

impl Error for SendError {}
