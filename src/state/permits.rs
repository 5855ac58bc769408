//! How many streams are open, in all and by key, and who of a key came first.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::LimitKey;
use crate::roster::{Registration, Roster, RosterId, Visit};
use crate::sync::lock;

/// The open streams of a limit, counted in all and by key.
///
/// Keys are in shards that are locked one at a time and only for moments; no code of somebody
/// else's runs under a lock.
#[derive(Debug)]
pub(crate) struct Permits {
    open: AtomicUsize,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    /// Where streams that may be replaced learn that they are; true says it.
    roster: Roster<bool>,
}

#[derive(Debug)]
struct Shard {
    keys: HashMap<LimitKey, Holders>,
    /// Never given twice, so that a stream that was replaced is not taken for another.
    next: u64,
}

/// The streams of one key.
#[derive(Debug, Default)]
struct Holders {
    open: usize,
    /// Those that may be replaced, the oldest first.
    by_age: BTreeMap<u64, RosterId>,
}

/// What is to be done about a key that has as many streams as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtCap {
    Refuse,
    ReplaceOldest,
}

impl Permits {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::new();
        let shard = || Shard { keys: HashMap::with_hasher(hasher.clone()), next: 0 };
        Self {
            open: AtomicUsize::new(0),
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            hasher,
            roster: Roster::new(),
        }
    }

    /// Streams that count.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Keys that have streams.
    pub(crate) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).keys.len()).sum()
    }

    /// A slot without a key, if fewer than `most` are taken in all.
    pub(crate) fn take(self: &Arc<Self>, most: usize) -> Option<Permit> {
        let slot = || Permit { slots: Arc::clone(self), key: LimitKey::default(), place: None };
        self.admit(most).then(slot)
    }

    /// A slot of `key`, if fewer than `most` are taken in all, and `most_of_key` by the key.
    ///
    /// Who replaces takes over the slot of the key's oldest stream, which counts no more from now
    /// on, whether its client reads or not.
    pub(crate) fn take_for(
        self: &Arc<Self>,
        key: &LimitKey,
        most: usize,
        most_of_key: usize,
        at_cap: AtCap,
    ) -> Option<Permit> {
        let mut known = None;
        let seat = match at_cap {
            AtCap::Refuse => None,
            AtCap::ReplaceOldest => self.roster.insert(
                || true,
                |id| {
                    known = Some(id);
                    false
                },
            ),
        };
        let mut shard = self.shard(key);
        let open = shard.keys.get(key).map_or(0, |holders| holders.open);
        let replaced = match at_cap {
            _ if open < most_of_key => {
                if !self.admit(most) {
                    return None;
                }
                None
            }
            AtCap::Refuse => return None,
            AtCap::ReplaceOldest => Some(shard.keys.get_mut(key)?.by_age.pop_first()?.1),
        };
        let ticket = shard.next;
        shard.next += 1;
        let holders = shard.keys.entry(key.clone()).or_default();
        holders.open += usize::from(replaced.is_none());
        holders.by_age.extend(known.map(|id| (ticket, id)));
        drop(shard);
        if let Some(oldest) = replaced {
            self.roster.visit_one(oldest, |replaced| {
                *replaced = true;
                ((), Visit::Wake)
            });
        }
        let place = seat.map(|seat| Place { ticket, seat });
        Some(Permit { slots: Arc::clone(self), key: key.clone(), place })
    }

    /// Counts one more, if there is room: of two that want the last slot one gets it.
    fn admit(&self, most: usize) -> bool {
        let one_more = |open| (open < most).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    fn shard(&self, key: &LimitKey) -> MutexGuard<'_, Shard> {
        // Not from the ends of the hash, which tell the keys of one map apart.
        let hash = usize::try_from((self.hasher.hash_one(key) >> 32) % SHARDS as u64);
        lock(&self.shards[hash.unwrap_or_default()])
    }
}

