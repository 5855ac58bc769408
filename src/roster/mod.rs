//! A sharded list of what is open, with a waker for each entry: cheap to enter, leave and signal.

mod slots;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::sync::{drop_caught, lock, replace_waker, wake_all};

use slots::Slots;

/// A list of what is open, in shards that are locked one at a time and only for moments.
///
/// Each shard has an epoch, which a signal advances. So a stream learns with one load whether there
/// may be something for it. An entry holds the stream's waker: to signal all,
/// [`visit`](Self::visit) walks over the shards, takes the wakers out under the lock and wakes them
/// after it.
///
/// Entries have running numbers and stay in this order. The memory of the list and the cost of a
/// walk follow the number of entries that are on the list now.
#[derive(Debug)]
pub(crate) struct Roster<T> {
    shards: Box<[Arc<Shard<T>>]>,
    len: Arc<AtomicUsize>,
    /// How often an entry was asked for. It decides on the shard.
    asked: AtomicU64,
}

/// A part of a list, in a cache line of its own: streams on other cores load the epochs of other
/// shards.
#[derive(Debug)]
#[repr(align(64))]
struct Shard<T> {
    epoch: AtomicU32,
    slots: Mutex<Slots<T>>,
    /// How many entries are in all shards together.
    len: Arc<AtomicUsize>,
}

/// The running number of an entry among all of its list, from 1 on. No number is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RosterId(u64);

/// What becomes of the waker of an entry that was visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    Wake,
    Skip,
}

impl<T> Roster<T> {
    pub(crate) fn new() -> Self {
        let len = Arc::new(AtomicUsize::new(0));
        let shard = || {
            let (epoch, slots) = (AtomicU32::new(0), Mutex::new(Slots::new()));
            Arc::new(Shard { epoch, slots, len: Arc::clone(&len) })
        };
        let shards = (0..SHARDS).map(|_| shard()).collect();
        Self { shards, len, asked: AtomicU64::new(0) }
    }

    /// The number of entries, in one order with everything that is `SeqCst` (see `Drain`).
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Adds an entry, unless `admit` refuses it.
    ///
    /// `admit` is called under the lock that a walk over all takes too. If `admit` does not see a
    /// change that is followed by a walk, the walk comes to the entry.
    pub(crate) fn insert(
        &self,
        admit: impl FnOnce() -> bool,
        value: impl FnOnce(RosterId) -> T,
    ) -> Option<Registration<T>> {
        let run = self.asked.fetch_add(1, Ordering::Relaxed) / RUN;
        let index = usize::try_from(run % SHARDS as u64).unwrap_or_default();
        let shard = self.shards.get(index)?;
        let mut slots = lock(&shard.slots);
        if !admit() {
            return None;
        }
        let key = slots.insert(|number| value(RosterId::of(index, number)))?;
        shard.len.fetch_add(1, Ordering::SeqCst);
        let seen = shard.epoch.load(Ordering::Relaxed);
        drop(slots);
        Some(Registration { shard: Arc::clone(shard), key, seen })
    }

    /// Visits one entry, if it is still on the list.
    pub(crate) fn visit_one<R>(
        &self,
        id: RosterId,
        visit: impl FnOnce(&mut T) -> (R, Visit),
    ) -> Option<R> {
        let (index, number) = id.parts()?;
        let shard = self.shards.get(index)?;
        let mut slots = lock(&shard.slots);
        let slot = slots.get_number(number)?;
        let (result, then) = visit(slot.value.as_mut()?);
        let waker = match then {
            Visit::Wake => {
                shard.epoch.fetch_add(1, Ordering::Release);
                slot.waker.take()
            }
            Visit::Skip => None,
        };
        drop(slots);
        wake_all(waker);
        Some(result)
    }

