//! The permits of the streams that count against a limit, in all and by key.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use super::LimitKey;
use super::key_holders::KeyHolders;
use crate::roster::{Registration, Roster, RosterId, Visit};
use crate::sync::lock;

/// The permits of a limit, counted in all and by key.
///
/// Keys are in shards that are locked one at a time and only for moments. No foreign code runs
/// under a lock.
#[derive(Debug)]
pub(crate) struct Permits {
    open: AtomicUsize,
    shards: Box<[Mutex<KeyHolders>]>,
    hasher: RandomState,
    /// Tells streams that may be replaced that they are: by true.
    roster: Roster<bool>,
}

/// What happens at the cap of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtCap {
    Refuse,
    ReplaceOldest,
}

impl Permits {
    pub(crate) fn new() -> Self {
        let hasher = RandomState::new();
        let shard = || KeyHolders::new(hasher.clone());
        Self {
            open: AtomicUsize::new(0),
            shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(),
            hasher,
            roster: Roster::new(),
        }
    }

    /// How many permits are held.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How many keys have permits.
    pub(crate) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// How many permits of `key` are held.
    pub(crate) fn open_of(&self, key: &LimitKey) -> usize {
        self.shard(key).open_of(key)
    }

    /// A permit without a key, if fewer than `max` are held in all.
    pub(crate) fn acquire(self: &Arc<Self>, max: usize) -> Option<Permit> {
        let permits = Arc::clone(self);
        self.admit(max).then(|| Permit::new(permits, LimitKey::default(), None))
    }

    /// A permit of `key`, if fewer than `max` are held in all and `max_of_key` by the key.
    ///
    /// A stream that replaces takes over the permit of the key's oldest stream. That one does not
    /// count from now on, whether its client reads or not. If the cap of the key has become
    /// smaller, it ends as many of the oldest as are too many.
    pub(crate) fn acquire_for(
        self: &Arc<Self>,
        key: &LimitKey,
        max: usize,
        max_of_key: usize,
        at_cap: AtCap,
    ) -> Option<Permit> {
        let entry = match at_cap {
            AtCap::Refuse => None,
            AtCap::ReplaceOldest => self.enter(),
        };
        let mut shard = self.shard(key);
        let replaced = match at_cap {
            _ if shard.open_of(key) < max_of_key => {
                if !self.admit(max) {
                    return None;
                }
                Vec::new()
            }
            AtCap::Refuse => return None,
            AtCap::ReplaceOldest => shard.replace(key, max_of_key)?,
        };
        let ticket = shard.enter(key, entry.as_ref().map(|(_, id)| *id));
        drop(shard);
        // The first of them leaves its permit to the new stream.
        self.open.fetch_sub(replaced.len().saturating_sub(1), Relaxed);
        for oldest in replaced {
            self.roster.visit_one(oldest, |replaced| {
                *replaced = true;
                ((), Visit::Wake)
            });
        }
        let replaceable = entry.map(|(registration, _)| Replaceable { ticket, registration });
        Some(Permit::new(Arc::clone(self), key.clone(), replaceable))
    }

    /// Puts a stream that may be replaced on the list of those that are told.
    fn enter(&self) -> Option<(Registration<bool>, RosterId)> {
        let mut id = None;
        let registration = self.roster.insert(
            || true,
            |new| {
                id = Some(new);
                false
            },
        )?;
        Some((registration, id?))
    }

    /// Counts one more, if there is room. Of two that want the last permit one gets it.
    fn admit(&self, max: usize) -> bool {
        let one_more = |open| (open < max).then_some(open + 1);
        self.open.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    fn shard(&self, key: &LimitKey) -> MutexGuard<'_, KeyHolders> {
        // Not from the ends of the hash, which tell the keys of one map apart.
        let hash = usize::try_from((self.hasher.hash_one(key) >> 32) % SHARDS as u64);
        lock(&self.shards[hash.unwrap_or_default()])
    }
}

