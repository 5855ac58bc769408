//! One topic of a broker's log in this process: its window, what it was told of and does not have,
//! and the followers that wait for the next event.

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
    content: Content,
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
    /// The last sequence that the topic was told of.
    announced: u64,
    /// A task fetches what is missing.
    fetching: bool,
    /// The topic was told of all events so far, so it knows which one is the last.
    complete: bool,
    /// An event whose predecessor the broker does not know, and the one that it has by what the
    /// topic was told; `None` before it is loaded.
    continued: Option<(u64, Option<u64>)>,
    followers: usize,
    /// When the last follower was removed.
    unused_since: Instant,
    /// Whether a sweep will look at the topic.
    swept: bool,
    wakers: WakeList,
}

/// How a window stands to what its topic was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// It was not loaded yet.
    Unloaded,
    /// What was announced follows on the window.
    Continuous,
    /// Events between the window and what was announced are not known: the window begins anew.
    Broken,
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

/// An event of a topic that was appended.
#[derive(Debug)]
pub(in crate::event_log) struct Announcement {
    pub(in crate::event_log) epoch: u64,
    pub(in crate::event_log) sequence: u64,
    /// The sequence before this one in its topic; if it is not known, one that is not smaller.
    pub(in crate::event_log) before: u64,
    /// The broker does not know the sequence before, but the reader has read all events up to this
    /// one: the topic knows it.
    pub(in crate::event_log) continues: bool,
    /// The event, unless it is to be fetched.
    pub(in crate::event_log) event: Option<BrokerEvent>,
}

/// What a topic needs of the broker. `asked` is the last sequence that it was told of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::event_log) enum TopicRequest {
    Load(u64),
    Fill { after: u64, asked: u64 },
}

/// Whether a topic has no followers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unused {
    No,
    For(Duration),
}

