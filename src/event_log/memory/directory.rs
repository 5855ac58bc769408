//! The topics of a log in memory: one topic, all of them by name, and what is remembered of topics
//! that have ended.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::encoding::EncodedEvent;
use super::window::{StoredEvent, TopicWindow};
use super::{MemoryLogBuilder, MemoryLogError};
use crate::event_log::finish::finish_id;
use crate::event_log::ids::LogEpoch;
use crate::event_log::wake_list::{WakeList, wake_and_recycle};
use crate::event_log::{Logged, Topic, Topics};
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
        let bytes = event.finish(&id);
        state.window.push(StoredEvent {
            sequence,
            appended: now,
            finishes: finish_id(&bytes).is_some(),
            bytes,
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
        let quiet = quiet || !self.has_events || self.window.is_forgotten(now);
        self.followers == 0 && self.window.is_empty() && quiet
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

/// All topics by name, and what is remembered of topics that have ended.
///
/// A topic that ended is remembered by name, so that a client that missed some of its events is
/// told of a gap and a client that missed none is not. One watermark for all of them would tell
/// each client of a quiet topic of a gap, because other topics have lost events since.
#[derive(Debug, Default)]
pub(super) struct Directory {
    cells: HashMap<Topic, Arc<TopicCell>>,
    /// The topics of `cells` by their creation, for followers of patterns.
    by_creation: BTreeMap<u64, Arc<TopicCell>>,
    /// The topics that ended last.
    ended: HashMap<Topic, EndedTopic>,
    /// The topics that ended before those.
    ended_earlier: HashMap<Topic, EndedTopic>,
    /// The maximum over all topics that ended earlier still, whose names are forgotten.
    forgotten: EndedTopic,
    /// The last creation of a topic that has ended.
    last_ended_creation: u64,
    /// How many topics there may be until the next sweep.
    sweep_at: usize,
}

/// What is remembered of a topic that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EndedTopic {
    /// The sequence of its last event.
    pub(super) lost: u64,
    /// The creation of the last topic of this name that had events.
    pub(super) created: u64,
}

impl EndedTopic {
    fn max(self, other: Self) -> Self {
        Self { lost: self.lost.max(other.lost), created: self.created.max(other.created) }
    }
}

impl Directory {
    pub(super) fn get(&self, topic: &Topic) -> Option<&Arc<TopicCell>> {
        self.cells.get(topic)
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<TopicCell>> {
        self.cells.values()
    }

    /// The topics that were created after the creation `after`, in order.
    pub(super) fn created_after(&self, after: u64) -> impl Iterator<Item = &Arc<TopicCell>> {
        self.by_creation.range((Bound::Excluded(after), Bound::Unbounded)).map(|(_, cell)| cell)
    }

    /// Creates a topic that is not there.
    pub(super) fn create(&mut self, topic: &Topic, now: Instant, log: &LogState) -> Arc<TopicCell> {
        let cell = self.make(topic, now, log);
        self.ended.remove(topic);
        self.ended_earlier.remove(topic);
        self.cells.insert(topic.clone(), Arc::clone(&cell));
        self.by_creation.insert(cell.created, Arc::clone(&cell));
        cell
    }

    /// Makes a topic that is not there.
    pub(super) fn make(&self, topic: &Topic, now: Instant, log: &LogState) -> Arc<TopicCell> {
        let known = self.ended.get(topic).or_else(|| self.ended_earlier.get(topic)).copied();
        // If it is not known, it either never was or its name is forgotten.
        let maybe_lost = if known.is_none() { self.forgotten.lost } else { 0 };
        let (created, before) = (log.next_sequence(), known.unwrap_or_default());
        Arc::new(TopicCell::new(topic.clone(), created, before, maybe_lost, now))
    }

    /// Whether so many topics were created that a sweep is worth its cost.
    pub(super) fn is_full(&self) -> bool {
        self.cells.len() >= self.sweep_at.max(MIN_SWEPT)
    }

    /// Ends a topic if it is still idle.
    pub(super) fn end_if_idle(&mut self, cell: &TopicCell, now: Instant, log: &LogState) {
        let mut state = cell.lock();
        if state.ended || !state.is_idle(now, &log.limits) {
            return;
        }
        let ended = state.end(cell, log);
        drop(state);
        self.cells.remove(&cell.topic);
        self.by_creation.remove(&cell.created);
        if ended == EndedTopic::default() {
            return;
        }
        self.last_ended_creation = self.last_ended_creation.max(ended.created);
        self.ended.insert(cell.topic.clone(), ended);
        if self.ended.len() >= MAX_REMEMBERED {
            let oldest = std::mem::take(&mut self.ended_earlier);
            self.forgotten = oldest.into_values().fold(self.forgotten, EndedTopic::max);
            self.ended_earlier = std::mem::take(&mut self.ended);
        }
    }

    /// Notes that a sweep is done.
    pub(super) fn swept(&mut self) {
        self.sweep_at = 2 * self.cells.len();
    }

    /// Whether a topic that matches a pattern and has ended lost events after `position`, or may
    /// have.
    pub(super) fn has_lost(&self, topics: &Topics, position: u64) -> bool {
        self.forgotten.lost > position || self.any_ended(topics, |ended| ended.lost > position)
    }

    /// Whether a topic that matches a pattern was created after the creation `after` and has ended
    /// since, or may have.
    pub(super) fn has_missed(&self, topics: &Topics, after: u64) -> bool {
        self.last_ended_creation > after
            && (self.forgotten.created > after
                || self.any_ended(topics, |ended| ended.created > after))
    }

    fn any_ended(&self, topics: &Topics, is: impl Fn(&EndedTopic) -> bool) -> bool {
        let mut ended = self.ended.iter().chain(&self.ended_earlier);
        ended.any(|(topic, ended)| is(ended) && topics.matches_pattern(topic))
    }
}

/// So many topics that ended are remembered by name, and up to as many that ended earlier. A name
/// is at most 256 bytes long.
const MAX_REMEMBERED: usize = 8 * 1024;

/// Fewer topics than this are not swept for their number.
const MIN_SWEPT: usize = 64;
