//! A follower's cursor in one topic: its position, its wait for the next event, and the gap it
//! skips.

use std::sync::Arc;
use std::task::Waker;

use super::topic_cell::{TopicCell, TopicState};
use crate::event_log::ids::LogEpoch;
use crate::event_log::wake_list::{Ticket, look_or_register};
use crate::event_log::{Gap, Start};

/// A follower's position in one topic.
#[derive(Debug)]
pub(super) struct MemoryCursor {
    pub(super) cell: Arc<TopicCell>,
    /// The index of the next event in the topic's window.
    pub(super) next: u64,
    ticket: Ticket,
    followed: Followed,
}

/// How a follower came to follow a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// By its name: the topic stays for the follower.
    ByName,
    /// By a pattern: the topic may end when it is idle.
    ByPattern,
}

/// What a look at a topic finds.
pub(super) enum NextEvent<T> {
    Ready(T),
    /// The next events were trimmed before the follower read them.
    Lost,
    Pending,
}

impl<T> NextEvent<T> {
    pub(super) fn map<R>(self, map: impl FnOnce(T) -> R) -> NextEvent<R> {
        match self {
            Self::Ready(event) => NextEvent::Ready(map(event)),
            Self::Lost => NextEvent::Lost,
            Self::Pending => NextEvent::Pending,
        }
    }
}

impl MemoryCursor {
    /// A cursor in a topic, at the index that `next` chooses; `None` if the topic has ended.
    pub(super) fn new<R>(
        cell: &Arc<TopicCell>,
        followed: Followed,
        next: impl FnOnce(&mut TopicState) -> (u64, R),
    ) -> Option<(Self, R)> {
        let mut state = cell.lock();
        if state.ended {
            return None;
        }
        state.followers += u32::from(followed == Followed::ByName);
        let (next, result) = next(&mut state);
        drop(state);
        let ticket = Ticket::default();
        Some((Self { cell: Arc::clone(cell), next, ticket, followed }, result))
    }

    /// Looks at the topic for what is at the cursor, and has `waker` woken by the topic's next event
    /// if there is nothing.
    pub(super) fn look<T>(
        &mut self,
        waker: &Waker,
        look: impl Fn(&mut TopicState, u64) -> Option<T>,
    ) -> NextEvent<T> {
        let (cell, next) = (&self.cell, self.next);
        let found = look_or_register(
            || cell.lock(),
            |state| &mut state.wakers,
            &mut self.ticket,
            waker,
            |state| match next < state.window.first() {
                true => Some(NextEvent::Lost),
                false => look(state, next).map(NextEvent::Ready),
            },
        );
        found.unwrap_or(NextEvent::Pending)
    }
}

impl Drop for MemoryCursor {
    fn drop(&mut self) {
        let mut state = self.cell.lock();
        state.followers -= u32::from(self.followed == Followed::ByName);
        let waker = state.wakers.deregister(&mut self.ticket);
        if state.followers == 0 {
            state.wakers.shrink_if_empty();
        }
        drop(state);
        // After the lock: a waker's drop is foreign code.
        drop(waker);
    }
}

/// Moves cursors past events that are lost, and returns the gap and its position.
///
/// `delivered` is a position that the client has reached, or zero. The cursors cover all topics
/// that have events up to `here`.
pub(super) fn skip_lost(
    cursors: &mut [MemoryCursor],
    requested: &Start,
    delivered: u64,
    here: u64,
    epoch: &LogEpoch,
) -> (Gap, u64) {
    let (mut earliest, mut latest, mut own) = (u64::MAX, None, Vec::new());
    for cursor in cursors {
        let state = cursor.cell.lock();
        let window = &state.window;
        cursor.next = cursor.next.max(window.first());
        let next = window.get(cursor.next).map(|event| event.sequence);
        earliest = earliest.min(next.filter(|next| *next <= here).unwrap_or(u64::MAX));
        latest = latest.max(window.last_up_to(here));
        own.extend([cursor.cell.created, window.lost()]);
    }
    let id = |sequence| epoch.id(sequence);
    let Some(latest) = latest.filter(|_| earliest < u64::MAX) else {
        return (Gap::new(id(here)).requested(requested), here);
    };
    // A sequence of the followed topics, so that it reveals none of other topics, and the last one
    // before the earliest event, so that a client that resumes there misses as little as possible.
    let before = own.into_iter().filter(|own| *own < earliest).max().unwrap_or_default();
    let position = before.max(delivered);
    let gap = Gap::new(id(position)).between(id(earliest), id(latest));
    (gap.requested(requested), position)
}