/// The right of one stream to be open, which is released on drop, or goes back to its lender.
#[derive(Debug)]
pub(crate) struct Permit {
    /// None only while it is dropped.
    held: Option<HeldPermit>,
    /// What goes on when the stream is over, and holds the permit then.
    #[cfg(feature = "resume")]
    lender: std::sync::Weak<PermitLender>,
}

#[derive(Debug)]
struct HeldPermit {
    permits: Arc<Permits>,
    key: LimitKey,
    replaceable: Option<Replaceable>,
}

/// What a stream has that may be replaced.
#[derive(Debug)]
struct Replaceable {
    ticket: u64,
    registration: Registration<bool>,
}

impl Permit {
    fn new(permits: Arc<Permits>, key: LimitKey, replaceable: Option<Replaceable>) -> Self {
        Self {
            held: Some(HeldPermit { permits, key, replaceable }),
            #[cfg(feature = "resume")]
            lender: std::sync::Weak::new(),
        }
    }

    /// This permit, for a stream that cannot be closed. None if it was taken over already.
    pub(crate) fn for_good(mut self) -> Option<Self> {
        let held = self.held.as_mut()?;
        if let Some(Replaceable { ticket, .. }) = &held.replaceable {
            // Of one that was taken over there is nothing to release.
            held.permits.shard(&held.key).keep(&held.key, *ticket)?;
        }
        held.replaceable = None;
        Some(self)
    }

    /// What another stream takes this permit over with, if the stream may be replaced.
    pub(crate) fn claim(&self) -> Option<PermitClaim> {
        #[cfg(feature = "resume")]
        if self.lender.strong_count() > 0 {
            // It goes back to its lender.
            return None;
        }
        let HeldPermit { permits, key, replaceable } = self.held.as_ref()?;
        let Replaceable { ticket, .. } = *replaceable.as_ref()?;
        Some(PermitClaim { permits: Arc::clone(permits), key: key.clone(), ticket })
    }

    fn replaceable(&self) -> Option<&Replaceable> {
        self.held.as_ref()?.replaceable.as_ref()
    }

    /// Whether the stream may be closed for a newer one.
    pub(crate) fn is_replaceable(&self) -> bool {
        self.replaceable().is_some()
    }

    /// Whether this stream may have been replaced: one load.
    pub(crate) fn is_signalled(&self) -> bool {
        self.replaceable().is_some_and(|it| it.registration.is_signalled())
    }

    /// Whether this stream was replaced. True once.
    pub(crate) fn take_replaced(&mut self) -> bool {
        let replaceable = self.held.as_mut().and_then(|held| held.replaceable.as_mut());
        replaceable.and_then(|it| it.registration.update(std::mem::take)).unwrap_or_default()
    }

    /// Has `waker` woken when this stream is replaced. True if it may have been already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        self.replaceable().is_some_and(|it| it.registration.register(waker))
    }
}

/// Takes the permit of a stream over, for a stream that carries it on.
#[derive(Debug)]
pub(crate) struct PermitClaim {
    permits: Arc<Permits>,
    key: LimitKey,
    ticket: u64,
}

impl PermitClaim {
    /// The permit, unless it is released or taken over already. The stream that had it is not
    /// ended, and counts no more.
    pub(crate) fn take_over(self) -> Option<Permit> {
        let Self { permits, key, ticket } = self;
        let (registration, id) = permits.enter()?;
        let ticket = permits.shard(&key).take_over(&key, ticket, id)?;
        let replaceable = Some(Replaceable { ticket, registration });
        Some(Permit::new(permits, key, replaceable))
    }
}

#[cfg(feature = "resume")]
impl HeldPermit {
    /// Whether it was not taken over by a newer stream.
    fn counts(&self) -> bool {
        let Some(Replaceable { ticket, .. }) = &self.replaceable else {
            return true;
        };
        self.permits.shard(&self.key).has(&self.key, *ticket)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        #[cfg(feature = "resume")]
        if let Some(lender) = self.lender.upgrade() {
            lender.take_back(self.held.take());
        }
    }
}

