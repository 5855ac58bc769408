//! A stream's place on a roster.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::{RUN, SHARDS, Shard};

/// A stream's place on a roster, which it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Registration<T> {
    pub(super) shard: Arc<Shard<T>>,
    /// Its slot in the shard.
    pub(super) key: u32,
    /// The shard's epoch when the stream looked last.
    pub(super) seen: u32,
}

impl<T> Registration<T> {
    /// A number among those of the streams that are open, from 1 on: they are dense.
    pub(crate) fn index(&self) -> u64 {
        let (runs, of_its_run) = (u64::from(self.key / RUN), u64::from(self.key % RUN));
        (runs * SHARDS as u64 + self.shard.index as u64) * u64::from(RUN) + of_its_run + 1
    }

    /// Whether there may be something for this stream: one load.
    #[inline]
    pub(crate) fn is_signalled(&self) -> bool {
        self.shard.epoch.load(Ordering::Acquire) != self.seen
    }

    /// The same seat, as if a signal had come.
    pub(crate) fn unseen(mut self) -> Self {
        self.seen = self.seen.wrapping_sub(1);
        self
    }

    /// Takes the signal as seen, where nothing is in the slot to look at.
    pub(crate) fn see(&mut self) {
        self.seen = self.shard.epoch.load(Ordering::Acquire);
    }

    /// Looks at this stream's slot, and takes the signal as seen.
    pub(crate) fn look<R>(&mut self, look: impl FnOnce(&mut T) -> R) -> Option<R> {
        let mut slots = self.shard.lock();
        self.seen = self.shard.epoch.load(Ordering::Relaxed);
        slots.get_mut(self.key as usize).map(|slot| look(&mut slot.value))
    }

    /// Has `waker` woken by the next signal. Says whether one came already.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut slots = self.shard.lock();
        let known = slots.get_mut(self.key as usize).and_then(|slot| slot.waker.replace(waker));
        let missed = self.shard.epoch.load(Ordering::Relaxed) != self.seen;
        drop(slots);
        // After the lock: a waker's drop is somebody else's code, and may drop another stream.
        drop(known);
        missed
    }
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        let mut slots = self.shard.lock();
        let slot = slots.try_remove(self.key as usize);
        // Under the lock, so that whoever comes by behind it finds it neither on the list nor counted.
        self.shard.len.fetch_sub(1, Ordering::SeqCst);
        drop(slots);
        // After the lock: a value's or a waker's drop is somebody else's code.
        drop(slot);
    }
}
