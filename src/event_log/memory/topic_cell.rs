//! One topic of a log in memory: its window, its followers, and how events are appended to it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::directory::EndedTopic;
use super::encoding::EncodedEvent;
use super::window::{StoredEvent, TopicWindow};
use super::{MemoryLogBuilder, MemoryLogError};
use crate::event_log::ids::LogEpoch;
use crate::event_log::wake_list::{WakeList, wake_and_recycle};
use crate::event_log::{Logged, Topic};
use crate::sync::lock;
use crate::wire::EventId;

/// One topic, from its creation to its end.
#[derive(Debug)]
pub(super) struct TopicCell {
    pub(super) topic: Topic,
    /// A sequence of the topic's own, before all of its events: a position that reveals no ids of
    /// other topics.
    pub(super) created: u64,
    /// What an earlier topic of the same name has lost.
    pub(super) before: EndedTopic,
    state: Mutex<TopicState>,
}

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) window: TopicWindow,
    /// The sequence up to which earlier topics whose names are forgotten may have lost events, if
    /// this may have been one of them.
    maybe_lost: u64,
    /// Whether an event was appended since the creation.
    has_events: bool,
    /// The followers that follow the topic by name, for which it stays.
    pub(super) followers: u32,
    last_append: Instant,
    pub(super) ended: bool,
    pub(super) wakers: WakeList,
}

/// State that all topics of a log share.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) epoch: LogEpoch,
    pub(super) limits: MemoryLogBuilder,
    /// The last sequence that was given out.
    ///
    /// The sequence of an event is taken under its topic's lock. So a caller that reads this and
    /// then takes that lock sees all events of the topic up to what it read.
    pub(super) head: AtomicU64,
    /// How many topics had an event since their creation.
    pub(super) topics: AtomicUsize,
}

impl LogState {
    pub(super) fn next_sequence(&self) -> u64 {
        self.head.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Why a topic did not append an event.
pub(super) enum AppendRefused {
    /// The topic has ended; there may be a new one of the same name.
    Ended,
    Error(MemoryLogError),
}

impl TopicCell {
    /// A topic of which an earlier topic of the same name has lost what is in `before`, and others
    /// perhaps events up to `maybe_lost`.
    pub(super) fn new(
        topic: Topic,
        created: u64,
        before: EndedTopic,
        maybe_lost: u64,
        now: Instant,
    ) -> Self {
        let state = TopicState {
            window: TopicWindow::new(before.lost),
            maybe_lost,
            has_events: false,
            followers: 0,
            last_append: now,
            ended: false,
            wakers: WakeList::new(),
        };
        Self { topic, created, before, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TopicState> {
        lock(&self.state)
    }

    /// Appends an event that is encoded up to its id, and wakes the followers that wait.
    pub(super) fn append(
        &self,
        event: &mut EncodedEvent,
        now: Instant,
        log: &LogState,
    ) -> Result<EventId, AppendRefused> {
        let mut state = self.lock();
        if state.ended {
            return Err(AppendRefused::Ended);
        }
        if !state.has_events {
            if log.topics.fetch_add(1, Ordering::Relaxed) >= log.limits.topics {
                log.topics.fetch_sub(1, Ordering::Relaxed);
                return Err(AppendRefused::Error(MemoryLogError::TooManyTopics));
            }
            state.has_events = true;
        }
        let sequence = log.next_sequence();
        let mut digits = itoa::Buffer::new();
        let id = [log.epoch.prefix(), digits.format(sequence)];
        state.last_append = now;
        state.window.push(StoredEvent {
            sequence,
            appended: now,
            bytes: event.finish(&id),
            // At most `MAX_MEMORY_ID_LEN`.
            id_len: u8::try_from(id[0].len() + id[1].len()).unwrap_or(u8::MAX),
        });
        state.window.trim(now, &log.limits);
        let wakers = state.wakers.take_all();
        drop(state);
        if let Some(wakers) = wakers {
            wake_and_recycle(wakers, || self.lock(), |state| &mut state.wakers);
        }
        Ok(EventId::from_parts(&id))
    }

    /// An event of the topic's window, to be returned to a follower.
    pub(super) fn logged(&self, event: StoredEvent) -> Logged {
        Logged::encoded(self.topic.clone(), event.bytes, usize::from(event.id_len))
    }
}

impl TopicState {
    /// Whether the topic may end: it has no events, none was appended for a time, and no follower
    /// follows it by name.
    pub(super) fn is_idle(&self, now: Instant, limits: &MemoryLogBuilder) -> bool {
        let quiet = now.saturating_duration_since(self.last_append) >= limits.idle;
        self.followers == 0 && self.window.is_empty() && (quiet || !self.has_events)
    }

    /// Ends the topic, and returns what is lost with it.
    pub(super) fn end(&mut self, cell: &TopicCell, log: &LogState) -> EndedTopic {
        self.ended = true;
        if !self.has_events {
            return cell.before;
        }
        log.topics.fetch_sub(1, Ordering::Relaxed);
        EndedTopic { lost: self.window.lost(), created: cell.created }
    }

    /// Whether events after `position` are lost, or may be.
    pub(super) fn has_lost(&self, position: u64) -> bool {
        self.window.lost().max(self.maybe_lost) > position
    }
}
