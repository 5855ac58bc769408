//! [`MemoryLogBuilder`]: the limits of a log in memory.

use std::time::Duration;

use super::MemoryLog;
use crate::InvalidSetting;

/// Sets the limits of a [`MemoryLog`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use tower_sse::event_log::MemoryLog;
///
/// let log = MemoryLog::builder().events(256).age(Duration::from_secs(60)).build()?;
/// # Ok::<(), tower_sse::InvalidSetting>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct MemoryLogBuilder {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
    pub(super) idle: Duration,
    pub(super) topics: usize,
}

impl MemoryLogBuilder {
    /// Sets how many events a topic keeps.
    ///
    /// The default is 1,024, which is a quarter of an hour at one event a second, and longer than
    /// any client needs to come back.
    pub fn events(mut self, count: usize) -> Self {
        self.events = count;
        self
    }

    /// Sets how many bytes of encoded events a topic keeps. A longer event is refused.
    ///
    /// The default is 1 MiB, which is 1 KiB for each of the 1,024 events.
    ///
    /// On the heap an event takes up to a fifth more than its bytes. If followers of a topic were
    /// given several events as one piece, the topic keeps a copy of that piece until its first
    /// event is trimmed: at most 16 KiB, and never more than the events themselves.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how long a topic keeps an event.
    ///
    /// The default is 5 minutes: browsers come back within seconds, and a phone that was in a
    /// tunnel within minutes.
    ///
    /// The next call that concerns the topic trims events that are too old, so they may stay longer
    /// in a topic in which nothing happens.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Sets how long after its last event a topic ends that has neither followers nor events.
    ///
    /// The default is 10 minutes.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets how many topics with events there may be. An event for one more topic is refused;
    /// topics that have followers only are not counted.
    ///
    /// The default is 65,536. An empty topic takes about half a KiB.
    pub fn topics(mut self, count: usize) -> Self {
        self.topics = count;
        self
    }

    /// Builds the log.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if a topic could keep no event, or if there could be no topic.
    pub fn build(self) -> Result<MemoryLog, InvalidSetting> {
        for (setting, is_zero) in [
            ("events", self.events == 0),
            ("bytes", self.bytes == 0),
            ("age", self.age.is_zero()),
            ("topics", self.topics == 0),
        ] {
            if is_zero {
                return Err(InvalidSetting::new(setting, "it must not be zero"));
            }
        }
        Ok(MemoryLog::with(self))
    }
}

impl Default for MemoryLogBuilder {
    fn default() -> Self {
        Self {
            events: 1024,
            bytes: 1024 * 1024,
            age: Duration::from_secs(5 * 60),
            idle: Duration::from_secs(10 * 60),
            topics: 65_536,
        }
    }
}