    /// Visits all entries in about the order in which they came.
    ///
    /// Streams that come together are often together in memory, and a signal to all is fastest in
    /// that order. An entry may see its shard's epoch advanced before it is visited itself.
    pub(crate) fn visit(&self, mut visit: impl FnMut(RosterId, &mut T) -> Visit) {
        let mut wakers = Vec::new();
        // Of each shard, the number from which on entries are still to be visited, if there are
        // any, and the number of the first one that came after the walk began.
        let mut left = [(Some(0), u64::MAX); SHARDS];
        loop {
            let Some(first) = left.iter().filter_map(|(next, _)| *next).min() else {
                return;
            };
            let run_end = (first / RUN + 1) * RUN;
            for (index, (shard, (next, end))) in self.shards.iter().zip(&mut left).enumerate() {
                let Some(from) = next.filter(|next| *next < run_end) else {
                    continue;
                };
                let mut slots = lock(&shard.slots);
                *end = (*end).min(slots.next_number());
                let mut signalled = false;
                *next = slots.visit(from, run_end.min(*end), |number, waker, value| {
                    if visit(RosterId::of(index, number), value) == Visit::Wake {
                        signalled = true;
                        wakers.extend(waker.take());
                    }
                });
                *next = next.filter(|next| next < end);
                if signalled {
                    shard.epoch.fetch_add(1, Ordering::Release);
                }
                drop(slots);
                // After the lock, which each of them takes first thing on another thread.
                wake_all(wakers.drain(..));
            }
        }
    }
}

/// An entry on a roster. Dropping it takes the entry off.
#[derive(Debug)]
pub(crate) struct Registration<T> {
    shard: Arc<Shard<T>>,
    /// Its key among the slots of the shard.
    key: u32,
    /// The shard's epoch when the owner looked last.
    seen: u32,
}

impl<T> Registration<T> {
    /// Whether there may be something for the owner: one load.
    #[inline]
    pub(crate) fn is_signalled(&self) -> bool {
        self.shard.epoch.load(Ordering::Acquire) != self.seen
    }

    /// Makes it look as if a signal had come.
    pub(crate) fn signal(&mut self) {
        self.seen = self.shard.epoch.load(Ordering::Relaxed).wrapping_sub(1);
    }

    /// Marks the signal as seen, where the value is of no interest.
    pub(crate) fn mark_seen(&mut self) {
        self.seen = self.shard.epoch.load(Ordering::Acquire);
    }

    /// Changes the value under the shard's lock, and marks the signal as seen.
    pub(crate) fn update<R>(&mut self, update: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut slots = lock(&self.shard.slots);
        self.seen = self.shard.epoch.load(Ordering::Relaxed);
        slots.get(self.key)?.value.as_mut().map(update)
    }

    /// Has the next signal wake `waker`. Returns whether a signal came already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        replace_waker(&self.shard.slots, waker, |slots| {
            let missed = self.shard.epoch.load(Ordering::Relaxed) != self.seen;
            (slots.get(self.key).map(|slot| &mut slot.waker), missed)
        })
    }

    /// Changes the value for the last time and takes the entry off, with nothing in between.
    pub(crate) fn remove<R>(mut self, update: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.take_off(update)
    }

    fn take_off<R>(&mut self, update: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut slots = lock(&self.shard.slots);
        let result = slots.get(self.key)?.value.as_mut().map(update);
        let entry = slots.remove(self.key);
        // Under the lock: a walk that takes it later finds the entry neither on the list nor
        // counted.
        self.shard.len.fetch_sub(1, Ordering::SeqCst);
        drop(slots);
        // After the lock: the drop of a value or a waker runs foreign code.
        drop_caught(entry);
        result
    }
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        self.take_off(|_| ());
    }
}

impl RosterId {
    pub(crate) const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    pub(crate) const fn as_u64(self) -> u64 {
        self.0
    }

    /// The id of the entry with this number in its shard: shards take turns, a run each.
    const fn of(shard: usize, number: u64) -> Self {
        let (run, of_run) = (number / RUN, number % RUN);
        Self((run * SHARDS as u64 + shard as u64) * RUN + of_run + 1)
    }

    /// The index of the shard, and the number in it.
    fn parts(self) -> Option<(usize, u64)> {
        let id = self.0.checked_sub(1)?;
        let (run, of_run) = (id / RUN, id % RUN);
        let shard = usize::try_from(run % SHARDS as u64).ok()?;
        Some((shard, run / SHARDS as u64 * RUN + of_run))
    }
}

/// How many entries in a row are put into one shard: enough for a walk in the order of arrival to
/// be one through memory, and not so many that a short list is in one shard.
const RUN: u64 = 32;

/// Enough that threads rarely meet at a lock, and few enough that a short list has short shards.
const SHARDS: usize = 64;
