//! What all handles of a log in memory share: its topics, and how they begin, are appended to and
//! end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;

use super::directory::{Directory, Matching};
use super::due::DueTopics;
use super::encoding::EncodedEvent;
use super::feed::Feed;
use super::log_state::LogState;
use super::messages::MessageIds;
use super::topic::{FiledAs, TopicCell};
use super::{MemoryLogBuilder, MemoryLogError};
use crate::event_log::ids::MAX_MEMORY_ID_LEN;
use crate::event_log::wake_list::Ticket;
use crate::event_log::{Appended, MessageId, Topic, Topics};
use crate::sync::{drop_caught, lock, now};
use crate::wire::{Event, EventId};

/// What all handles of a log share.
///
/// Locks are taken in this order: `messages`, the directory, then either `order` or `due`, then a
/// topic, then a feed. Topics do not end while the directory is read. A follower of one topic takes
/// that topic's lock only.
#[derive(Debug)]
pub(super) struct MemoryLogInner {
    pub(super) state: LogState,
    directory: RwLock<Directory>,
    /// Held while a sequence is given out and put into feeds, so that these are in order.
    order: Mutex<()>,
    due: Mutex<DueTopics>,
    /// Held while the event of a message is appended, so that one of two callers appends it.
    messages: Mutex<MessageIds>,
    started: Instant,
    /// When the last sweep was, in nanoseconds after the start.
    last_sweep: AtomicU64,
}

/// An event that was appended, and what is to be done when no lock is held any more.
struct AppendedEvent {
    id: EventId,
    sequence: u64,
    cell: Arc<TopicCell>,
    is_unfiled: bool,
    wakers: Option<Slab<Waker>>,
    feeds: Vec<(Arc<Feed>, Slab<Waker>)>,
}

impl MemoryLogInner {
    pub(super) fn new(limits: MemoryLogBuilder) -> Self {
        Self {
            state: LogState::new(limits),
            directory: RwLock::default(),
            order: Mutex::default(),
            due: Mutex::default(),
            messages: Mutex::default(),
            started: now(),
            last_sweep: AtomicU64::new(0),
        }
    }

    pub(super) fn append(&self, topic: &Topic, event: &Event) -> Result<EventId, MemoryLogError> {
        let (mut event, now) = (self.encode(event)?, now());
        self.sweep_if_due(now);
        let appended = self.store(topic, &mut event, now)?;
        Ok(self.announce(appended))
    }

    /// Appends the event of a message, unless it was taken before.
    pub(super) fn append_once(
        &self,
        topic: &Topic,
        event: &Event,
        message: &MessageId,
    ) -> Result<Appended, MemoryLogError> {
        let (mut event, now) = (self.encode(event)?, now());
        self.sweep_if_due(now);
        let mut messages = lock(&self.messages);
        if let Some(sequence) = messages.find(topic, message, now) {
            return Ok(Appended::repeat(self.state.epoch.id(sequence)));
        }
        let appended = self.store(topic, &mut event, now)?;
        messages.take((topic, message), appended.sequence, now, &self.state.limits);
        // A follower that is woken may append the next message.
        drop(messages);
        Ok(Appended::new(self.announce(appended)))
    }

    fn encode(&self, event: &Event) -> Result<EncodedEvent, MemoryLogError> {
        let room = "id: \n\n".len() + MAX_MEMORY_ID_LEN;
        let event = EncodedEvent::new(event, room).ok_or(MemoryLogError::NoData)?;
        match event.len() + room > self.state.limits.bytes {
            true => Err(MemoryLogError::TooLong),
            false => Ok(event),
        }
    }

    /// Puts an event into its topic. What wakes followers is for the caller to
    /// [do](Self::announce), since it is foreign code.
    fn store(
        &self,
        topic: &Topic,
        event: &mut EncodedEvent,
        now: Instant,
    ) -> Result<AppendedEvent, MemoryLogError> {
        match self.append_to_known(topic, event, now) {
            Some(appended) => appended,
            None => self.append_to_new(topic, event, now),
        }
    }

    /// Wakes the followers of an event, with no lock held.
    fn announce(&self, appended: AppendedEvent) -> EventId {
        if appended.is_unfiled {
            self.file(&appended.cell);
        }
        self.make_room();
        if let Some(wakers) = appended.wakers {
            appended.cell.wake(wakers);
        }
        for (feed, wakers) in appended.feeds {
            feed.wake(wakers);
        }
        appended.id
    }

