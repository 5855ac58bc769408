//! The window of one topic in this process, and those who wait for its next event.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{Entry, Limits};
use crate::event_log::Topic;
use crate::event_log::wake_list::{Ticket, WakeList, look_or_register, wake_list};
use crate::sync::{lock, now};

/// One topic, while it is followed and for a time afterwards.
#[derive(Debug)]
pub(in crate::event_log) struct Cell {
    pub(in crate::event_log) topic: Topic,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    loaded: bool,
    /// Whether the upstream's watermark holds for this topic: the reader has read it once.
    read: bool,
    epoch: u64,
    /// Counts epochs. A place of another one is not a place.
    resets: u32,
    /// The head of the log when this was loaded.
    head: u64,
    /// While the window is empty: all that is behind this will be in it.
    floor: u64,
    window: VecDeque<Entry>,
    bytes: usize,
    followers: usize,
    /// When the last follower went.
    left: Instant,
    wakers: WakeList,
}

/// What a topic begins with.
#[derive(Debug)]
pub(in crate::event_log) struct Loaded {
    pub(in crate::event_log) epoch: u64,
    /// The last sequence of the log. All of the topic's up to this are in `entries` or before them.
    pub(in crate::event_log) head: u64,
    /// The last sequence of the topic, or one that is at least that, if there are no entries.
    pub(in crate::event_log) floor: u64,
    /// The last ones.
    pub(in crate::event_log) entries: Vec<Entry>,
}

/// What is behind a place.
#[derive(Debug)]
pub(super) enum Found {
    Entry(Entry),
    Nothing,
    /// What is behind it is not all in the window: the broker may have what is up to this.
    Below(u64),
    /// The place is of another epoch, or none as yet, and these are the topic's resets and its epoch.
    Reset(u32, u64),
}

/// What a follower has to know to begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Birth {
    pub(super) epoch: u64,
    pub(super) head: u64,
    pub(super) resets: u32,
}

impl Cell {
    pub(super) fn new(topic: Topic, limits: Limits) -> Self {
        let state = State {
            loaded: false,
            read: false,
            epoch: 0,
            resets: 0,
            head: 0,
            floor: 0,
            window: VecDeque::new(),
            bytes: 0,
            followers: 0,
            left: now(),
            wakers: WakeList::new(),
        };
        Self { topic, limits, state: Mutex::new(state) }
    }

    /// What is behind the lock is whole between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn load(&self, loaded: Loaded) {
        let mut state = self.lock();
        state.loaded = true;
        (state.epoch, state.head) = (loaded.epoch, loaded.head);
        state.floor = loaded.entries.first().map_or(loaded.floor, |entry| entry.before);
        for entry in loaded.entries {
            state.push(entry, &self.limits);
        }
        drop(state);
        self.wake();
    }

    pub(in crate::event_log) fn is_loaded(&self) -> bool {
        self.lock().loaded
    }

    /// Takes what the reader read, in order. Nobody is woken as yet.
    pub(in crate::event_log) fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut state = self.lock();
        for entry in entries {
            if entry.epoch != state.epoch {
                state.reset(entry.epoch, entry.before);
            }
            state.push(entry, &self.limits);
        }
    }

    /// Forgets all, since the broker has: the reader reads it from its beginning.
    pub(in crate::event_log) fn reset(&self, epoch: u64) -> bool {
        let mut state = self.lock();
        let other = state.epoch != epoch;
        if other {
            state.reset(epoch, 0);
        }
        other
    }

    /// From now on the watermark holds.
    pub(in crate::event_log) fn set_read(&self) {
        self.lock().read = true;
    }

    pub(super) fn is_read(&self) -> bool {
        self.lock().read
    }

    /// The last sequence that is known.
    pub(in crate::event_log) fn last(&self) -> u64 {
        self.lock().last()
    }

    pub(super) fn last_event(&self) -> Option<u64> {
        self.lock().window.back().map(|entry| entry.sequence)
    }

    pub(super) fn birth(&self) -> Option<Birth> {
        let state = self.lock();
        let State { epoch, head, resets, .. } = *state;
        state.loaded.then_some(Birth { epoch, head, resets })
    }

    pub(super) fn find(&self, place: u64, resets: u32, epoch: u64) -> Found {
        self.lock().find(place, resets, epoch)
    }

    /// Has `waker` woken by what comes next, and then looks: so nothing comes in between.
    pub(super) fn wait(&self, ticket: &mut Ticket, waker: &Waker) {
        look_or_register(|| self.lock(), |state| &mut state.wakers, ticket, waker, |_| None::<()>);
    }

    pub(in crate::event_log) fn wake(&self) {
        wake_list(|| self.lock(), |state| &mut state.wakers);
    }

    pub(super) fn join(&self) {
        self.lock().followers += 1;
    }

    pub(super) fn leave(&self, ticket: &mut Ticket) {
        let mut state = self.lock();
        state.followers -= 1;
        state.left = now();
        let waker = state.wakers.deregister(ticket);
        if state.followers == 0 {
            state.wakers.shrink_if_empty();
        }
        drop(state);
        drop(waker);
    }

    /// Whether nobody has followed it for so long.
    pub(super) fn is_left(&self, now: Instant, since: Duration) -> bool {
        let state = self.lock();
        state.followers == 0 && now.saturating_duration_since(state.left) >= since
    }
}

impl State {
    fn push(&mut self, entry: Entry, limits: &Limits) {
        if entry.sequence <= self.last() {
            return;
        }
        self.bytes += entry.logged.bytes().len();
        self.window.push_back(entry);
        while self.window.len() > limits.events || self.bytes > limits.bytes {
            let Some(oldest) = self.window.pop_front() else { break };
            self.bytes -= oldest.logged.bytes().len();
            self.floor = oldest.sequence;
        }
    }

    fn reset(&mut self, epoch: u64, floor: u64) {
        self.window.clear();
        (self.bytes, self.epoch, self.floor) = (0, epoch, floor);
        self.resets += 1;
    }

    fn last(&self) -> u64 {
        self.window.back().map_or(self.floor, |entry| entry.sequence)
    }

    fn find(&self, place: u64, resets: u32, epoch: u64) -> Found {
        if resets != self.resets {
            return Found::Reset(self.resets, self.epoch);
        }
        // The broker told the follower of the next epoch, and the reader has not noticed as yet.
        if epoch != self.epoch {
            return Found::Nothing;
        }
        let floor = self.window.front().map_or(self.floor, |entry| entry.before);
        if place < floor {
            return Found::Below(floor);
        }
        let next = self.window.partition_point(|entry| entry.sequence <= place);
        self.window.get(next).map_or(Found::Nothing, |entry| Found::Entry(entry.clone()))
    }
}
