//! Feeds: which topics of a set of patterns had the last events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use slab::Slab;

use super::topic::TopicCell;
use crate::event_log::tree::TokenTree;
use crate::event_log::wake_list::{Ticket, WakeList, look_or_register, wake_and_recycle};
use crate::sync::lock;

/// What all followers of one set of patterns share: the last events of all topics that match, in
/// order, by their sequence and their topic.
///
/// So an event costs the same however many topics match, and wakes no follower of other patterns.
/// A feed is bounded. A follower that is before its floor looks at the topics themselves.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) patterns: Arc<[Box<str>]>,
    pub(super) tree: TokenTree<()>,
    state: Mutex<FeedState>,
}

#[derive(Debug)]
struct FeedState {
    entries: VecDeque<(u64, Arc<TopicCell>)>,
    /// All events after this are in `entries`.
    floor: u64,
    followers: usize,
    wakers: WakeList,
}

/// What a feed has after a position.
#[derive(Debug)]
pub(super) enum FeedLookup {
    Event(u64, Arc<TopicCell>),
    /// The feed does not go back so far.
    Below,
}

impl Feed {
    /// A feed of the events after `floor`, for a first follower.
    pub(super) fn new(patterns: Arc<[Box<str>]>, floor: u64) -> Self {
        let mut tree = TokenTree::default();
        patterns.iter().for_each(|pattern| *tree.place(pattern) = Some(()));
        let wakers = WakeList::new();
        let state = FeedState { entries: VecDeque::new(), floor, followers: 0, wakers };
        Self { patterns, tree, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, FeedState> {
        lock(&self.state)
    }

    /// Adds the next event, and returns the followers that wait. The caller holds the lock under
    /// which its sequence was given out, so events come in order.
    pub(super) fn push(&self, sequence: u64, cell: &Arc<TopicCell>) -> Option<Slab<Waker>> {
        let mut state = self.lock();
        // More than one of the patterns may match.
        if state.entries.back().is_some_and(|last| last.0 == sequence) {
            return None;
        }
        let dropped = match state.entries.len() >= MAX_ENTRIES {
            true => state.entries.pop_front(),
            false => None,
        };
        if let Some((dropped, _)) = &dropped {
            state.floor = *dropped;
        }
        state.entries.push_back((sequence, Arc::clone(cell)));
        let wakers = state.wakers.take_all();
        drop(state);
        drop(dropped);
        wakers
    }

    /// Wakes followers, outside of locks.
    pub(super) fn wake(&self, wakers: Slab<Waker>) {
        wake_and_recycle(wakers, || self.lock(), |state| &mut state.wakers);
    }

    /// The first event after a position.
    pub(super) fn look(&self, position: u64) -> Option<FeedLookup> {
        self.lock().look(position)
    }

    /// The first event after a position. If there is none, `waker` is woken by the next one.
    pub(super) fn look_or_wait(
        &self,
        position: u64,
        ticket: &mut Ticket,
        waker: &Waker,
    ) -> Option<FeedLookup> {
        look_or_register(
            || self.lock(),
            |state| &mut state.wakers,
            ticket,
            waker,
            |state| state.look(position),
        )
    }

    pub(super) fn add_follower(&self) {
        self.lock().followers += 1;
    }

    /// Removes a follower, and returns its waker, for the caller to drop outside of locks.
    pub(super) fn remove_follower(&self, ticket: &mut Ticket) -> Option<Waker> {
        let mut state = self.lock();
        state.followers -= 1;
        state.wakers.deregister(ticket)
    }

    pub(super) fn is_followed(&self) -> bool {
        self.lock().followers > 0
    }
}

impl FeedState {
    fn look(&self, position: u64) -> Option<FeedLookup> {
        if position < self.floor {
            return Some(FeedLookup::Below);
        }
        let next = match self.entries.back() {
            Some(last) if last.0 > position => {
                self.entries.partition_point(|(sequence, _)| *sequence <= position)
            }
            _ => return None,
        };
        let (sequence, cell) = self.entries.get(next)?;
        Some(FeedLookup::Event(*sequence, Arc::clone(cell)))
    }
}

/// As many events as a topic keeps by default.
const MAX_ENTRIES: usize = 1024;
