//! A follower's place in one topic.

use std::sync::Arc;

use super::cell::{Cell, State};
use super::epoch::Epoch;
use super::wake_list::Ticket;
use crate::event_log::{Gap, Start};

/// A follower's place in one topic.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) cell: Arc<Cell>,
    /// The number of the event that is next.
    pub(super) next: u64,
    pub(super) ticket: Ticket,
    pub(super) hold: Hold,
}

/// Whether a topic stays for its follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It was named.
    Stays,
    /// It fits a pattern, and may end when it is idle.
    Ends,
}

impl Member {
    /// Joins a topic; none if it has ended. `at` chooses the event that is next.
    pub(super) fn join<R>(
        cell: &Arc<Cell>,
        hold: Hold,
        at: impl FnOnce(&mut State) -> (u64, R),
    ) -> Option<(Self, R)> {
        let mut state = cell.lock();
        if state.ended {
            return None;
        }
        state.followers += u32::from(hold == Hold::Stays);
        let (next, result) = at(&mut state);
        drop(state);
        Some((Self { cell: Arc::clone(cell), next, ticket: Ticket::default(), hold }, result))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.cell.lock();
        state.followers -= u32::from(self.hold == Hold::Stays);
        let waker = state.wakers.leave(&mut self.ticket);
        if state.followers == 0 {
            state.wakers.shrink();
        }
        drop(state);
        // After the lock: a waker's drop is somebody else's code.
        drop(waker);
    }
}

/// Has the members go on behind what they cannot have, and says what that is and its place.
///
/// `told` is a place at or behind which the client is, or zero. Up to `here` all topics are among
/// the members.
pub(super) fn skip_lost(
    members: &mut [Member],
    requested: &Start,
    told: u64,
    here: u64,
    epoch: &Epoch,
) -> (Gap, u64) {
    let (mut earliest, mut latest, mut own) = (u64::MAX, None, Vec::new());
    for member in members {
        let state = member.cell.lock();
        member.next = member.next.max(state.first());
        let next = state.sequence(member.next).filter(|next| *next <= here);
        earliest = earliest.min(next.unwrap_or(u64::MAX));
        latest = latest.max(state.last_up_to(here));
        own.extend([member.cell.born, state.lost()]);
    }
    let id = |sequence| epoch.id(sequence);
    let Some(latest) = latest.filter(|_| earliest < u64::MAX) else {
        return (Gap::new(id(here)).requested(requested), here);
    };
    // The followed topics' own again, and the last of them: so that as little as can be is missing
    // for a client that resumes there.
    let before = own.into_iter().filter(|own| *own < earliest).max().unwrap_or_default();
    let place = before.max(told);
    let gap = Gap::new(id(place)).between(id(earliest), id(latest));
    (gap.requested(requested), place)
}
