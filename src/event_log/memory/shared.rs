//! What all handles of a log share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::cell::{Cell, Common, Refused};
use super::directory::Directory;
use super::epoch::{Epoch, LONGEST_ID};
use super::scratch::Scratch;
use super::wake_list::{Ticket, WakeList, wake};
use super::{MemoryLogBuilder, MemoryLogError};
use crate::event_log::{Topic, Topics};
use crate::sync::{lock, now};
use crate::wire::{Event, EventId};

/// What all handles of a log share.
///
/// Locks are taken in this order: the directory, then a topic. A follower of one topic takes that
/// topic's only.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) common: Common,
    directory: RwLock<Directory>,
    /// Those who wait for topics to be born.
    births: Mutex<WakeList>,
    /// The birth of the youngest topic.
    youngest: AtomicU64,
    started: Instant,
    /// In nanoseconds after the start: the last sweep.
    swept: AtomicU64,
}

/// Topics that fit a pattern and were born since.
pub(super) struct Births {
    pub(super) cells: Vec<Arc<Cell>>,
    /// The last birth of all.
    pub(super) youngest: u64,
    /// Whether others have ended already.
    pub(super) missed: bool,
}

impl Shared {
    pub(super) fn new(limits: MemoryLogBuilder) -> Self {
        let common = Common {
            epoch: Epoch::new(),
            limits,
            head: AtomicU64::new(0),
            published: AtomicUsize::new(0),
        };
        Self {
            common,
            directory: RwLock::default(),
            births: Mutex::new(WakeList::new()),
            youngest: AtomicU64::new(0),
            started: now(),
            swept: AtomicU64::new(0),
        }
    }

    pub(super) fn append(&self, topic: &Topic, event: &Event) -> Result<EventId, MemoryLogError> {
        let room = "id: \n\n".len() + LONGEST_ID;
        let mut event = Scratch::write(event, room).ok_or(MemoryLogError::NoData)?;
        if event.len() + room > self.common.limits.bytes {
            return Err(MemoryLogError::TooLong);
        }
        let now = now();
        self.sweep_if_due(now, SWEEP_EVERY);
        loop {
            let cell = self.cell_to_publish(topic, now)?;
            match cell.append(&mut event, now, &self.common) {
                Ok(id) => return Ok(id),
                Err(Refused::Ended) => {}
                Err(Refused::Because(why)) => return Err(why),
            }
        }
    }

    fn cell_to_publish(&self, topic: &Topic, now: Instant) -> Result<Arc<Cell>, MemoryLogError> {
        if let Some(cell) = self.read().get(topic) {
            return Ok(Arc::clone(cell));
        }
        // Before it is made, so that what is refused leaves nothing behind.
        if self.is_full() {
            self.sweep_if_due(now, SWEEP_MIN);
            if self.is_full() {
                return Err(MemoryLogError::TooManyTopics);
            }
        }
        Ok(self.cell(topic, now))
    }

    fn is_full(&self) -> bool {
        self.common.published.load(Ordering::Relaxed) >= self.common.limits.topics
    }

    /// The topic of this name, which is made if it is not there.
    pub(super) fn cell(&self, topic: &Topic, now: Instant) -> Arc<Cell> {
        if let Some(cell) = self.read().get(topic) {
            return Arc::clone(cell);
        }
        let mut directory = self.write();
        if let Some(cell) = directory.get(topic) {
            return Arc::clone(cell);
        }
        let cell = directory.give_birth(topic, now, &self.common);
        self.youngest.store(cell.born, Ordering::SeqCst);
        let full = directory.is_full();
        drop(directory);
        self.wake_for_birth();
        if full {
            self.sweep_at(now);
        }
        cell
    }

    pub(super) fn topics(&self) -> usize {
        self.read().cells().count()
    }

    pub(super) fn window(&self, topic: &Topic) -> (usize, usize) {
        let cell = self.read().get(topic).map(Arc::clone);
        cell.map_or((0, 0), |cell| {
            let mut state = cell.lock();
            state.trim(now(), &self.common.limits);
            state.size()
        })
    }

    pub(super) fn followers(&self, topic: &Topic) -> usize {
        let cell = self.read().get(topic).map(Arc::clone);
        cell.map_or(0, |cell| cell.lock().followers as usize)
    }

    /// Ends what has been idle, if that was not looked at for so long.
    pub(super) fn sweep_if_due(&self, now: Instant, every: Duration) {
        let last = self.swept.load(Ordering::Relaxed);
        let passed = now.saturating_duration_since(self.started).as_nanos();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        if u128::from(passed.saturating_sub(last)) < every.as_nanos() {
            return;
        }
        // One of those who come at the same time.
        let relaxed = Ordering::Relaxed;
        if self.swept.compare_exchange(last, passed, relaxed, relaxed).is_ok() {
            self.sweep_at(now);
        }
    }

    pub(super) fn sweep(&self) {
        self.sweep_at(now());
    }

    fn sweep_at(&self, now: Instant) {
        // Looked at by the lock that others may have at the same time, and ended by the other.
        let is_idle = |cell: &&Arc<Cell>| {
            let mut state = cell.lock();
            state.trim(now, &self.common.limits);
            state.is_idle(now, &self.common.limits)
        };
        let idle: Vec<Arc<Cell>> = self.read().cells().filter(is_idle).cloned().collect();
        let mut directory = self.write();
        for cell in &idle {
            directory.end(cell, now, &self.common);
        }
        directory.swept();
    }

    /// Has `waker` woken by the next birth.
    pub(super) fn wait_for_births(&self, ticket: &mut Ticket, waker: &Waker) {
        if self.births().holds(ticket, waker) {
            return;
        }
        // Cloned outside of the lock, and what was there is dropped outside: somebody else's code.
        let waker = waker.clone();
        let known = self.births().wait(ticket, waker);
        drop(known);
    }

    pub(super) fn leave_births(&self, ticket: &mut Ticket) {
        let known = self.births().leave(ticket);
        drop(known);
    }

    fn wake_for_birth(&self) {
        let wakers = self.births().take();
        if let Some(emptied) = wakers.map(wake) {
            let rest = self.births().recycle(emptied);
            drop(rest);
        }
    }

    /// What was born behind `birth`; none if there was nothing.
    pub(super) fn born_behind(&self, birth: u64, topics: &Topics) -> Option<Births> {
        if self.youngest.load(Ordering::SeqCst) <= birth {
            return None;
        }
        let directory = self.read();
        let fits = |cell: &&Arc<Cell>| topics.fits_pattern(&cell.topic);
        Some(Births {
            cells: directory.born_behind(birth).filter(fits).cloned().collect(),
            youngest: self.youngest.load(Ordering::SeqCst),
            missed: directory.has_missed(topics, birth),
        })
    }

    /// The topics that fit a pattern, the last birth, and whether one that ended lost events behind
    /// `place`.
    pub(super) fn fitting(&self, topics: &Topics, place: u64) -> (Vec<Arc<Cell>>, u64, bool) {
        let directory = self.read();
        let cells = directory.cells().filter(|cell| topics.fits_pattern(&cell.topic));
        let births = self.youngest.load(Ordering::SeqCst);
        (cells.cloned().collect(), births, directory.has_lost(topics, place))
    }

    fn births(&self) -> std::sync::MutexGuard<'_, WakeList> {
        lock(&self.births)
    }

    fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sweep looks at every topic, so it must not come often; what is idle stays as much longer.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The same where there is no room for one more topic.
const SWEEP_MIN: Duration = Duration::from_secs(1);