impl Shard {
    /// Takes one stream of a key off. Says whether it counted.
    fn leave(&mut self, key: &LimitKey, ticket: Option<u64>) -> bool {
        let Some(holders) = self.keys.get_mut(key) else {
            return false;
        };
        if ticket.is_some_and(|ticket| holders.by_age.remove(&ticket).is_none()) {
            return false;
        }
        holders.open -= 1;
        if holders.open == 0 {
            self.keys.remove(key);
            // At an eighth, so that streams that come and go do not pay for it.
            if self.keys.len() * 8 <= self.keys.capacity() {
                self.keys.shrink_to(self.keys.len() * 2);
            }
        }
        true
    }
}

/// An open stream's part of what may be open, which it gives back when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    slots: Arc<Permits>,
    key: LimitKey,
    /// Of a stream that may be replaced.
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    ticket: u64,
    seat: Registration<bool>,
}

impl Permit {
    /// Whether the stream may be asked to go for a newer one.
    pub(crate) fn is_replaceable(&self) -> bool {
        self.place.is_some()
    }

    /// Whether this stream may have been replaced: one load.
    pub(crate) fn is_signalled(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.seat.is_signalled())
    }

    /// Whether this stream has been replaced; says so once.
    pub(crate) fn take_replaced(&mut self) -> bool {
        let place = self.place.as_mut();
        place.and_then(|place| place.seat.update(std::mem::take)).unwrap_or_default()
    }

    /// Has `waker` woken when this stream is replaced. Says whether it may have been already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.place.as_ref().is_some_and(|place| place.seat.register(waker))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let ticket = self.place.as_ref().map(|place| place.ticket);
        // Who was replaced gives nothing back: the slot is another's.
        if self.key.is_none() || self.slots.shard(&self.key).leave(&self.key, ticket) {
            self.slots.open.fetch_sub(1, Relaxed);
        }
    }
}

/// Enough that threads rarely meet at a lock.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The room of all maps together.
    fn capacity(slots: &Permits) -> usize {
        slots.shards.iter().map(|shard| lock(shard).keys.capacity()).sum()
    }

    #[test]
    fn a_million_keys_leave_an_empty_map_and_its_memory() {
        for (at_cap, count) in [(AtCap::Refuse, 1_000_000), (AtCap::ReplaceOldest, 100_000)] {
            let slots = Arc::new(Permits::new());
            let slot = |n: u64| slots.take_for(&n.into(), usize::MAX, 1, at_cap).unwrap();
            let mut taken: Vec<_> = (0..count).map(slot).collect();
            assert_eq!((slots.open(), slots.keys()), (taken.len(), taken.len()));
            taken.truncate(1_000);
            assert_eq!((slots.open(), slots.keys()), (1_000, 1_000));
            let room = capacity(&slots);
            assert!(room < 16_000, "{room} for a thousand keys");
            drop(taken);
            assert_eq!((slots.open(), slots.keys(), capacity(&slots)), (0, 0, 0));
        }
    }

    #[test]
    fn who_was_replaced_gives_nothing_back() {
        let slots = Arc::new(Permits::new());
        let key = LimitKey::from("key");
        let take = |most, at_cap| slots.take_for(&key, 3, most, at_cap);
        let mut first = take(2, AtCap::ReplaceOldest).unwrap();
        let stays = take(2, AtCap::Refuse).unwrap();
        let mut third = take(2, AtCap::ReplaceOldest).unwrap();
        assert!(first.take_replaced() && !first.take_replaced());
        drop(first);
        assert_eq!(slots.open(), 2);
        // One that cannot be told to go is not the oldest of anybody.
        let fourth = take(2, AtCap::ReplaceOldest).unwrap();
        assert!(third.take_replaced());
        assert!(take(2, AtCap::Refuse).is_none());
        drop(fourth);
        drop(third);
        assert_eq!((slots.open(), slots.keys()), (1, 1));
        assert!(take(1, AtCap::ReplaceOldest).is_none(), "nobody can go");
        drop(stays);
        assert_eq!((slots.open(), slots.keys(), slots.roster.len()), (0, 0, 0));
    }
}
