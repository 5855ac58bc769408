//! What all handles of a log in memory share: its topics, their creation and their sweeps.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::directory::{AppendRefused, Directory, LogState, TopicCell};
use super::encoding::EncodedEvent;
use super::{MemoryLogBuilder, MemoryLogError};
use crate::event_log::ids::{LogEpoch, MAX_MEMORY_ID_LEN};
use crate::event_log::wake_list::{Ticket, WakeList, look_or_register, wake_list};
use crate::event_log::{Topic, Topics};
use crate::sync::{lock, now};
use crate::wire::{Event, EventId};

/// What all handles of a log share.
///
/// Locks are taken in this order: the directory, then a topic. A follower of one topic takes that
/// topic's lock only.
#[derive(Debug)]
pub(super) struct MemoryLogInner {
    pub(super) state: LogState,
    directory: RwLock<Directory>,
    /// The followers that wait for topics to be created.
    creation_wakers: Mutex<WakeList>,
    /// The creation of the newest topic.
    last_creation: AtomicU64,
    started: Instant,
    /// When the last sweep was, in nanoseconds after the start.
    last_sweep: AtomicU64,
}

/// Topics that match a pattern and were created since a follower last looked.
pub(super) struct CreatedTopics {
    pub(super) cells: Vec<Arc<TopicCell>>,
    /// The last creation of any topic.
    pub(super) last_creation: u64,
    /// Whether other topics of the pattern were created and have ended already.
    pub(super) missed: bool,
}

impl MemoryLogInner {
    pub(super) fn new(limits: MemoryLogBuilder) -> Self {
        let state = LogState {
            epoch: LogEpoch::random(),
            limits,
            head: AtomicU64::new(0),
            topics: AtomicUsize::new(0),
        };
        Self {
            state,
            directory: RwLock::default(),
            creation_wakers: Mutex::new(WakeList::new()),
            last_creation: AtomicU64::new(0),
            started: now(),
            last_sweep: AtomicU64::new(0),
        }
    }

    pub(super) fn append(&self, topic: &Topic, event: &Event) -> Result<EventId, MemoryLogError> {
        let room = "id: \n\n".len() + MAX_MEMORY_ID_LEN;
        let mut event = EncodedEvent::new(event, room).ok_or(MemoryLogError::NoData)?;
        if event.len() + room > self.state.limits.bytes {
            return Err(MemoryLogError::TooLong);
        }
        let now = now();
        self.sweep_if_due(now, SWEEP_INTERVAL);
        loop {
            let cell = self.cell_to_append(topic, now)?;
            match cell.append(&mut event, now, &self.state) {
                Ok(id) => return Ok(id),
                Err(AppendRefused::Ended) => {}
                Err(AppendRefused::Error(error)) => return Err(error),
            }
        }
    }

    fn cell_to_append(
        &self,
        topic: &Topic,
        now: Instant,
    ) -> Result<Arc<TopicCell>, MemoryLogError> {
        if let Some(cell) = self.read().get(topic) {
            return Ok(Arc::clone(cell));
        }
        // Before the topic is created, so that an event that is refused leaves nothing behind.
        if self.is_full() {
            self.sweep_if_due(now, MIN_SWEEP_INTERVAL);
            if self.is_full() {
                return Err(MemoryLogError::TooManyTopics);
            }
        }
        Ok(self.cell(topic, now))
    }

    fn is_full(&self) -> bool {
        self.state.topics.load(Ordering::Relaxed) >= self.state.limits.topics
    }

    /// The topic of this name, which is created if it is not there.
    pub(super) fn cell(&self, topic: &Topic, now: Instant) -> Arc<TopicCell> {
        if let Some(cell) = self.read().get(topic) {
            return Arc::clone(cell);
        }
        let mut directory = self.write();
        if let Some(cell) = directory.get(topic) {
            return Arc::clone(cell);
        }
        let cell = directory.create(topic, now, &self.state);
        self.last_creation.store(cell.created, Ordering::SeqCst);
        let full = directory.is_full();
        drop(directory);
        wake_list(|| lock(&self.creation_wakers), |wakers| wakers);
        if full {
            self.sweep(now);
        }
        cell
    }

