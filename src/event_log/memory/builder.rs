//! The limits of a log in memory.

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
    pub(super) followed: usize,
    total_bytes: Option<usize>,
    pub(super) duplicate_window: Duration,
    pub(super) message_ids: usize,
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
    /// On the heap an event takes up to a quarter more than its bytes, and 160 bytes. If followers
    /// of a topic were given several events as one piece, the topic keeps a copy of that piece
    /// until its first event is trimmed: at most 16 KiB, and never more than the events themselves.
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
    /// in a topic in which nothing happens. The event that [finishes](crate::Hub::finish) a topic
    /// stays as long as the topic, if no event follows it.
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
    /// The default is 65,536. A topic takes about 710 bytes with an event of 100 bytes and a
    /// name as long as a UUID.
    pub fn topics(mut self, count: usize) -> Self {
        self.topics = count;
        self
    }

    /// Sets how many topics there may be that have no event and are only followed by name. A
    /// follower of one more ends at once: its `poll_next` returns `None`.
    ///
    /// Names of topics may come from clients. As long as a UUID, each takes about 650 bytes with
    /// its follower. The default is 262,144, which is a name of their own for more clients than a
    /// process serves, and 164 MiB.
    pub fn followed(mut self, count: usize) -> Self {
        self.followed = count;
        self
    }

    /// Sets how many bytes of encoded events all topics keep together.
    ///
    /// If they have more, those events are removed first that would be too old first, whatever
    /// their topics are. So quiet topics lose events to busy ones, and their clients get a gap, as
    /// with any event that is removed.
    ///
    /// The default is 256 MiB, or what [one topic](Self::bytes) may keep if that is more. With the
    /// default number of topics it is 4 KiB for each.
    pub fn total_bytes(mut self, bytes: usize) -> Self {
        self.total_bytes = Some(bytes);
        self
    }

    /// Sets for how long a [message id](crate::event_log::MessageId) is taken.
    ///
    /// The default is 2 minutes, as of the other logs: a caller that is not answered tries again
    /// within seconds, and one whose process was restarted within a minute.
    pub fn duplicate_window(mut self, time: Duration) -> Self {
        self.duplicate_window = time;
        self
    }

    /// Sets how many message ids are remembered, of all topics together. If more are taken within
    /// the [window](Self::duplicate_window), the oldest are forgotten before their time.
    ///
    /// The default is 65,536, which is 500 messages a second for 2 minutes. With ids and names of
    /// topics as long as a UUID that is 20 MiB, and 47 MiB if both are the longest.
    pub fn message_ids(mut self, count: usize) -> Self {
        self.message_ids = count;
        self
    }

    /// Builds the log.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] if a topic could keep no event, if there could be no topic, if no message
    /// id could be remembered, or if all topics together may keep fewer bytes than one.
    pub fn build(self) -> Result<MemoryLog, InvalidSetting> {
        for (setting, is_zero) in [
            ("events", self.events == 0),
            ("bytes", self.bytes == 0),
            ("age", self.age.is_zero()),
            ("topics", self.topics == 0),
            ("followed", self.followed == 0),
            ("duplicate_window", self.duplicate_window.is_zero()),
            ("message_ids", self.message_ids == 0),
        ] {
            if is_zero {
                return Err(InvalidSetting::new(setting, "it must not be zero"));
            }
        }
        if self.total_bytes.is_some_and(|total| total < self.bytes) {
            let problem = "it must not be less than the bytes of one topic";
            return Err(InvalidSetting::new("total_bytes", problem));
        }
        Ok(MemoryLog::with(self))
    }

    /// The most bytes of all topics.
    pub(super) fn most_bytes(&self) -> usize {
        self.total_bytes.unwrap_or(self.bytes.max(TOTAL_BYTES))
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
            followed: 262_144,
            total_bytes: None,
            duplicate_window: Duration::from_secs(2 * 60),
            message_ids: 65_536,
        }
    }
}

/// The most bytes of all topics by default.
const TOTAL_BYTES: usize = 256 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_topics_together_have_256_mib_or_what_one_may_have() {
        let mib = 1024 * 1024;
        assert_eq!(MemoryLog::builder().most_bytes(), 256 * mib);
        assert_eq!(MemoryLog::builder().bytes(300 * mib).most_bytes(), 300 * mib);
    }
}
