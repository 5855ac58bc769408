//! Tells, without a poll, that a stream is not polled.

use std::time::Instant;

use super::keep_alive::Sent;
use super::{Engine, Settings};

impl<S: AsRef<Settings>> Engine<S> {
    /// When it was to be called at the latest, if it was not polled since.
    ///
    /// That cannot be told of every stream: a busy one is given frames without a look at the time.
    pub(crate) fn overdue(&self) -> Option<Instant> {
        // A stream that is closing looks at the time whenever it is polled; others when their body
        // has nothing, and a frame in between has left its trace.
        let would_show = self.is_closing() || self.sent != Sent::Something;
        self.next_timeout().filter(|_| would_show)
    }
}
