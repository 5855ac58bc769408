//! All topics by name, and what is remembered of those that have ended.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use super::cell::{Cell, Common};
use super::ended::Ended;
use crate::event_log::{Topic, Topics};

/// All topics by name, and what is remembered of those that have ended.
#[derive(Debug, Default)]
pub(super) struct Directory {
    cells: HashMap<Topic, Arc<Cell>>,
    /// The same by their birth, for those who wait for topics to be born.
    births: BTreeMap<u64, Arc<Cell>>,
    /// What was lost with topics that ended.
    ended: HashMap<Topic, Ended>,
    /// The same of those that ended before these.
    ended_before: HashMap<Topic, Ended>,
    /// The same of all that ended before and whose names are forgotten.
    forgotten: Ended,
    /// No topic that ended was born behind this.
    youngest_ended: u64,
    /// How many topics there may be until the next sweep.
    sweep_at: usize,
}

impl Directory {
    pub(super) fn get(&self, topic: &Topic) -> Option<&Arc<Cell>> {
        self.cells.get(topic)
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Arc<Cell>> {
        self.cells.values()
    }

    /// The topics that were born behind `birth`, in order.
    pub(super) fn born_behind(&self, birth: u64) -> impl Iterator<Item = &Arc<Cell>> {
        self.births.range((Bound::Excluded(birth), Bound::Unbounded)).map(|(_, cell)| cell)
    }

    /// Makes a topic that is not there.
    pub(super) fn give_birth(&mut self, topic: &Topic, now: Instant, common: &Common) -> Arc<Cell> {
        let known = self.ended.remove(topic).or_else(|| self.ended_before.remove(topic));
        // Not known to have been: then it was not, or its name is forgotten.
        let unknown = if known.is_none() { self.forgotten.lost } else { 0 };
        let (born, before) = (common.next_sequence(), known.unwrap_or_default());
        let cell = Cell::new(topic.clone(), born, before, unknown, now);
        let cell = Arc::new(cell);
        self.cells.insert(topic.clone(), Arc::clone(&cell));
        self.births.insert(cell.born, Arc::clone(&cell));
        cell
    }

    /// Whether so many topics were born that a sweep is worth its while.
    pub(super) fn is_full(&self) -> bool {
        self.cells.len() >= self.sweep_at.max(FEW)
    }

    /// Ends a topic if it is idle still.
    pub(super) fn end(&mut self, cell: &Cell, now: Instant, common: &Common) {
        let mut state = cell.lock();
        if state.ended || !state.is_idle(now, &common.limits) {
            return;
        }
        let ended = state.end(cell, common);
        drop(state);
        self.cells.remove(&cell.topic);
        self.births.remove(&cell.born);
        if ended == Ended::default() {
            return;
        }
        self.youngest_ended = self.youngest_ended.max(ended.born);
        self.ended.insert(cell.topic.clone(), ended);
        if self.ended.len() >= REMEMBERED {
            let oldest = std::mem::take(&mut self.ended_before);
            self.forgotten = oldest.into_values().fold(self.forgotten, Ended::max);
            self.ended_before = std::mem::take(&mut self.ended);
        }
    }

    /// Takes note that a sweep is over.
    pub(super) fn swept(&mut self) {
        self.sweep_at = 2 * self.cells.len();
    }

    /// Whether a topic that fits a pattern and has ended lost events behind `place`, or perhaps so.
    pub(super) fn has_lost(&self, topics: &Topics, place: u64) -> bool {
        self.forgotten.lost > place || self.has_ended(topics, |ended| ended.lost > place)
    }

    /// Whether a topic that fits a pattern was born behind `birth` and has ended since, or perhaps so.
    pub(super) fn has_missed(&self, topics: &Topics, birth: u64) -> bool {
        self.youngest_ended > birth
            && (self.forgotten.born > birth || self.has_ended(topics, |ended| ended.born > birth))
    }

    fn has_ended(&self, topics: &Topics, how: impl Fn(&Ended) -> bool) -> bool {
        let mut ended = self.ended.iter().chain(&self.ended_before);
        ended.any(|(topic, ended)| how(ended) && topics.fits_pattern(topic))
    }
}

/// So many topics that ended are remembered by name, and up to as many more. A name is at most 256
/// bytes.
const REMEMBERED: usize = 8 * 1024;

/// Fewer topics than this are not swept for their number.
const FEW: usize = 64;
