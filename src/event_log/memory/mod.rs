//! A log in the process's memory.

mod builder;
mod cell;
mod directory;
mod ended;
mod epoch;
mod error;
mod follower;
mod join;
mod look;
mod many;
mod member;
mod packed;
mod piece;
mod scratch;
mod shared;
pub(super) mod wake_list;

use std::fmt;
use std::sync::Arc;

use super::{EventLog, Start, Topic, Topics};
use crate::wire::{Event, EventId};

pub use builder::MemoryLogBuilder;
pub use error::MemoryLogError;
pub use follower::MemoryFollower;
use shared::Shared;

/// A log in the process's memory.
///
/// Each topic keeps a window of its last events, bounded by their count, their bytes and their age.
/// Followers read from there: a follower costs a place and a waker, an event is encoded once, and
/// who falls out of the window is told so by a [`Gap`](super::Gap). Appending waits for nobody.
///
/// Ids are `<epoch>-<sequence>`. The epoch is random, so that ids of another process are not taken for
/// ids of this one: they are a gap. The sequence is one over all topics and has holes.
///
/// # Topics come and go
///
/// A topic begins with its first event or follower, and ends when it has been idle: with no event in
/// its window, no new one for a time, and nobody that follows it by name. Of a topic that ended is
/// remembered how far its events are lost, so that a client that missed some of them is told, and one
/// that did not is not. This is remembered by name for the last 8,192 to 16,384 topics that ended. Of
/// those before it is remembered as a whole: a client may then be told of a gap in a topic that lost
/// nothing. A false gap is better than a loss that nobody is told of.
///
/// There are no timers and no tasks: calls on the log sweep it now and then.
///
/// # Followers of many topics
///
/// They see the events of all their topics in the order of the ids. Whenever one of these was woken
/// it looks at each of its topics, so its cost grows with their number. A pattern costs the same for
/// each topic that fits.
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
    shared: Arc<Shared>,
}

impl MemoryLog {
    /// A log with the default settings: see [`MemoryLogBuilder`].
    #[must_use]
    pub fn new() -> Self {
        Self::with(MemoryLogBuilder::default())
    }

    /// Settings for a log.
    pub fn builder() -> MemoryLogBuilder {
        MemoryLogBuilder::default()
    }

    fn with(limits: MemoryLogBuilder) -> Self {
        Self { shared: Arc::new(Shared::new(limits)) }
    }

    /// Appends an event, from any thread. It waits for nobody, and wakes those who follow.
    ///
    /// # Errors
    ///
    /// [`MemoryLogError`] if the event has no data or is too long, or if its topic is one too many.
    pub fn append_now(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.shared.append(topic, &event)
    }

    /// How many topics there are, with those that are only followed. Topics that have been idle for
    /// long enough are gone.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.shared.sweep();
        self.shared.topics()
    }

    /// How many events there are in a topic, and their bytes.
    #[must_use]
    pub fn window(&self, topic: &Topic) -> (usize, usize) {
        self.shared.window(topic)
    }

    /// How many follow a topic by its name. Those whose patterns it fits are not counted.
    #[must_use]
    pub fn followers(&self, topic: &Topic) -> usize {
        self.shared.followers(topic)
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
        Some(self.shared.append(topic, event))
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        join::follow(self, topics, from)
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, MemoryLogError> {
        // A sequence of its own: it is behind all that there is, and reveals no id.
        Ok(self.shared.common.epoch.id(self.shared.common.next_sequence()))
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
            .field("limits", &self.shared.common.limits)
            .field("topics", &self.shared.topics())
            .finish_non_exhaustive()
    }
}