    /// Appends to a topic that is there.
    fn append_to_known(
        &self,
        topic: &Topic,
        event: &mut EncodedEvent,
        now: Instant,
    ) -> Option<Result<AppendedEvent, MemoryLogError>> {
        let directory = self.read();
        let cell = directory.get(topic)?;
        Some(self.append_to(&directory, cell, event, now))
    }

    fn append_to_new(
        &self,
        topic: &Topic,
        event: &mut EncodedEvent,
        now: Instant,
    ) -> Result<AppendedEvent, MemoryLogError> {
        let is_full = || self.state.topics.load(Ordering::Relaxed) >= self.state.limits.topics;
        // Before the topic is created, so that an event that is refused leaves nothing behind.
        // Topics that only have events to trim may be looked at before one that can end.
        while is_full() {
            if !self.sweep(now, MAX_SWEPT) {
                return Err(MemoryLogError::TooManyTopics);
            }
        }
        let mut directory = self.write();
        let cell = self.get_or_create(&mut directory, topic, now);
        let appended = self.append_to(&directory, &cell, event, now);
        drop(directory);
        if appended.is_err() {
            self.file(&cell);
        }
        appended
    }

    fn get_or_create(
        &self,
        directory: &mut Directory,
        topic: &Topic,
        now: Instant,
    ) -> Arc<TopicCell> {
        if let Some(cell) = directory.get(topic) {
            return Arc::clone(cell);
        }
        self.state.without_events.fetch_add(1, Ordering::Relaxed);
        directory.create(topic, now, &self.state)
    }

    /// Appends to a topic of the directory, which is locked.
    fn append_to(
        &self,
        directory: &Directory,
        cell: &Arc<TopicCell>,
        event: &mut EncodedEvent,
        now: Instant,
    ) -> Result<AppendedEvent, MemoryLogError> {
        let in_order = directory.has_feeds().then(|| lock(&self.order));
        let feeds = in_order.as_ref().map(|_| directory.feeds_of(&cell.topic));
        let mut state = cell.lock();
        state.enter(&self.state)?;
        // The end of a topic is kept for longer than an event that others follow.
        let was_over = state.window.last_event().is_some_and(|last| last.finishes);
        let sequence = self.state.next_sequence();
        let mut digits = itoa::Buffer::new();
        let id = [self.state.epoch.prefix(), digits.format(sequence)];
        let wakers = state.append(event, (sequence, id), now, &self.state);
        let is_unfiled = was_over || !matches!(state.filed, Some(FiledAs::WithEvents(_)));
        let woken = |feed: Arc<Feed>| Some((Arc::clone(&feed), feed.push(sequence, cell)?));
        let feeds = feeds.into_iter().flatten().filter_map(woken).collect();
        let (id, cell) = (EventId::from_parts(&id), Arc::clone(cell));
        Ok(AppendedEvent { id, sequence, cell, is_unfiled, wakers, feeds })
    }

    /// Files a topic, after what decides about that has changed.
    fn file(&self, cell: &Arc<TopicCell>) {
        let mut due = lock(&self.due);
        due.file(cell, &mut cell.lock(), &self.state.limits);
    }

    /// Removes the events that would go first, of whatever topics, while all topics together have
    /// more bytes than they may.
    fn make_room(&self) {
        while self.state.bytes.load(Ordering::Relaxed) > self.state.limits.most_bytes() {
            let mut due = lock(&self.due);
            let Some(oldest) = due.oldest() else {
                return;
            };
            let mut state = oldest.lock();
            state.remove_oldest(&self.state);
            due.file(&oldest, &mut state, &self.state.limits);
        }
    }

    /// Adds a follower to a topic, which is created if it is not there. Returns `None` if there are
    /// too many topics that are only followed.
    pub(super) fn follow(&self, topic: &Topic, now: Instant) -> Option<Arc<TopicCell>> {
        let add = |cell: &Arc<TopicCell>| {
            cell.lock().followers += 1;
            Arc::clone(cell)
        };
        if let Some(cell) = self.read().get(topic) {
            return Some(add(cell));
        }
        let followed = || self.state.without_events.load(Ordering::Relaxed);
        while followed() >= self.state.limits.followed && self.sweep(now, MAX_SWEPT) {}
        let mut directory = self.write();
        if directory.get(topic).is_none() && followed() >= self.state.limits.followed {
            return None;
        }
        let cell = self.get_or_create(&mut directory, topic, now);
        Some(add(&cell))
    }

