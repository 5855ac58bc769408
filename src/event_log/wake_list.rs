//! Lists of wakers that wait for the next event, and how they are used under a lock.

use std::ops::DerefMut;
use std::task::Waker;

use slab::Slab;

use crate::sync::wake_all;

/// The wakers of the followers that wait; a wake wakes all of them.
///
/// Taking all wakers is a swap, so the lock around the list is held no longer for many wakers than
/// for few.
#[derive(Debug)]
pub(super) struct WakeList {
    waiting: Slab<Waker>,
    /// Empty; kept so that a wake allocates nothing.
    spare: Slab<Waker>,
    /// Counts wakes. Tickets of earlier rounds are void.
    round: u64,
}

/// An entry of a [`WakeList`]. The default is no entry.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    round: u64,
    key: u32,
}

impl WakeList {
    pub(super) const fn new() -> Self {
        Self { waiting: Slab::new(), spare: Slab::new(), round: 1 }
    }

    /// Whether the next wake wakes this waker for the holder of the ticket already.
    fn is_registered(&self, ticket: &Ticket, waker: &Waker) -> bool {
        ticket.round == self.round
            && self.waiting.get(ticket.key as usize).is_some_and(|known| known.will_wake(waker))
    }

    /// Registers `waker` for the next wake, and returns the waker that it replaces, for the caller
    /// to drop outside of locks: a waker's drop is foreign code.
    #[must_use]
    fn register(&mut self, ticket: &mut Ticket, waker: Waker) -> Option<Waker> {
        if ticket.round == self.round {
            if let Some(known) = self.waiting.get_mut(ticket.key as usize) {
                return Some(std::mem::replace(known, waker));
            }
        }
        let entry = self.waiting.vacant_entry();
        let Ok(key) = u32::try_from(entry.key()) else {
            return Some(waker);
        };
        entry.insert(waker);
        *ticket = Ticket { round: self.round, key };
        None
    }

    /// Removes a waker, for the caller to drop outside of locks.
    #[must_use]
    pub(super) fn deregister(&mut self, ticket: &mut Ticket) -> Option<Waker> {
        let Ticket { round, key } = std::mem::take(ticket);
        if round == self.round { self.waiting.try_remove(key as usize) } else { None }
    }

    /// Takes all wakers, for the caller to wake outside of locks. Returns `None` if nothing waits.
    #[must_use]
    pub(super) fn take_all(&mut self) -> Option<Slab<Waker>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.round += 1;
        let spare = std::mem::take(&mut self.spare);
        Some(std::mem::replace(&mut self.waiting, spare))
    }

    /// Takes back the emptied list of [`take_all`](Self::take_all), and returns one that is not
    /// needed, for the caller to drop outside of locks.
    #[must_use]
    fn recycle(&mut self, mut emptied: Slab<Waker>) -> Slab<Waker> {
        // Nothing waits yet, so one buffer is enough for all rounds.
        if self.waiting.is_empty() && self.waiting.capacity() < emptied.capacity() {
            std::mem::swap(&mut self.waiting, &mut emptied);
        }
        if self.spare.capacity() < emptied.capacity() {
            std::mem::swap(&mut self.spare, &mut emptied);
        }
        emptied
    }

    /// Frees the room of an empty list.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn shrink_if_empty(&mut self) {
        if self.waiting.is_empty() {
            (self.waiting, self.spare) = (Slab::new(), Slab::new());
            // Keys begin anew, so old tickets must be void.
            self.round += 1;
        }
    }
}

/// Looks at what is under a lock, and registers `waker` in a list there if `find` finds nothing.
///
/// Both are done under one lock, so a wake in between is not missed. A waker is cloned, and the
/// waker that it replaces is dropped, outside of the lock: both are foreign code.
pub(super) fn look_or_register<G: DerefMut, T>(
    lock: impl Fn() -> G,
    list: impl Fn(&mut G::Target) -> &mut WakeList,
    ticket: &mut Ticket,
    waker: &Waker,
    mut find: impl FnMut(&mut G::Target) -> Option<T>,
) -> Option<T> {
    let mut cloned = None;
    loop {
        let mut guard = lock();
        if let Some(found) = find(&mut guard) {
            return Some(found);
        }
        let wakers = list(&mut guard);
        if wakers.is_registered(ticket, waker) {
            return None;
        }
        if let Some(waker) = cloned.take() {
            let replaced = wakers.register(ticket, waker);
            drop(guard);
            drop(replaced);
            return None;
        }
        drop(guard);
        cloned = Some(waker.clone());
    }
}

/// Takes the wakers of a list under its lock, and wakes them outside of it: the first thing that
/// most of them do, on other threads, is to take that lock.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) fn wake_list<G: DerefMut>(
    lock: impl Fn() -> G,
    list: impl Fn(&mut G::Target) -> &mut WakeList,
) {
    let taken = list(&mut lock()).take_all();
    if let Some(wakers) = taken {
        wake_and_recycle(wakers, lock, list);
    }
}

/// Wakes wakers that were taken off a list under its lock, and gives the list its room back.
pub(super) fn wake_and_recycle<G: DerefMut>(
    wakers: Slab<Waker>,
    lock: impl Fn() -> G,
    list: impl Fn(&mut G::Target) -> &mut WakeList,
) {
    let emptied = wake(wakers);
    let rest = list(&mut lock()).recycle(emptied);
    drop(rest);
}

/// Wakes all wakers, and returns the emptied list.
fn wake(mut wakers: Slab<Waker>) -> Slab<Waker> {
    wake_all(wakers.drain());
    wakers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct WakeCount(AtomicUsize);

    impl Wake for WakeCount {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_waker_is_woken_once_a_round_and_an_old_ticket_removes_no_other_waker() {
        let mut list = WakeList::new();
        let counts: [Arc<WakeCount>; 3] = Default::default();
        let wakers = counts.clone().map(Waker::from);
        let mut tickets: [Ticket; 3] = Default::default();
        for round in 1..4 {
            for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
                assert!(!list.is_registered(ticket, waker));
                assert!(list.register(ticket, waker.clone()).is_none());
                assert!(list.is_registered(ticket, waker));
                assert!(list.register(ticket, waker.clone()).is_some());
            }
            let taken = list.take_all().unwrap();
            // A ticket of the last round is void, and removes no other waker.
            let mut other = Ticket::default();
            assert!(list.register(&mut other, wakers[0].clone()).is_none());
            assert!(list.deregister(&mut tickets[1]).is_none());
            assert!(list.deregister(&mut other).is_some());
            drop(list.recycle(wake(taken)));
            assert!(counts.iter().all(|it| it.0.load(Ordering::Relaxed) == round));
        }
        assert!(list.take_all().is_none());
    }
}
