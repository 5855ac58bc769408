//! One topic of a log in memory: its window, the followers that wait, and when it may go.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;

use super::encoding::EncodedEvent;
use super::log_state::LogState;
use super::stored::{JoinedEvents, StoredEvent};
use super::{MemoryLogBuilder, MemoryLogError};
use crate::event_log::finish::finish_id;
use crate::event_log::wake_list::{Ticket, WakeList, look_or_register, wake_and_recycle};
use crate::event_log::window::{Entry, Remaining, Window};
use crate::event_log::{Logged, Topic};
use crate::sync::lock;

/// One topic, from its creation to its end.
#[derive(Debug)]
pub(super) struct TopicCell {
    pub(super) topic: Topic,
    /// A sequence of the topic's own, before all of its events: a position that reveals no ids of
    /// other topics.
    pub(super) created: u64,
    state: Mutex<TopicState>,
}

#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) window: Window<StoredEvent>,
    /// The events that were joined last.
    joined: Option<JoinedEvents>,
    /// Whether an event was appended since the creation.
    pub(super) has_events: bool,
    /// The followers that follow the topic by name, for which it stays.
    pub(super) followers: u32,
    last_append: Instant,
    /// When the events may go, unless there are later ones.
    forget_at: Option<Instant>,
    pub(super) filed: Option<FiledAs>,
    wakers: Option<Box<WakeList>>,
}

/// Where a topic is filed, until it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FiledAs {
    WithEvents(Instant),
    Empty(Instant),
}

/// What a look at a topic finds.
pub(super) enum NextEvent<T> {
    Ready(T),
    /// The next events were removed before the follower read them.
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

impl TopicCell {
    /// A topic that may have had events up to `floor` in an earlier life.
    pub(super) fn new(topic: Topic, created: u64, floor: u64, now: Instant) -> Self {
        let state = TopicState {
            window: Window::new(0, floor),
            joined: None,
            has_events: false,
            followers: 0,
            last_append: now,
            forget_at: None,
            filed: None,
            wakers: None,
        };
        Self { topic, created, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, TopicState> {
        lock(&self.state)
    }

    /// Locks the topic, after events that are too old were removed.
    pub(super) fn trimmed(&self, now: Instant, log: &LogState) -> MutexGuard<'_, TopicState> {
        let mut state = self.lock();
        state.trim(now, log);
        state
    }

    /// Looks at the topic. If there is nothing, its next event wakes `waker`.
    pub(super) fn look_or_wait<T>(
        &self,
        ticket: &mut Ticket,
        waker: &Waker,
        look: impl Fn(&mut TopicState) -> Option<NextEvent<T>>,
    ) -> NextEvent<T> {
        let found = look_or_register(|| self.lock(), TopicState::wakers, ticket, waker, look);
        found.unwrap_or(NextEvent::Pending)
    }

    /// Wakes followers, outside of locks.
    pub(super) fn wake(&self, wakers: Slab<Waker>) {
        wake_and_recycle(wakers, || self.lock(), TopicState::wakers);
    }

    /// An event of the topic's window, to be returned to a follower.
    pub(super) fn logged(&self, event: StoredEvent) -> Logged {
        Logged::encoded(self.topic.clone(), event.bytes, usize::from(event.id_len))
    }

    /// The event with this sequence, if it is still there, and the sequence of the one after it.
    pub(super) fn take(&self, sequence: u64) -> Option<(Logged, Option<u64>)> {
        let state = self.lock();
        let event = state.window.after(sequence - 1).next()?.clone();
        let next = state.window.after(sequence).next().map(Entry::sequence);
        drop(state);
        (event.sequence == sequence).then(|| (self.logged(event), next))
    }

    /// What the topic has left after a position and up to `here`.
    pub(super) fn remaining(&self, position: u64, here: u64) -> Remaining {
        let state = self.lock();
        let window = &state.window;
        let first = window.after(position).next().map(Entry::sequence);
        let last = window.up_to(here).map(Entry::sequence);
        let events = first.filter(|first| *first <= here).zip(last);
        Remaining { before: self.created.max(window.floor()), events }
    }
}

impl TopicState {
    /// Appends an event that is encoded up to its id, which is given with its sequence.
    pub(super) fn append(
        &mut self,
        event: &mut EncodedEvent,
        (sequence, id): (u64, [&str; 2]),
        now: Instant,
        log: &LogState,
    ) -> Option<Slab<Waker>> {
        let bytes = event.finish(&id);
        (self.last_append, self.forget_at) = (now, None);
        log.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        self.window.append(StoredEvent {
            sequence,
            appended: now,
            finishes: finish_id(&bytes).is_some(),
            bytes,
            // At most `MAX_MEMORY_ID_LEN`.
            id_len: u8::try_from(id[0].len() + id[1].len()).unwrap_or(u8::MAX),
        });
        self.trim(now, log);
        self.wakers.as_mut().and_then(|wakers| wakers.take_all())
    }

    /// Counts the topic as one with events, if there may be one more.
    pub(super) fn enter(&mut self, log: &LogState) -> Result<(), MemoryLogError> {
        if self.has_events {
            return Ok(());
        }
        if log.topics.fetch_add(1, Ordering::Relaxed) >= log.limits.topics {
            log.topics.fetch_sub(1, Ordering::Relaxed);
            return Err(MemoryLogError::TooManyTopics);
        }
        log.without_events.fetch_sub(1, Ordering::Relaxed);
        self.has_events = true;
        Ok(())
    }