impl Drop for HeldPermit {
    fn drop(&mut self) {
        let ticket = self.replaceable.as_ref().map(|it| it.ticket);
        // A stream that was replaced releases nothing: another one has its permit.
        if self.key.is_none() || self.permits.shard(&self.key).leave(&self.key, ticket) {
            self.permits.open.fetch_sub(1, Relaxed);
        }
    }
}

/// Holds the permit of what goes on without a client, and lends it to one stream at a time.
#[cfg(feature = "resume")]
#[derive(Debug)]
pub(crate) struct PermitLender(Mutex<LentPermit>);

#[cfg(feature = "resume")]
#[derive(Debug)]
struct LentPermit {
    permits: Arc<Permits>,
    /// None while it is lent.
    here: Option<HeldPermit>,
}

#[cfg(feature = "resume")]
impl PermitLender {
    pub(crate) fn new(mut permit: Permit) -> Option<Arc<Self>> {
        let held = permit.held.take()?;
        let permits = Arc::clone(&held.permits);
        Some(Arc::new(Self(Mutex::new(LentPermit { permits, here: Some(held) }))))
    }

    /// The permit, if it is one of these and not lent already. It comes back when it is dropped.
    pub(crate) fn lend(self: &Arc<Self>, of: &Arc<Permits>) -> Option<Permit> {
        let mut lent = lock(&self.0);
        let is_of = Arc::ptr_eq(&lent.permits, of);
        let held = lent.here.take_if(|held| is_of && held.counts())?;
        Some(Permit { held: Some(held), lender: Arc::downgrade(self) })
    }

    fn take_back(&self, held: Option<HeldPermit>) {
        lock(&self.0).here = held;
    }

    /// Whether a newer stream has taken the permit over.
    pub(crate) fn was_replaced(&self) -> bool {
        lock(&self.0).here.as_ref().is_some_and(|held| !held.counts())
    }
}

/// Enough that threads rarely meet at a lock.
const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// The room of all maps together.
    fn capacity(permits: &Permits) -> usize {
        permits.shards.iter().map(|shard| lock(shard).capacity()).sum()
    }

    #[test]
    fn a_million_keys_leave_an_empty_map_and_its_memory() {
        for (at_cap, count) in [(AtCap::Refuse, 1_000_000), (AtCap::ReplaceOldest, 100_000)] {
            let permits = Arc::new(Permits::new());
            let acquire = |n: u64| permits.acquire_for(&n.into(), usize::MAX, 1, at_cap).unwrap();
            let mut held: Vec<_> = (0..count).map(acquire).collect();
            assert_eq!((permits.open(), permits.keys()), (held.len(), held.len()));
            held.truncate(1_000);
            assert_eq!((permits.open(), permits.keys()), (1_000, 1_000));
            let room = capacity(&permits);
            assert!(room < 16_000, "{room} for a thousand keys");
            drop(held);
            assert_eq!((permits.open(), permits.keys(), capacity(&permits)), (0, 0, 0));
        }
    }

    #[test]
    fn a_stream_that_was_replaced_releases_nothing() {
        let permits = Arc::new(Permits::new());
        let key = LimitKey::from("key");
        let acquire = |max, at_cap| permits.acquire_for(&key, 3, max, at_cap);
        let mut first = acquire(2, AtCap::ReplaceOldest).unwrap();
        let stays = acquire(2, AtCap::Refuse).unwrap();
        let mut third = acquire(2, AtCap::ReplaceOldest).unwrap();
        assert!(first.take_replaced() && !first.take_replaced());
        drop(first);
        assert_eq!(permits.open(), 2);
        // A stream that cannot be closed does not count as the oldest.
        let fourth = acquire(2, AtCap::ReplaceOldest).unwrap();
        assert!(third.take_replaced());
        assert!(acquire(2, AtCap::Refuse).is_none());
        drop(fourth);
        drop(third);
        assert_eq!((permits.open(), permits.keys()), (1, 1));
        assert!(acquire(1, AtCap::ReplaceOldest).is_none(), "no stream can be closed");
        drop(stays);
        assert_eq!((permits.open(), permits.keys(), permits.roster.len()), (0, 0, 0));
    }
}
