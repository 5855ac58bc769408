//! Settings of a log in memory.

use std::time::Duration;

use super::MemoryLog;
use crate::InvalidSetting;

/// Settings of a [`MemoryLog`].
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
    /// Sets how many events a topic keeps; by default 1,024, which is a quarter of an hour at one a
    /// second, and longer than any client needs to come back.
    pub fn events(mut self, count: usize) -> Self {
        self.events = count;
        self
    }

    /// Sets how many bytes of encoded events a topic keeps; by default 1 MiB, which leaves 1 KiB for
    /// each of the events. An event that is longer than that is refused.
    ///
    /// On the heap an event takes up to a fifth more than its bytes. A topic whose followers were
    /// given several events in one piece keeps that, too, until its first event is trimmed: at most
    /// 16 KiB, and never more than the events themselves.
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how long an event is kept; by default 5 minutes: browsers come back within seconds, and a
    /// phone within minutes when it leaves a tunnel.
    ///
    /// It is trimmed by the next call that has to do with its topic, so it may be there for longer
    /// where nothing happens.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Sets after what time a topic ends that has neither followers nor events, once the last event
    /// has reached its age; by default 10 minutes.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets how many topics there may be, those aside that are only followed; by default 65,536. An
    /// event for one more is refused.
    ///
    /// An empty topic takes about half a KiB.
    pub fn topics(mut self, count: usize) -> Self {
        self.topics = count;
        self
    }

    /// The log.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if a topic could keep no event, or if there could be no topic.
    pub fn build(self) -> Result<MemoryLog, InvalidSetting> {
        let none = [("events", self.events == 0), ("bytes", self.bytes == 0)];
        for (setting, none) in none.into_iter().chain([("age", self.age.is_zero())]) {
            if none {
                return Err(InvalidSetting::new(setting, "a topic must keep an event at least"));
            }
        }
        match self.topics {
            0 => Err(InvalidSetting::new("topics", "there must be one at least")),
            _ => Ok(MemoryLog::with(self)),
        }
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
