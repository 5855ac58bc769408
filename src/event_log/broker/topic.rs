//! One topic of a broker's log in this process: its window, what it was told of and does not have,
//! and the followers that wait for the next event.

use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::fetches::Turn;
use super::{BrokerEvent, WindowLimits};
use crate::event_log::wake_list::{Ticket, WakeList, look_or_register, wake_list};
use crate::event_log::window::{Cursor, Entry, Found, Placement, Window};
use crate::event_log::{GapReason, Topic};
use crate::sync::{drop_caught, lock, now};

/// One topic, while it has followers and for a time afterwards.
#[derive(Debug)]
pub(in crate::event_log) struct BrokerTopic {
    pub(in crate::event_log) name: Topic,
    limits: WindowLimits,
    pub(super) turn: Turn,
    state: Mutex<BrokerTopicState>,
}

#[derive(Debug)]
struct BrokerTopicState {
    content: Content,
    window: Window<BrokerEvent>,
    /// The head of the log when the topic was loaded.
    head: u64,
    /// The broker keeps no event of the topic up to this.
    gone: u64,
    fetching: Fetching,
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

/// Whether a topic is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetching {
    No,
    /// It waits to be fetched, or is being fetched.
    Awaited,
    /// The same, and what it was asked for last, if anything, was before the log branched.
    Outdated,
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
    /// These are all events that the broker keeps of the topic.
    pub(in crate::event_log) whole: bool,
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

/// What a topic has for a cursor.
#[derive(Debug)]
pub(super) enum TopicLookup {
    Event(BrokerEvent),
    Nothing,
    /// There are events, which are being fetched.
    Awaited,
    /// Not all events after the position are in the window: the broker may have those up to this.
    Below(u64),
    /// Events up to the window are gone. The cursor is after them now, and lost them if there is a
    /// reason.
    Gone(Option<GapReason>),
    /// The cursor was of another generation, and is of this one now.
    Renewed(GapReason),
}

/// What a follower needs to know of a loaded topic to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadedState {
    pub(super) epoch: u64,
    pub(super) head: u64,
}

impl BrokerTopic {
    /// A topic that the caller [has fetched](super::BrokerTopics::add_to_fetch).
    pub(super) fn new(name: Topic, limits: WindowLimits) -> Self {
        let state = BrokerTopicState {
            content: Content::Unloaded,
            window: Window::new(0, 0),
            head: 0,
            gone: 0,
            fetching: Fetching::Awaited,
            complete: true,
            continued: None,
            followers: 0,
            unused_since: now(),
            swept: false,
            wakers: WakeList::new(),
        };
        Self { name, limits, turn: Turn::default(), state: Mutex::new(state) }
    }

    /// A topic for one look, which no sweep has to drop, and which has the last event only.
    pub(super) fn for_look(name: Topic) -> Self {
        let topic = Self::new(name, WindowLimits { events: 1, bytes: usize::MAX });
        topic.lock().swept = true;
        topic
    }

    pub(super) fn limits(&self) -> WindowLimits {
        self.limits
    }

