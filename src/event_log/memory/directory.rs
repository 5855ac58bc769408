//! All topics of a log by name, and what is remembered of topics that have ended.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::topic_cell::{LogState, TopicCell};
use crate::event_log::{Topic, Topics};

/// All topics by name, and what is remembered of topics that have ended.
///
/// A topic that ended is remembered by name, so that a client that missed some of its events is
/// told of a gap and a client that missed none is not. One watermark for all of them would tell
/// each client of a quiet topic of a gap, because other topics have lost events since.
#[derive(Debug, Default)]
pub(super) struct Directory {
    cells: HashMap<Topic, Arc<TopicCell>>,
    /// The same topics by their creation, for followers of patterns.
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
        let known = self.ended.remove(topic).or_else(|| self.ended_earlier.remove(topic));
        // If it is not known, it either never was or its name is forgotten.
        let maybe_lost = if known.is_none() { self.forgotten.lost } else { 0 };
        let (created, before) = (log.next_sequence(), known.unwrap_or_default());
        let cell = Arc::new(TopicCell::new(topic.clone(), created, before, maybe_lost, now));
        self.cells.insert(topic.clone(), Arc::clone(&cell));
        self.by_creation.insert(cell.created, Arc::clone(&cell));
        cell
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