    /// Removes a follower from a topic.
    pub(super) fn unfollow(&self, cell: &Arc<TopicCell>, ticket: &mut Ticket) {
        let mut state = cell.lock();
        let waker = state.remove_follower(ticket);
        let may_end = state.followers == 0 && state.window.is_empty();
        drop(state);
        // After the lock: a waker's drop is foreign code.
        drop_caught(waker);
        if may_end {
            self.file(cell);
        }
    }

    /// Adds a follower to the feed of the patterns among these topics, and returns a head: all
    /// events after it will be in the feed.
    pub(super) fn follow_feed(&self, topics: &Topics) -> (Arc<Feed>, u64) {
        // No event is appended meanwhile.
        let mut directory = self.write();
        let head = self.state.head();
        (directory.follow_feed(topics, head), head)
    }

    /// Removes a follower from a feed.
    pub(super) fn unfollow_feed(&self, feed: &Arc<Feed>, ticket: &mut Ticket) {
        let waker = feed.remove_follower(ticket);
        drop_caught(waker);
        if !feed.is_followed() {
            self.write().remove_feed(feed);
        }
    }

    /// A head up to which all events are in their feeds.
    pub(super) fn head_of_feeds(&self) -> u64 {
        let _in_order = lock(&self.order);
        self.state.head()
    }

    pub(super) fn matching(&self, feed: &Feed) -> Matching {
        self.read().matching(feed)
    }

    pub(super) fn topics(&self) -> usize {
        self.read().len()
    }

    pub(super) fn get(&self, topic: &Topic) -> Option<Arc<TopicCell>> {
        self.read().get(topic).map(Arc::clone)
    }

    /// The topic of this name; if it is not there, one that nothing else has.
    pub(super) fn get_to_read(&self, topic: &Topic, now: Instant) -> Arc<TopicCell> {
        let directory = self.read();
        let made = || {
            let (created, floor) = (self.state.next_sequence(), directory.floor(topic));
            Arc::new(TopicCell::new(topic.clone(), created, floor, now))
        };
        directory.get(topic).map_or_else(made, Arc::clone)
    }

    pub(super) fn forget(&self, topic: &Topic, after: Duration) {
        if let (Some(cell), Some(at)) = (self.get(topic), now().checked_add(after)) {
            cell.lock().forget_at(at);
            self.file(&cell);
        }
    }

    /// Looks at topics that are due, if the last look was some time ago.
    pub(super) fn sweep_if_due(&self, now: Instant) {
        let last = self.last_sweep.load(Ordering::Relaxed);
        let elapsed = now.saturating_duration_since(self.started).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        if u128::from(elapsed.saturating_sub(last)) < SWEEP_INTERVAL.as_nanos() {
            return;
        }
        // One of several callers sweeps.
        let relaxed = Ordering::Relaxed;
        if self.last_sweep.compare_exchange(last, elapsed, relaxed, relaxed).is_ok() {
            self.sweep(now, MAX_SWEPT);
            lock(&self.messages).sweep(now, MAX_SWEPT);
        }
    }

    /// Looks at all topics that are due.
    pub(super) fn sweep_all(&self, now: Instant) {
        while self.sweep(now, MAX_SWEPT) {}
    }

    /// Looks at topics that are due, but not at more than so many: trims them, and ends those that
    /// are idle. Returns whether there were any.
    fn sweep(&self, now: Instant, most: usize) -> bool {
        let taken = lock(&self.due).take(now, most);
        let is_idle = |cell: &Arc<TopicCell>| {
            let is_idle = cell.trimmed(now, &self.state).is_idle(now, &self.state.limits);
            if !is_idle {
                self.file(cell);
            }
            is_idle
        };
        let any = !taken.is_empty();
        let idle: Vec<_> = taken.into_iter().filter(is_idle).collect();
        if !idle.is_empty() {
            let mut directory = self.write();
            for cell in &idle {
                self.end_if_idle(&mut directory, cell, now);
            }
        }
        any
    }

    fn end_if_idle(&self, directory: &mut Directory, cell: &Arc<TopicCell>, now: Instant) {
        let mut due = lock(&self.due);
        let mut state = cell.lock();
        // It may have been ended by another sweep.
        if !directory.get(&cell.topic).is_some_and(|it| Arc::ptr_eq(it, cell)) {
            return;
        }
        if !state.is_idle(now, &self.state.limits) {
            return due.file(cell, &mut state, &self.state.limits);
        }
        due.remove(cell, &mut state);
        state.leave(&self.state);
        let last = state.window.floor();
        drop((state, due));
        directory.end(&cell.topic, last);
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The least time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_millis(10);

/// A sweep looks at no more topics, so that no call waits for long.
const MAX_SWEPT: usize = 256;