    fn lock(&self) -> MutexGuard<'_, BrokerTopicState> {
        lock(&self.state)
    }

    /// Takes note of an event, and returns whether the caller must have the topic fetched. The
    /// caller wakes the followers.
    pub(in crate::event_log) fn announce(&self, named: Announcement) -> bool {
        let mut state = self.lock();
        let is_loaded = state.is_loaded();
        if is_loaded && state.window.epoch() != named.epoch {
            state.content = Content::Broken;
            return state.start_fetching();
        }
        let reached = state.window.announced();
        if named.sequence <= reached {
            return false;
        }
        let mut before = named.before;
        if named.continues && state.complete {
            let predecessor = is_loaded.then_some(reached);
            before = before.min(predecessor.unwrap_or(before));
            state.continued = Some((named.sequence, predecessor));
        }
        state.complete = true;
        if before > reached && is_loaded {
            state.content = Content::Broken;
        }
        let is_next = state.content == Content::Continuous && !state.window.is_behind();
        state.window.announce(named.sequence);
        match named.event {
            Some(event) if is_next => state.append(event, self.limits),
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
        let Some(last) = last else {
            state.complete &= none_expired;
            return false;
        };
        if last <= state.window.announced() {
            return false;
        }
        state.window.announce(last);
        if state.is_loaded() {
            state.content = Content::Broken;
        }
        state.start_fetching()
    }

    /// What the broker is to be asked for, if anything.
    pub(in crate::event_log) fn next_request(&self) -> Option<TopicRequest> {
        let mut state = self.lock();
        let (after, asked) = (state.window.last(), state.window.announced());
        let request = match state.content {
            Content::Unloaded | Content::Broken => Some(TopicRequest::Load(asked)),
            Content::Continuous => (asked > after).then_some(TopicRequest::Fill { after, asked }),
        };
        state.fetching = request.map_or(Fetching::No, |_| Fetching::Awaited);
        request
    }

    /// Takes the last events of the topic. What is between the window and them is left out, so that
    /// a topic that had many takes no more room and time. The caller wakes the followers.
    pub(in crate::event_log) fn load(&self, loaded: LoadedTopic, asked: u64) {
        let mut state = self.lock();
        if state.fetching == Fetching::Outdated {
            return;
        }
        let first_load = !state.is_loaded();
        let floor = loaded.events.first().map_or(loaded.floor, |event| event.before);
        if first_load {
            let announced = state.window.announced();
            state.begin(loaded.epoch, floor);
            state.window.announce(announced);
        } else if state.window.epoch() != loaded.epoch {
            state.reset(loaded.epoch, 0);
        } else if loaded.events.is_empty() {
            state.window.lose_to(asked);
        }
        (state.content, state.head) = (Content::Continuous, loaded.head);
        state.gone = if loaded.whole { floor } else { 0 };
        for event in loaded.events {
            state.append(event, self.limits);
        }
        let last = state.window.last();
        state.continued = match state.continued {
            Some((sequence, None)) => (sequence > last).then_some((sequence, Some(last))),
            known => known,
        };
    }

    /// Takes the events after the window, up to those that the topic had been told of. If there are
    /// none, the broker does not have them any more. The caller wakes the followers.
    pub(super) fn fill(&self, events: Vec<BrokerEvent>, asked: u64) {
        let mut state = self.lock();
        if state.fetching == Fetching::Outdated {
            return;
        }
        if events.is_empty() && asked <= state.window.announced() {
            state.window.lose_to(asked);
        }
        for event in events {
            if event.epoch != state.window.epoch() {
                state.reset(event.epoch, event.before);
            }
            state.append(event, self.limits);
        }
    }

    /// Begins anew if the epoch is another one, since the broker has lost everything. In its new
    /// life the topic may have had events up to `floor`.
    pub(in crate::event_log) fn reset(&self, epoch: u64, floor: u64) {
        let mut state = self.lock();
        if state.is_loaded() && state.window.epoch() != epoch {
            state.reset(epoch, floor);
        }
    }

    /// [Branches](Window::branch) its window, which is loaded anew. Returns whether the caller must
    /// have the topic fetched.
    #[cfg(feature = "redis")]
    pub(super) fn branch(&self) -> bool {
        let mut state = self.lock();
        if state.is_loaded() {
            state.window.branch();
            state.content = Content::Unloaded;
            (state.gone, state.complete, state.continued) = (0, true, None);
        }
        let must_fetch = state.start_fetching();
        state.fetching = Fetching::Outdated;
        must_fetch
    }

    pub(super) fn loaded_state(&self) -> Option<LoadedState> {
        let state = self.lock();
        let (epoch, head) = (state.window.epoch(), state.head);
        state.is_loaded().then_some(LoadedState { epoch, head })
    }

    /// The sequence up to which the window is filled.
    pub(super) fn last(&self) -> u64 {
        self.lock().window.last()
    }

    /// The sequence of the last event in the window.
    pub(super) fn last_event(&self) -> Option<u64> {
        self.lock().window.last_event().map(|event| event.sequence)
    }

    pub(super) fn start(&self, placement: Placement) -> Cursor {
        self.lock().window.start(placement)
    }

    /// Looks for what is next for a cursor.
    pub(super) fn find(&self, cursor: &mut Cursor) -> TopicLookup {
        let state = self.lock();
        match state.window.find(cursor) {
            Found::Moved => TopicLookup::Renewed(state.window.renew(cursor)),
            _ if !state.is_loaded() => TopicLookup::Awaited,
            Found::Event(event) => TopicLookup::Event(event.clone()),
            Found::Nothing if state.is_awaiting() => TopicLookup::Awaited,
            Found::Nothing => TopicLookup::Nothing,
            Found::Below(floor) if floor <= state.gone => TopicLookup::Gone(cursor.skip_to(floor)),
            Found::Below(floor) => TopicLookup::Below(floor),
        }
    }

    /// Whether a cursor is of this life of the log.
    pub(super) fn is_current(&self, cursor: &Cursor) -> bool {
        !matches!(self.lock().window.find(cursor), Found::Moved)
    }

    /// The sequence before an event that the broker returned, by what the topic was told.
    pub(super) fn before(&self, event: &BrokerEvent) -> u64 {
        self.lock().before(event)
    }

    /// The last event, if it finishes the topic and is not after the position.
    pub(super) fn end_up_to(&self, position: u64) -> Option<BrokerEvent> {
        let state = self.lock();
        let last = state.window.last_event().filter(|last| last.sequence <= position)?;
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
        drop_caught(waker);
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

    /// Whether there are events after the window that are being fetched.
    fn is_awaiting(&self) -> bool {
        self.content == Content::Broken || self.window.is_behind()
    }

    fn start_fetching(&mut self) -> bool {
        let must_fetch = self.fetching == Fetching::No;
        if must_fetch {
            self.fetching = Fetching::Awaited;
        }
        must_fetch
    }

    fn append(&mut self, mut event: BrokerEvent, limits: WindowLimits) {
        event.before = self.before(&event);
        self.window.append(event);
        self.window.trim_to(limits.events, limits.bytes);
    }

    fn before(&self, event: &BrokerEvent) -> u64 {
        let known = match self.continued {
            Some((sequence, known)) if sequence == event.sequence => known,
            // A follower read it before the topic was told of it.
            _ => Some(self.window.announced()).filter(|announced| {
                self.complete && event.follows_expired && event.sequence > *announced
            }),
        };
        known.map_or(event.before, |known| known.min(event.before))
    }

    /// Begins the window of a topic that is loaded, for the first time or after a branch.
    fn begin(&mut self, epoch: u64, floor: u64) {
        match self.window.epoch() == epoch {
            true => self.window.lose_to(floor),
            false => self.window.reset(epoch, floor),
        }
    }

    fn reset(&mut self, epoch: u64, floor: u64) {
        self.window.reset(epoch, floor);
        (self.gone, self.complete, self.continued) = (0, true, None);
    }
}

impl Entry for BrokerEvent {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn before(&self) -> Option<u64> {
        Some(self.before)
    }

    fn size(&self) -> usize {
        self.logged.bytes().len()
    }

    fn finishes_topic(&self) -> bool {
        self.logged.finishes_topic()
    }
}
