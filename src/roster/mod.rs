//! A list of what is open, cheap to enter, to leave and to signal.

mod registration;
mod roster_id;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use crate::sync::lock;

pub(crate) use registration::Registration;
pub(crate) use roster_id::RosterId;
use roster_id::SHARD_BITS;
use slab::Slab;

/// Open streams, in shards that are locked one at a time and only for moments.
///
/// Each shard has an epoch that a signal advances, so a stream learns with one load whether
/// there is something for it. The slot holds the stream's waker: to signal all, the shards are
/// walked, and the wakers are taken out under the lock and woken after it.
#[derive(Debug)]
pub(crate) struct Roster<T> {
    shards: Box<[Arc<Shard<T>>]>,
    len: Arc<AtomicUsize>,
    joined: AtomicU64,
}

/// In a cache line of its own: streams on other cores look at other shards' epochs.
#[derive(Debug)]
#[repr(align(64))]
struct Shard<T> {
    epoch: AtomicU32,
    slots: Mutex<Slab<Slot<T>>>,
    index: usize,
    /// Of the whole roster.
    len: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Never zero, which makes a vacant slot of the slab no larger than this.
    number: NonZeroU32,
    waker: Option<Waker>,
    value: T,
}

/// What [`Roster::visit`] is to do with a slot that it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    Wake,
    Pass,
}

impl<T> Roster<T> {
    pub(crate) fn new() -> Self {
        let len = Arc::new(AtomicUsize::new(0));
        let shard = |index| {
            let (epoch, slots) = (AtomicU32::new(0), Mutex::new(Slab::new()));
            Arc::new(Shard { epoch, slots, index, len: Arc::clone(&len) })
        };
        let shards = (0..SHARDS).map(shard).collect();
        Self { shards, len, joined: AtomicU64::new(1) }
    }

    /// How many are on the list, in one order with all that is `SeqCst` (see `Drain`).
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Enters a stream, unless `admit` says no.
    ///
    /// `admit` is asked under the lock that a signal to all takes too. So what it sees not
    /// signalled yet is on the list when the signal comes.
    pub(crate) fn join(
        &self,
        admit: impl FnOnce() -> bool,
        value: impl FnOnce(RosterId) -> T,
    ) -> Option<Registration<T>> {
        let joined = self.joined.fetch_add(1, Ordering::Relaxed);
        let index =
            usize::try_from((joined - 1) / u64::from(RUN) % SHARDS as u64).unwrap_or_default();
        let shard = &self.shards[index];
        // It goes round after four billion streams; by then the slot has other users.
        let number = u32::try_from(joined & u64::from(u32::MAX)).unwrap_or_default();
        let number = NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX);
        let mut slots = shard.lock();
        if !admit() {
            return None;
        }
        if slots.len() == slots.capacity() {
            let more = slots.len() / GROWTH + 1;
            slots.reserve_exact(more);
        }
        let entry = slots.vacant_entry();
        let key = u32::try_from(entry.key()).ok()?;
        let id = RosterId::of(index, key, number);
        entry.insert(Slot { number, waker: None, value: value(id) });
        self.len.fetch_add(1, Ordering::SeqCst);
        let seen = shard.epoch.load(Ordering::Relaxed);
        drop(slots);
        Some(Registration { shard: Arc::clone(shard), key, seen })
    }

    /// Looks at one stream, if it is still there.
    pub(crate) fn visit_one<R>(
        &self,
        id: RosterId,
        visit: impl FnOnce(&mut T) -> (R, Visit),
    ) -> Option<R> {
        let (shard, key, number) = id.parts();
        let shard = self.shards.get(shard)?;
        let mut slots = shard.lock();
        let slot = slots.get_mut(key).filter(|slot| slot.number.get() == number)?;
        let (result, and) = visit(&mut slot.value);
        let waker = match and {
            Visit::Wake => {
                shard.epoch.fetch_add(1, Ordering::Release);
                slot.waker.take()
            }
            Visit::Pass => None,
        };
        drop(slots);
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(result)
    }

    /// Looks at all streams, in about the order in which they came: a run of each shard, then the next
    /// of each.
    ///
    /// A stream of a later run may look, and find nothing yet, before it is visited.
    pub(crate) fn visit(&self, mut visit: impl FnMut(RosterId, &mut T) -> Visit) {
        let mut wakers = Vec::new();
        let mut run = 0..RUN;
        loop {
            let mut is_behind_all = true;
            for (index, shard) in self.shards.iter().enumerate() {
                let mut slots = shard.lock();
                is_behind_all &= slots.capacity() <= run.end as usize;
                let mut signalled = false;
                for key in run.clone() {
                    let Some(slot) = slots.get_mut(key as usize) else {
                        continue;
                    };
                    if visit(RosterId::of(index, key, slot.number), &mut slot.value) == Visit::Wake
                    {
                        signalled = true;
                        wakers.extend(slot.waker.take());
                    }
                }
                if signalled {
                    shard.epoch.fetch_add(1, Ordering::Release);
                }
                drop(slots);
                // Outside of the lock, which each of them takes first thing on another thread.
                wakers.drain(..).for_each(Waker::wake);
            }
            if is_behind_all {
                return;
            }
            run = run.end..run.end + RUN;
        }
    }
}

impl<T> Shard<T> {
    /// A panic in one stream's hook is no reason to give up on the others: what is behind the
    /// lock is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, Slab<Slot<T>>> {
        lock(&self.slots)
    }
}

/// Streams that come together are often together in memory, and a signal to all is quickest in that
/// order: so this many are put into one shard, and not more, or short lists would be in one.
const RUN: u32 = 32;

/// A full shard grows by this part of it: doubled, as vectors are, it would on average be a third
/// empty, and that is memory of every stream.
const GROWTH: usize = 8;

/// Enough that threads rarely meet at a lock, and few enough that a short list has short shards.
const SHARDS: usize = 1 << SHARD_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_those_on_the_list_are_dense() {
        let roster = Roster::new();
        let seats: Vec<_> = (0..5_000).map(|_| roster.join(|| true, |_| ()).unwrap()).collect();
        let mut numbers: Vec<_> = seats.iter().map(Registration::index).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(1..=5_000));
    }

    #[test]
    fn a_walk_comes_once_to_each_in_the_order_in_which_they_came() {
        for most in [0, 1, 31, 32, 33, 2_048, 2_049, 5_000] {
            let roster = Roster::new();
            let seats: Vec<_> = (0..most).map(|n| roster.join(|| true, |_| n)).collect();
            // Some leave, and as many come in their places.
            let (leave, stay): (Vec<_>, Vec<_>) =
                seats.into_iter().flatten().enumerate().partition(|(n, _)| n % 3 == 0);
            let walked = |roster: &Roster<usize>| {
                let mut walked = Vec::new();
                roster.visit(|_, n| {
                    walked.push(*n);
                    Visit::Pass
                });
                walked
            };
            assert!(walked(&roster).into_iter().eq(0..most));
            let left = leave.len();
            drop(leave);
            assert!(walked(&roster).into_iter().eq((0..most).filter(|n| n % 3 != 0)));
            let come: Vec<_> = (most..most + left).map(|n| roster.join(|| true, |_| n)).collect();
            let mut all = walked(&roster);
            all.sort_unstable();
            assert!(all.into_iter().eq((0..most + left).filter(|n| *n >= most || n % 3 != 0)));
            drop((stay, come));
            assert!(walked(&roster).is_empty());
        }
    }
}
