//! Where a follower begins in its topics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::MemoryLog;
use super::cell::Cell;
use super::follower::MemoryFollower;
use super::many::Many;
use super::member::{Hold, Member};
use super::shared::SWEEP_EVERY;
use crate::event_log::{Start, Topics};
use crate::sync::now;

/// Begins to follow.
pub(super) fn follow(log: &MemoryLog, topics: Topics, from: Start) -> MemoryFollower {
    let shared = &log.shared;
    let now = now();
    shared.sweep_if_due(now, SWEEP_EVERY);
    // Read before the topics are looked at: what is appended behind it comes.
    let head = shared.common.head.load(Ordering::SeqCst);
    let known = match &from {
        Start::After(id) => shared.common.epoch.sequence(id).filter(|place| *place <= head),
        _ => None,
    };
    let at = Place::of(&from, known, head);
    let told = known.unwrap_or_default();
    let mut lost = matches!(at, Place::Nowhere);
    if let Some(topic) = topics.only() {
        let member = loop {
            let cell = shared.cell(topic, now);
            if let Some(member) = join(log, &cell, Hold::Stays, at, now, &mut lost) {
                break member;
            }
        };
        return MemoryFollower::one(log, member, told, asked(from, lost));
    }

    let mut members = Vec::new();
    for topic in topics.names() {
        members.push(loop {
            let cell = shared.cell(topic, now);
            if let Some(member) = join(log, &cell, Hold::Stays, at, now, &mut lost) {
                break member;
            }
        });
    }
    let mut births = 0;
    if topics.has_patterns() {
        let place = if let Place::Behind(place) = at { place } else { u64::MAX };
        let (cells, newest, ended) = shared.fitting(&topics, place);
        births = newest;
        lost |= ended;
        for cell in cells.iter().filter(|cell| topics.names().all(|name| *name != cell.topic)) {
            match join(log, cell, Hold::Ends, at, now, &mut lost) {
                Some(member) => members.push(member),
                // Ended just now, and was not among the ended yet.
                None => lost |= cell.lock().has_lost(place),
            }
        }
    }
    MemoryFollower::many(log, Many::new(topics, members, births), told, asked(from, lost))
}

/// What was asked for and cannot be had.
fn asked(from: Start, lost: bool) -> Option<Box<Start>> {
    lost.then(|| Box::new(from))
}

/// Where a follower begins in each of its topics.
#[derive(Clone, Copy, Debug)]
enum Place {
    Behind(u64),
    /// With the first event that there is, because it was asked for.
    Earliest,
    /// The same, because what was asked for is not known.
    Nowhere,
}

impl Place {
    fn of(from: &Start, known: Option<u64>, head: u64) -> Self {
        match (from, known) {
            (Start::Live, _) => Self::Behind(head),
            (Start::Earliest, _) => Self::Earliest,
            (Start::After(_), Some(place)) => Self::Behind(place),
            (Start::After(_), None) | (Start::Unknown, _) => Self::Nowhere,
        }
    }
}

fn join(
    log: &MemoryLog,
    cell: &Arc<Cell>,
    hold: Hold,
    at: Place,
    now: Instant,
    lost: &mut bool,
) -> Option<Member> {
    let joined = Member::join(cell, hold, |state| {
        state.trim(now, &log.shared.common.limits);
        match at {
            Place::Behind(place) => (state.behind(place), state.has_lost(place)),
            Place::Earliest | Place::Nowhere => (state.first(), false),
        }
    });
    let (member, gone) = joined?;
    *lost |= gone;
    Some(member)
}
