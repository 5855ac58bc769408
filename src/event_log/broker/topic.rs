//! One topic of a broker's log in this process: its window, and the followers that wait for the
//! next event.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::{BrokerEvent, WindowLimits};
use crate::event_log::Topic;
use crate::event_log::wake_list::{Ticket, WakeList, look_or_register, wake_list};
use crate::sync::{lock, now};

/// One topic, while it has followers and for a time afterwards.
#[derive(Debug)]
pub(in crate::event_log) struct BrokerTopic {
    pub(in crate::event_log) name: Topic,
    limits: WindowLimits,
    state: Mutex<BrokerTopicState>,
}

#[derive(Debug)]
struct BrokerTopicState {
    loaded: bool,
    /// Whether the poller has read the topic once, so that the watermark holds for it.
    polled: bool,
    epoch: u64,
    /// Counts changes of the epoch. A position from before a change is void.
    resets: u32,
    /// The head of the log when the topic was loaded.
    head: u64,
    /// All events after this are in the window or will be. While the window has events, the
    /// predecessor of the first one counts instead.
    floor: u64,
    window: VecDeque<BrokerEvent>,
    bytes: usize,
    followers: usize,
    /// When the last follower was removed.
    unused_since: Instant,
    wakers: WakeList,
}

/// The content of a topic when it is followed for the first time.
#[derive(Debug)]
pub(in crate::event_log) struct LoadedTopic {
    pub(in crate::event_log) epoch: u64,
    /// The last sequence of the log. All events of the topic up to this are in `events` or before
    /// them.
    pub(in crate::event_log) head: u64,
    /// If there are no events, the last sequence of the topic, or one that is not smaller.
    pub(in crate::event_log) floor: u64,
    /// The last events.
    pub(in crate::event_log) events: Vec<BrokerEvent>,
}

/// What a window has after a position.
#[derive(Debug)]
pub(super) enum WindowLookup {
    Event(BrokerEvent),
    Nothing,
    /// Not all events after the position are in the window: the broker may have those up to this.
    Below(u64),
    /// The position is of another epoch, and these are the topic's resets and its epoch.
    Reset(u32, u64),
}

/// What a follower needs to know of a loaded topic to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadedState {
    pub(super) epoch: u64,
    pub(super) head: u64,
    pub(super) resets: u32,
}

impl BrokerTopic {
    pub(super) fn new(name: Topic, limits: WindowLimits) -> Self {
        let state = BrokerTopicState {
            loaded: false,
            polled: false,
            epoch: 0,
            resets: 0,
            head: 0,
            floor: 0,
            window: VecDeque::new(),
            bytes: 0,
            followers: 0,
            unused_since: now(),
            wakers: WakeList::new(),
        };
        Self { name, limits, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, BrokerTopicState> {
        lock(&self.state)
    }

    pub(in crate::event_log) fn load(&self, loaded: LoadedTopic) {
        let mut state = self.lock();
        state.loaded = true;
        (state.epoch, state.head) = (loaded.epoch, loaded.head);
        state.floor = loaded.events.first().map_or(loaded.floor, |event| event.before);
        for event in loaded.events {
            state.push(event, &self.limits);
        }
        drop(state);
        self.wake();
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.lock().loaded
    }

    pub(super) fn loaded_state(&self) -> Option<LoadedState> {
        let state = self.lock();
        let BrokerTopicState { epoch, head, resets, .. } = *state;
        state.loaded.then_some(LoadedState { epoch, head, resets })
    }

    /// Adds events that the poller read, in order. The caller wakes the followers.
    pub(in crate::event_log) fn push(&self, events: impl IntoIterator<Item = BrokerEvent>) {
        let mut state = self.lock();
        for event in events {
            if event.epoch != state.epoch {
                state.reset(event.epoch, event.before);
            }
            state.push(event, &self.limits);
        }
    }

    /// Empties the window if the epoch is another one, since the broker has lost everything, and
    /// returns whether it is. The poller then reads the topic from its beginning.
    pub(in crate::event_log) fn reset(&self, epoch: u64) -> bool {
        let mut state = self.lock();
        let changed = state.epoch != epoch;
        if changed {
            state.reset(epoch, 0);
        }
        changed
    }

    /// Notes that the poller has read the topic.
    pub(in crate::event_log) fn set_polled(&self) {
        self.lock().polled = true;
    }

    pub(super) fn is_polled(&self) -> bool {
        self.lock().polled
    }

    /// The sequence up to which the window is filled.
    pub(in crate::event_log) fn last(&self) -> u64 {
        self.lock().last()
    }

    /// The sequence of the last event in the window.
    pub(super) fn last_event(&self) -> Option<u64> {
        self.lock().window.back().map(|event| event.sequence)
    }

    pub(super) fn find(&self, position: u64, resets: u32, epoch: u64) -> WindowLookup {
        self.lock().find(position, resets, epoch)
    }

    /// The last event, if it finishes the topic and is not after the position.
    pub(super) fn end_up_to(&self, position: u64) -> Option<BrokerEvent> {
        let state = self.lock();
        let last = state.window.back().filter(|last| last.sequence <= position)?;
        last.logged.finishes_topic().then(|| last.clone())
    }

    /// Has `waker` woken by the next event. The caller looks afterwards, so that no event is
    /// missed.
    pub(super) fn register(&self, ticket: &mut Ticket, waker: &Waker) {
        look_or_register(|| self.lock(), |state| &mut state.wakers, ticket, waker, |_| None::<()>);
    }

    pub(in crate::event_log) fn wake(&self) {
        wake_list(|| self.lock(), |state| &mut state.wakers);
    }

    pub(super) fn add_follower(&self) {
        self.lock().followers += 1;
    }

    pub(super) fn remove_follower(&self, ticket: &mut Ticket) {
        let mut state = self.lock();
        state.followers -= 1;
        state.unused_since = now();
        let waker = state.wakers.deregister(ticket);
        if state.followers == 0 {
            state.wakers.shrink_if_empty();
        }
        drop(state);
        // After the lock: a waker's drop is foreign code.
        drop(waker);
    }

    /// Whether the topic has had no follower for so long.
    pub(super) fn is_unused(&self, now: Instant, time: Duration) -> bool {
        let state = self.lock();
        state.followers == 0 && now.saturating_duration_since(state.unused_since) >= time
    }
}

impl BrokerTopicState {
    fn push(&mut self, event: BrokerEvent, limits: &WindowLimits) {
        if event.sequence <= self.last() {
            return;
        }
        self.bytes += event.logged.bytes().len();
        self.window.push_back(event);
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
        self.window.back().map_or(self.floor, |event| event.sequence)
    }

    fn find(&self, position: u64, resets: u32, epoch: u64) -> WindowLookup {
        if resets != self.resets {
            return WindowLookup::Reset(self.resets, self.epoch);
        }
        // The follower read of the next epoch in a page, and the poller has not noticed it yet.
        if epoch != self.epoch {
            return WindowLookup::Nothing;
        }
        let floor = self.window.front().map_or(self.floor, |event| event.before);
        if position < floor {
            return WindowLookup::Below(floor);
        }
        let next = self.window.partition_point(|event| event.sequence <= position);
        self.window.get(next).cloned().map_or(WindowLookup::Nothing, WindowLookup::Event)
    }
}
