//! An entry on a roster, as its owner holds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::Shard;
use crate::sync::{lock, replace_waker};

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
    pub(super) fn new(shard: Arc<Shard<T>>, key: u32, seen: u32) -> Self {
        Self { shard, key, seen }
    }

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
        // Under the lock: a walk that takes it later finds the entry neither on the list nor counted.
        self.shard.len.fetch_sub(1, Ordering::SeqCst);
        drop(slots);
        // After the lock: the drop of a value or a waker runs foreign code.
        drop(entry);
        result
    }
}

impl<T> Drop for Registration<T> {
    fn drop(&mut self) {
        self.take_off(|_| ());
    }
}