/// What a window has after a position.
#[derive(Debug)]
pub(super) enum WindowLookup {
    Event(BrokerEvent),
    Nothing,
    /// There are events, which are being fetched.
    Awaited,
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
    /// A topic that the caller has fetched.
    pub(super) fn new(name: Topic, limits: WindowLimits) -> Self {
        let state = BrokerTopicState {
            content: Content::Unloaded,
            epoch: 0,
            resets: 0,
            head: 0,
            floor: 0,
            window: VecDeque::new(),
            bytes: 0,
            announced: 0,
            fetching: true,
            complete: true,
            continued: None,
            followers: 0,
            unused_since: now(),
            swept: false,
            wakers: WakeList::new(),
        };
        Self { name, limits, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, BrokerTopicState> {
        lock(&self.state)
    }

    /// Takes note of an event, and returns whether the caller must have the topic fetched. The
    /// caller wakes the followers.
    pub(in crate::event_log) fn announce(&self, named: Announcement) -> bool {
        let mut state = self.lock();
        if state.is_loaded() && state.epoch != named.epoch {
            state.content = Content::Broken;
            return state.start_fetching();
        }
        let reached = state.last().max(state.announced);
        if named.sequence <= reached {
            return false;
        }
        let mut before = named.before;
        if named.continues && state.complete {
            let predecessor = state.is_loaded().then_some(reached);
            before = before.min(predecessor.unwrap_or(before));
            state.continued = Some((named.sequence, predecessor));
        }
        state.complete = true;
        if before > reached && state.is_loaded() {
            state.content = Content::Broken;
        }
        let has_all_before =
            state.content == Content::Continuous && state.announced <= state.last();
        state.announced = named.sequence;
        match named.event {
            Some(event) if has_all_before => state.push(event, &self.limits),
            _ => return state.start_fetching(),
        }
        false
    }

    /// Takes note of the last sequence that the broker has, if it has any, after events that the
    /// topic was not told of; and returns whether the caller must have the topic fetched.
    ///
    /// `none_expired` means that no event can have come and expired in the meantime.
    pub(in crate::event_log) fn compare(&self, last: Option<u64>, none_expired: bool) -> bool {
        let mut state = self.lock();
        match last {
            Some(last) if last > state.last().max(state.announced) => {
                state.announced = last;
                if state.is_loaded() {
                    state.content = Content::Broken;
                }
                state.start_fetching()
            }
            Some(_) => false,
            None => {
                state.complete &= none_expired;
                false
            }
        }
    }

    /// What the broker is to be asked for, if anything.
    pub(in crate::event_log) fn next_request(&self) -> Option<TopicRequest> {
        let mut state = self.lock();
        let (last, asked) = (state.last(), state.announced);
        let request = match () {
            () if state.content != Content::Continuous => Some(TopicRequest::Load(asked)),
            () if asked > last => Some(TopicRequest::Fill { after: last, asked }),
            () => None,
        };
        state.fetching = request.is_some();
        request
    }

    /// Takes the last events of the topic. The caller wakes the followers.
    pub(in crate::event_log) fn load(&self, loaded: LoadedTopic, asked: u64) {
        let mut state = self.lock();
        let first_load = !state.is_loaded();
        if state.epoch != loaded.epoch && !first_load {
            state.reset(loaded.epoch, 0);
        }
        (state.epoch, state.head) = (loaded.epoch, loaded.head);
        // What is between the last event of the window and the first of these is left out.
        let first = loaded.events.first().map(|event| event.before);
        let floor = first.unwrap_or(if first_load { loaded.floor } else { asked });
        if floor > state.last() || first_load {
            state.clear(floor);
        }
        state.content = Content::Continuous;
        for event in loaded.events {
            state.push(event, &self.limits);
        }
        let last = state.last();
        state.continued = match state.continued {
            Some((sequence, None)) => (sequence > last).then_some((sequence, Some(last))),
            known => known,
        };
    }

    /// Takes the events after the window, up to those that the topic had been told of. If there are
    /// none, the broker does not have them any more. The caller wakes the followers.
    pub(super) fn fill(&self, events: Vec<BrokerEvent>, asked: u64) {
        let mut state = self.lock();
        if events.is_empty() && asked > state.last() && asked <= state.announced {
            state.clear(asked);
        }
        for event in events {
            if event.epoch != state.epoch {
                state.reset(event.epoch, event.before);
            }
            state.push(event, &self.limits);
        }
    }

    /// Empties the window if the epoch is another one, since the broker has lost everything.
    pub(in crate::event_log) fn reset(&self, epoch: u64) {
        let mut state = self.lock();
        if state.is_loaded() && state.epoch != epoch {
            state.reset(epoch, 0);
        }
    }

    pub(super) fn loaded_state(&self) -> Option<LoadedState> {
        let state = self.lock();
        let BrokerTopicState { epoch, head, resets, .. } = *state;
        state.is_loaded().then_some(LoadedState { epoch, head, resets })
    }

    /// The sequence up to which the window is filled.
    pub(super) fn last(&self) -> u64 {
        self.lock().last()
    }

    /// The sequence of the last event in the window.
    pub(super) fn last_event(&self) -> Option<u64> {
        self.lock().window.back().map(|event| event.sequence)
    }

    pub(super) fn find(&self, position: u64, resets: u32, epoch: u64) -> WindowLookup {
        self.lock().find(position, resets, epoch)
    }

    /// The sequence before an event that the broker returned, by what the topic was told.
    pub(super) fn before(&self, event: &BrokerEvent) -> u64 {
        self.lock().before(event)
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

    /// Removes a follower, and returns whether the caller must have the topic looked at by a sweep.
    pub(super) fn remove_follower(&self, ticket: &mut Ticket) -> bool {
        let mut state = self.lock();
        state.followers -= 1;
        let waker = state.wakers.deregister(ticket);
        let unused = state.followers == 0;
        let mut sweep = false;
        if unused {
            state.unused_since = now();
            state.wakers.shrink_if_empty();
            sweep = !std::mem::replace(&mut state.swept, true);
        }
        drop(state);
        // After the lock: a waker's drop is foreign code.
        drop(waker);
        sweep
    }

    pub(super) fn is_unused(&self) -> bool {
        self.lock().followers == 0
    }

    /// How long the topic has had no follower. If it has one, a sweep does not look at it again.
    pub(super) fn unused_for(&self, now: Instant) -> Unused {
        let mut state = self.lock();
        if state.followers == 0 {
            return Unused::For(now.saturating_duration_since(state.unused_since));
        }
        state.swept = false;
        Unused::No
    }
}

impl BrokerTopicState {
    fn is_loaded(&self) -> bool {
        self.content != Content::Unloaded
    }

    fn start_fetching(&mut self) -> bool {
        !std::mem::replace(&mut self.fetching, true)
    }

    fn push(&mut self, mut event: BrokerEvent, limits: &WindowLimits) {
        if event.sequence <= self.last() {
            return;
        }
        event.before = self.before(&event);
        self.bytes += event.logged.bytes().len();
        self.window.push_back(event);
        while self.window.len() > limits.events || self.bytes > limits.bytes {
            let Some(oldest) = self.window.pop_front() else { break };
            self.bytes -= oldest.logged.bytes().len();
            self.floor = oldest.sequence;
        }
    }

    fn before(&self, event: &BrokerEvent) -> u64 {
        let known = self.continued.filter(|known| known.0 == event.sequence);
        known.and_then(|known| known.1).unwrap_or(event.before).min(event.before)
    }

    fn reset(&mut self, epoch: u64, floor: u64) {
        self.clear(floor);
        (self.epoch, self.announced) = (epoch, 0);
        (self.complete, self.continued) = (true, None);
        self.resets += 1;
    }

    fn clear(&mut self, floor: u64) {
        self.window.clear();
        (self.bytes, self.floor) = (0, floor);
    }

    fn last(&self) -> u64 {
        self.window.back().map_or(self.floor, |event| event.sequence)
    }

    fn find(&self, position: u64, resets: u32, epoch: u64) -> WindowLookup {
        if resets != self.resets {
            return WindowLookup::Reset(self.resets, self.epoch);
        }
        // The follower read of the next epoch in a page, and the reader has not noticed it yet.
        if epoch != self.epoch {
            return WindowLookup::Nothing;
        }
        let floor = self.window.front().map_or(self.floor, |event| event.before);
        if position < floor {
            return WindowLookup::Below(floor);
        }
        let next = self.window.partition_point(|event| event.sequence <= position);
        match self.window.get(next) {
            Some(event) => WindowLookup::Event(event.clone()),
            None if self.content == Content::Broken
                || self.announced > self.last().max(position) =>
            {
                WindowLookup::Awaited
            }
            None => WindowLookup::Nothing,
        }
    }
}