    /// The topic of this name; if it is not there, one that nothing else has.
    pub(super) fn cell_to_read(&self, topic: &Topic, now: Instant) -> Arc<TopicCell> {
        let directory = self.read();
        let known = directory.get(topic).map(Arc::clone);
        known.unwrap_or_else(|| directory.make(topic, now, &self.state))
    }

    pub(super) fn topics(&self) -> usize {
        self.read().cells().count()
    }

    /// How many events there are in a topic, and their bytes.
    pub(super) fn window(&self, topic: &Topic) -> (usize, usize) {
        let cell = self.read().get(topic).map(Arc::clone);
        cell.map_or((0, 0), |cell| {
            let window = &mut cell.lock().window;
            window.trim(now(), &self.state.limits);
            (window.len(), window.bytes())
        })
    }

    pub(super) fn forget(&self, topic: &Topic, after: Duration) {
        let cell = self.read().get(topic).map(Arc::clone);
        if let (Some(cell), Some(at)) = (cell, now().checked_add(after)) {
            cell.lock().window.forget_at(at);
        }
    }

    pub(super) fn followers(&self, topic: &Topic) -> usize {
        let cell = self.read().get(topic).map(Arc::clone);
        cell.map_or(0, |cell| cell.lock().followers as usize)
    }

    /// Sweeps if the last sweep is at least `interval` ago.
    pub(super) fn sweep_if_due(&self, now: Instant, interval: Duration) {
        let last = self.last_sweep.load(Ordering::Relaxed);
        let elapsed = now.saturating_duration_since(self.started).as_nanos();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        if u128::from(elapsed.saturating_sub(last)) < interval.as_nanos() {
            return;
        }
        // One of several callers sweeps.
        let relaxed = Ordering::Relaxed;
        if self.last_sweep.compare_exchange(last, elapsed, relaxed, relaxed).is_ok() {
            self.sweep(now);
        }
    }

    /// Ends topics that are idle.
    pub(super) fn sweep(&self, now: Instant) {
        // Found under the lock that others may hold at the same time, and ended under the other.
        let is_idle = |cell: &&Arc<TopicCell>| {
            let mut state = cell.lock();
            state.window.trim(now, &self.state.limits);
            state.is_idle(now, &self.state.limits)
        };
        let idle: Vec<Arc<TopicCell>> = self.read().cells().filter(is_idle).cloned().collect();
        let mut directory = self.write();
        for cell in &idle {
            directory.end_if_idle(cell, now, &self.state);
        }
        directory.swept();
    }

    /// Has `waker` woken by the next creation of a topic.
    pub(super) fn wait_for_creation(&self, ticket: &mut Ticket, waker: &Waker) {
        let wakers = || lock(&self.creation_wakers);
        look_or_register(wakers, |wakers| wakers, ticket, waker, |_| None::<()>);
    }

    pub(super) fn stop_waiting(&self, ticket: &mut Ticket) {
        let waker = lock(&self.creation_wakers).deregister(ticket);
        drop(waker);
    }

    /// The topics of a pattern that were created after the creation `after`; `None` if no topic was
    /// created at all.
    pub(super) fn created_after(&self, after: u64, topics: &Topics) -> Option<CreatedTopics> {
        if self.last_creation.load(Ordering::SeqCst) <= after {
            return None;
        }
        let directory = self.read();
        let matches = |cell: &&Arc<TopicCell>| topics.matches_pattern(&cell.topic);
        Some(CreatedTopics {
            cells: directory.created_after(after).filter(matches).cloned().collect(),
            last_creation: self.last_creation.load(Ordering::SeqCst),
            missed: directory.has_missed(topics, after),
        })
    }

    /// The topics that match a pattern, the last creation of any topic, and whether a topic that
    /// ended lost events after `position`.
    pub(super) fn matching(
        &self,
        topics: &Topics,
        position: u64,
    ) -> (Vec<Arc<TopicCell>>, u64, bool) {
        let directory = self.read();
        let cells = directory.cells().filter(|cell| topics.matches_pattern(&cell.topic));
        let last_creation = self.last_creation.load(Ordering::SeqCst);
        (cells.cloned().collect(), last_creation, directory.has_lost(topics, position))
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time between two sweeps. A sweep looks at every topic, so it must not come often; an idle
/// topic may stay for as much longer.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// The time between two sweeps if there is no room for one more topic.
const MIN_SWEEP_INTERVAL: Duration = Duration::from_secs(1);
