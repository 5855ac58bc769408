//! [`MemoryLog`], a log in the memory of the process.

mod builder;
mod directory;
mod due;
mod encoding;
mod feed;
mod follower;
mod inner;
mod last;
mod log_state;
mod merged;
mod messages;
mod stored;
mod topic;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Appended, EventLog, Logged, MessageId, Page, Start, Topic, Topics};
use crate::sync::now;
use crate::wire::{Event, EventId};

pub use builder::MemoryLogBuilder;
pub use follower::MemoryFollower;
use inner::MemoryLogInner;

/// A log in the memory of the process.
///
/// Each topic keeps a window of its last events, which is bounded by their number, their bytes and
/// their age. Followers read from the window: a follower costs a position and a waker, and an event
/// is encoded once. A follower that falls out of the window gets a [`Gap`](super::Gap). Appending
/// waits for no follower.
///
/// Ids are `<epoch>-<sequence>`. The epoch is random, so that ids of another process are not taken
/// for ids of this one: a client that sends one gets a gap. The sequence is one over all topics and
/// has holes.
///
/// # Topics begin and end
///
/// A topic begins with its first event or follower. It ends when it has been idle for a time: it
/// has no event in its window, no new event, and no follower that follows it by name.
///
/// For a topic that ended the log remembers up to where its events are lost, so that a client that
/// missed some of them gets a gap and a client that missed none does not. The log remembers this by
/// name for the last 16,384 topics that ended. For topics that ended earlier it remembers one
/// position for all of them: a client may then get a gap in a topic that lost nothing. A false gap
/// is better than a loss that the client does not learn of.
///
/// There are no timers and no tasks: now and then, a call of the log looks at up to 256 topics
/// whose time has come, or at all of them before it refuses a topic that is one too many.
///
/// # Followers of several topics
///
/// A follower of several topics returns their events in the order of the ids. Each time it is woken
/// it looks at those topics that it follows by name, of which there are at most 256. All followers
/// of the same patterns share a list of the last 1,024 events that match, so an event costs the
/// same however many topics there are. Only a follower that is before that list looks at the topics
/// themselves, at up to 1,024 in one poll.
///
/// # Examples
///
/// ```
/// use tower_sse::event_log::{MemoryLog, Topic};
/// use tower_sse::Event;
///
/// let log = MemoryLog::builder().events(256).build()?;
/// let id = log.append_now(&Topic::new("news")?, Event::new().data("extra"))?;
/// assert!(id.as_str().len() <= 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<MemoryLogInner>,
}

impl MemoryLog {
    /// Creates a log with the default settings: see [`MemoryLogBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::with(MemoryLogBuilder::default())
    }

    /// Creates a builder, which sets the limits of a log.
    pub fn builder() -> MemoryLogBuilder {
        MemoryLogBuilder::default()
    }

    fn with(limits: MemoryLogBuilder) -> Self {
        Self { inner: Arc::new(MemoryLogInner::new(limits)) }
    }

    /// Appends an event, and wakes the followers of its topic.
    ///
    /// It can be called from any thread, and never waits for a follower.
    ///
    /// # Errors
    ///
    /// [`MemoryLogError`] if the event has no data or is too long, or if its topic is one too many.
    pub fn append_now(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.inner.append(topic, &event)
    }

    /// Appends an event once for a message id, as [`append_once`](EventLog::append_once) does, and
    /// wakes the followers of its topic.
    ///
    /// It can be called from any thread, and never waits for a follower.
    ///
    /// # Errors
    ///
    /// As of [`append_now`](Self::append_now). An event that is refused takes no message id.
    pub fn append_once_now(
        &self,
        topic: &Topic,
        event: Event,
        message: &MessageId,
    ) -> Result<Appended, MemoryLogError> {
        self.inner.append_once(topic, &event, message)
    }

    /// The number of topics, including topics that have followers and no events.
    ///
    /// Topics that have been idle for long enough are ended first.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.inner.sweep_all(now());
        self.inner.topics()
    }

    /// The number of events in the window of a topic, and the number of their bytes.
    #[must_use]
    pub fn window(&self, topic: &Topic) -> (usize, usize) {
        self.inner.get(topic).map_or((0, 0), |cell| {
            let window = &cell.trimmed(now(), &self.inner.state).window;
            (window.len(), window.bytes())
        })
    }

    /// The number of followers that follow a topic by its name. Followers of patterns are not
    /// counted.
    #[must_use]
    pub fn followers(&self, topic: &Topic) -> usize {
        self.inner.get(topic).map_or(0, |cell| cell.lock().followers as usize)
    }
}

impl EventLog for MemoryLog {
    type Error = MemoryLogError;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.append_now(topic, event)
    }

    fn append_at_once(
        &self,
        topic: &Topic,
        event: &Event,
    ) -> Option<Result<EventId, MemoryLogError>> {
        Some(self.inner.append(topic, event))
    }

    async fn append_once(
        &self,
        topic: &Topic,
        event: Event,
        message: &MessageId,
    ) -> Option<Result<Appended, MemoryLogError>> {
        Some(self.append_once_now(topic, event, message))
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        MemoryFollower::new(&self.inner, &topics, from)
    }

    async fn read(&self, topic: &Topic, from: Start, limit: usize) -> Result<Page, MemoryLogError> {
        Ok(MemoryFollower::read(&self.inner, topic, from, limit))
    }

    async fn last(&self, topics: &Topics, count: usize) -> Result<Vec<Logged>, MemoryLogError> {
        Ok(self.inner.last(topics, count).await)
    }

    async fn forget(&self, topic: &Topic, after: Duration) -> Result<(), MemoryLogError> {
        self.inner.forget(topic, after);
        Ok(())
    }

    fn is_final(_: &MemoryLogError) -> bool {
        true
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, MemoryLogError> {
        // A sequence of no event: it is after all events, and reveals no id of another topic.
        let state = &self.inner.state;
        Ok(state.epoch.id(state.next_sequence()))
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog")
            .field("limits", &self.inner.state.limits)
            .field("topics", &self.inner.topics())
            .finish_non_exhaustive()
    }
}

/// Why a [`MemoryLog`] did not append an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryLogError {
    /// The event has no data, so clients would not dispatch it.
    NoData,
    /// The event is longer than [all bytes that a topic keeps](MemoryLogBuilder::bytes).
    TooLong,
    /// The event's topic would be one more than [the log holds](MemoryLogBuilder::topics).
    TooManyTopics,
}

impl fmt::Display for MemoryLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoData => "the event has no data",
            Self::TooLong => "the event is longer than what a topic may keep",
            Self::TooManyTopics => "the log has as many topics as it may have",
        })
    }
}

impl Error for MemoryLogError {}
