//! Who is to be woken by the next event.

use std::task::Waker;

use slab::Slab;

/// Wakers of those who wait, all of whom are woken at once.
///
/// Taking all of them is a swap, so it takes no longer for many, and the lock around this is held
/// no longer.
#[derive(Debug)]
pub(in crate::event_log) struct WakeList {
    waiting: Slab<Waker>,
    /// Empty; kept so that a wake allocates nothing.
    spare: Slab<Waker>,
    /// Counts wakes. Tickets of earlier rounds are void.
    round: u64,
}

/// A place in a [`WakeList`]. The default is none.
#[derive(Debug, Default)]
pub(in crate::event_log) struct Ticket {
    round: u64,
    key: u32,
}

impl WakeList {
    pub(in crate::event_log) const fn new() -> Self {
        Self { waiting: Slab::new(), spare: Slab::new(), round: 1 }
    }

    /// Whether the holder of the ticket will be woken by this waker already.
    pub(in crate::event_log) fn holds(&self, ticket: &Ticket, waker: &Waker) -> bool {
        ticket.round == self.round
            && self.waiting.get(ticket.key as usize).is_some_and(|known| known.will_wake(waker))
    }

    /// Has `waker` woken by the next wake, and gives back what was there for the ticket: it is to be
    /// dropped outside of locks, since a waker's drop is somebody else's code.
    #[must_use]
    pub(in crate::event_log) fn wait(
        &mut self,
        ticket: &mut Ticket,
        waker: Waker,
    ) -> Option<Waker> {
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

    /// Takes a waker off the list, to be dropped outside of locks.
    #[must_use]
    pub(in crate::event_log) fn leave(&mut self, ticket: &mut Ticket) -> Option<Waker> {
        let Ticket { round, key } = std::mem::take(ticket);
        if round == self.round { self.waiting.try_remove(key as usize) } else { None }
    }

    /// Takes all wakers, to be given to [`wake`] outside of locks.
    #[must_use]
    pub(in crate::event_log) fn take(&mut self) -> Option<Slab<Waker>> {
        if self.waiting.is_empty() {
            return None;
        }
        self.round += 1;
        let spare = std::mem::take(&mut self.spare);
        Some(std::mem::replace(&mut self.waiting, spare))
    }

    /// Takes back what [`wake`] left of [`take`](Self::take), and gives what is not needed.
    #[must_use]
    pub(in crate::event_log) fn recycle(&mut self, mut emptied: Slab<Waker>) -> Slab<Waker> {
        // Nobody waits as yet: then one buffer is enough for all rounds.
        if self.waiting.is_empty() && self.waiting.capacity() < emptied.capacity() {
            std::mem::swap(&mut self.waiting, &mut emptied);
        }
        if self.spare.capacity() < emptied.capacity() {
            std::mem::swap(&mut self.spare, &mut emptied);
        }
        emptied
    }

    /// Gives up room that was for more than there are.
    pub(in crate::event_log) fn shrink(&mut self) {
        if self.waiting.is_empty() {
            (self.waiting, self.spare) = (Slab::new(), Slab::new());
            // Keys begin anew, so old tickets must be void.
            self.round += 1;
        }
    }
}

/// Wakes all, and gives the emptied list.
pub(in crate::event_log) fn wake(mut wakers: Slab<Waker>) -> Slab<Waker> {
    wakers.drain().for_each(Waker::wake);
    wakers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn each_is_woken_once_a_round_and_nobody_takes_anothers_place() {
        let mut list = WakeList::new();
        let counts: [Arc<Count>; 3] = Default::default();
        let wakers = counts.clone().map(Waker::from);
        let mut tickets: [Ticket; 3] = Default::default();
        for round in 1..4 {
            for (ticket, waker) in tickets.iter_mut().zip(&wakers) {
                assert!(!list.holds(ticket, waker));
                assert!(list.wait(ticket, waker.clone()).is_none());
                assert!(list.holds(ticket, waker));
                assert!(list.wait(ticket, waker.clone()).is_some());
            }
            let taken = list.take().unwrap();
            // A ticket of the last round is void, and leaves nobody's place.
            let mut other = Ticket::default();
            assert!(list.wait(&mut other, wakers[0].clone()).is_none());
            assert!(list.leave(&mut tickets[1]).is_none());
            assert!(list.leave(&mut other).is_some());
            drop(list.recycle(wake(taken)));
            assert!(counts.iter().all(|it| it.0.load(Ordering::Relaxed) == round));
        }
        assert!(list.take().is_none());
    }
}
