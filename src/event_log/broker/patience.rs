//! How long an answer of a broker is waited for.

use std::time::Duration;

/// How long the next request waits for its answer. After one that had none in time it is twice as
/// long, so that a long answer comes in the end, over a slow connection, too.
#[derive(Debug)]
pub(in crate::event_log) struct Patience(Duration);

impl Patience {
    pub(in crate::event_log) fn new() -> Self {
        Self(RESPONSE_TIMEOUT)
    }

    pub(in crate::event_log) fn get(&self) -> Duration {
        self.0
    }

    /// There was no answer within the time.
    pub(in crate::event_log) fn double(&mut self) {
        self.0 = (self.0 * 2).min(MAX_PATIENCE);
    }
}

/// How long an answer to a request of a follower or the reader may take at first.
pub(in crate::event_log) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest time that an answer may take.
pub(in crate::event_log) const MAX_PATIENCE: Duration = Duration::from_secs(60);