    /// Counts the topic no more.
    pub(super) fn leave(&self, log: &LogState) {
        let count = if self.has_events { &log.topics } else { &log.without_events };
        count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Removes events that are too old or too many.
    pub(super) fn trim(&mut self, now: Instant, log: &LogState) {
        let limits = &log.limits;
        self.remove(log, |state| {
            state.window.trim_to(limits.events, limits.bytes);
            let forget_at = state.forget_at;
            state.window.trim_while(|window| {
                expiry(window, forget_at, limits).is_some_and(|expiry| expiry <= now)
            });
        });
    }

    /// Removes the oldest event.
    pub(super) fn remove_oldest(&mut self, log: &LogState) {
        self.remove(log, |state| {
            let rest = state.window.len().saturating_sub(1);
            state.window.trim_to(rest, usize::MAX);
        });
    }

    fn remove(&mut self, log: &LogState, remove: impl FnOnce(&mut Self)) {
        let before = self.window.bytes();
        remove(self);
        let removed = before - self.window.bytes();
        if removed == 0 {
            return;
        }
        log.bytes.fetch_sub(removed, Ordering::Relaxed);
        // Joined events do not outlive the events that they are made of.
        if self.joined.as_ref().is_some_and(|joined| joined.begins_by(self.window.floor())) {
            self.joined = None;
        }
        self.window.shrink_if_empty();
    }

    /// Has the events removed from a moment on, unless there are later ones.
    pub(super) fn forget_at(&mut self, at: Instant) {
        self.forget_at = Some(at);
    }

    /// When the topic is to be looked at: its first event is too old then, or it may end. `None` if
    /// it stays as it is until it is appended to, or until its last follower leaves.
    pub(super) fn due(&self, limits: &MemoryLogBuilder) -> Option<FiledAs> {
        if let Some(expiry) = expiry(&self.window, self.forget_at, limits) {
            return Some(FiledAs::WithEvents(expiry));
        }
        let idle = match self.has_events {
            true => later(self.last_append, limits.idle),
            false => self.last_append,
        };
        let end = self.forget_at.map_or(idle, |at| at.min(idle));
        (self.followers == 0).then_some(FiledAs::Empty(end))
    }

    /// Whether the topic may end: it has no events, none was appended for a time, and no follower
    /// follows it by name.
    pub(super) fn is_idle(&self, now: Instant, limits: &MemoryLogBuilder) -> bool {
        matches!(self.due(limits), Some(FiledAs::Empty(end)) if end <= now)
    }

    /// The events after a position as one piece, or whatever else is there: the position after it,
    /// and its bytes.
    ///
    /// If there are several followers, joined events are kept for the others: they were woken
    /// together, so most are at the same position.
    pub(super) fn run_after(&mut self, position: u64) -> Option<(u64, Bytes)> {
        // Asked first, so that the window is searched for one of them only.
        if let Some(joined) = self.joined.as_ref().filter(|it| it.is_next_after(position)) {
            return Some(joined.run());
        }
        let events = self.window.after(position);
        let mut rest = events.clone();
        let first = rest.next()?;
        if first.finishes || rest.next().is_none() {
            return Some(first.run());
        }
        let before = self.window.up_to(position).map_or(self.window.floor(), Entry::sequence);
        let Some(joined) = JoinedEvents::of_many(before, events) else {
            return Some(first.run());
        };
        let run = joined.run();
        if self.followers > 1 {
            self.joined = Some(joined);
        }
        Some(run)
    }

    /// Whether events after a position are lost.
    pub(super) fn has_lost(&self, position: u64) -> bool {
        self.window.is_below(position)
    }

    pub(super) fn wakers(&mut self) -> &mut WakeList {
        self.wakers.get_or_insert_with(|| Box::new(WakeList::new()))
    }

    /// Removes a follower, and returns its waker, for the caller to drop outside of locks.
    pub(super) fn remove_follower(&mut self, ticket: &mut Ticket) -> Option<Waker> {
        self.followers -= 1;
        let waker = self.wakers.as_mut().and_then(|wakers| wakers.deregister(ticket));
        if self.followers == 0 {
            // Nothing waits, and no ticket is left.
            self.wakers = None;
        }
        waker
    }
}

/// When the first event of a window is too old. That a topic is over is known for as long as the
/// topic stays.
fn expiry(
    window: &Window<StoredEvent>,
    forget_at: Option<Instant>,
    limits: &MemoryLogBuilder,
) -> Option<Instant> {
    let first = window.first_event()?;
    let is_end = first.finishes && window.len() == 1;
    let kept = if is_end { limits.idle.max(limits.age) } else { limits.age };
    let expiry = later(first.appended, kept);
    Some(forget_at.map_or(expiry, |at| at.min(expiry)))
}

/// A settings' time may be longer than what a clock counts.
pub(super) fn later(from: Instant, time: Duration) -> Instant {
    from.checked_add(time.min(LONGEST)).unwrap_or(from)
}

const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
