//! One topic: its window of events, and those who wait for the next one.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;

use super::ended::Ended;
use super::epoch::Epoch;
use super::piece::Piece;
use super::scratch::Scratch;
use super::wake_list::{WakeList, wake};
use super::{MemoryLogBuilder, MemoryLogError};
use crate::event_log::{Logged, Topic};
use crate::sync::lock;
use crate::wire::EventId;

/// One topic, from its birth to its end.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) topic: Topic,
    /// A sequence of its own, before all of its events: a place that reveals no other topic's ids.
    pub(super) born: u64,
    /// What was lost in earlier lives.
    pub(super) before: Ended,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    window: VecDeque<Slot>,
    /// Counts the events that were trimmed: the number of the window's first event.
    first: u64,
    /// The sequence of the last event that was trimmed, or was before the birth. Zero for none.
    lost: u64,
    /// What may have been lost before the birth, of which nobody knows more.
    unknown: u64,
    bytes: usize,
    /// What was last made for several followers at one place.
    piece: Option<Piece>,
    /// Whether there was an event since the birth.
    published: bool,
    /// Those that follow it by name, for whom it stays.
    pub(super) followers: u32,
    touched: Instant,
    pub(super) ended: bool,
    pub(super) wakers: WakeList,
}

#[derive(Debug)]
struct Slot {
    sequence: u64,
    at: Instant,
    bytes: Bytes,
    id_len: u8,
}

/// What the whole log has in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) epoch: Epoch,
    pub(super) limits: MemoryLogBuilder,
    /// The last sequence that was given out.
    ///
    /// An event's is taken under its topic's lock. So whoever reads this and then takes that lock
    /// sees all events of the topic up to what was read.
    pub(super) head: AtomicU64,
    /// Topics with events.
    pub(super) published: AtomicUsize,
}

impl Common {
    pub(super) fn next_sequence(&self) -> u64 {
        self.head.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// Why a topic did not take an event.
pub(super) enum Refused {
    /// It has ended; there may be a new one of its name.
    Ended,
    Because(MemoryLogError),
}

impl Cell {
    /// A topic that has lost what was `before`, and perhaps others up to `unknown`.
    pub(super) fn new(topic: Topic, born: u64, before: Ended, unknown: u64, now: Instant) -> Self {
        let state = State {
            window: VecDeque::new(),
            first: 0,
            lost: before.lost,
            unknown,
            bytes: 0,
            piece: None,
            published: false,
            followers: 0,
            touched: now,
            ended: false,
            wakers: WakeList::new(),
        };
        Self { topic, born, before, state: Mutex::new(state) }
    }

    /// A panic in somebody's waker is no reason to give up on the topic: what is behind the lock is
    /// whole between any two statements.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Appends what was encoded up to its id, and wakes who waits.
    pub(super) fn append(
        &self,
        event: &mut Scratch,
        now: Instant,
        common: &Common,
    ) -> Result<EventId, Refused> {
        let mut state = self.lock();
        if state.ended {
            return Err(Refused::Ended);
        }
        if !state.published {
            if common.published.fetch_add(1, Ordering::Relaxed) >= common.limits.topics {
                common.published.fetch_sub(1, Ordering::Relaxed);
                return Err(Refused::Because(MemoryLogError::TooManyTopics));
            }
            state.published = true;
        }
        let sequence = common.next_sequence();
        let mut digits = itoa::Buffer::new();
        let id = [common.epoch.text(), digits.format(sequence)];
        let slot = Slot {
            sequence,
            at: now,
            bytes: event.finish(&id),
            // At most 41, see `LONGEST_ID`.
            id_len: u8::try_from(id[0].len() + id[1].len()).unwrap_or(u8::MAX),
        };
        state.touched = now;
        state.bytes += slot.bytes.len();
        state.window.push_back(slot);
        state.trim(now, &common.limits);
        let wakers = state.wakers.take();
        drop(state);

        // Outside of the lock, which each of them takes first thing on another thread.
        if let Some(emptied) = wakers.map(wake) {
            let rest = self.lock().wakers.recycle(emptied);
            drop(rest);
        }
        Ok(EventId::from_parts(&id))
    }
}

impl State {
    /// Forgets what is too old or too much.
    pub(super) fn trim(&mut self, now: Instant, limits: &MemoryLogBuilder) {
        while let Some(slot) = self.window.front() {
            let old = now.saturating_duration_since(slot.at) >= limits.age;
            let much = self.window.len() > limits.events || self.bytes > limits.bytes;
            if !old && !much {
                return;
            }
            self.bytes -= slot.bytes.len();
            self.lost = slot.sequence;
            self.first += 1;
            self.window.pop_front();
            // It is never longer there than its events.
            if self.piece.as_ref().is_some_and(|piece| piece.first < self.first) {
                self.piece = None;
            }
        }
        // A topic where nothing happens costs nothing for what happened once.
        self.window.shrink_to(SMALL);
    }

    /// Whether nobody would miss the topic. It keeps what an event might be asked for.
    pub(super) fn is_idle(&self, now: Instant, limits: &MemoryLogBuilder) -> bool {
        let quiet = now.saturating_duration_since(self.touched) >= limits.idle;
        self.followers == 0 && self.window.is_empty() && (quiet || !self.published)
    }

    /// Ends the topic, and says what is lost with it.
    pub(super) fn end(&mut self, cell: &Cell, common: &Common) -> Ended {
        self.ended = true;
        if !self.published {
            return cell.before;
        }
        common.published.fetch_sub(1, Ordering::Relaxed);
        Ended { lost: self.lost, born: cell.born }
    }

    /// Whether events behind `place` cannot be had any more, or perhaps so.
    pub(super) fn has_lost(&self, place: u64) -> bool {
        self.lost.max(self.unknown) > place
    }

    /// The sequence up to which events of the topic are known to be lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// How many events there are, and their bytes.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.window.len(), self.bytes)
    }

    /// The number of the first event that there is.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the first event behind `place`.
    pub(super) fn behind(&self, place: u64) -> u64 {
        self.first + self.window.partition_point(|slot| slot.sequence <= place) as u64
    }

    /// The sequence of the event with this number.
    pub(super) fn sequence(&self, number: u64) -> Option<u64> {
        self.slot(number).map(|slot| slot.sequence)
    }

    /// The sequence of the last event up to `place`.
    pub(super) fn last_up_to(&self, place: u64) -> Option<u64> {
        let number = self.behind(place).checked_sub(1)?;
        self.sequence(number)
    }

    /// The event with this number: its sequence, its bytes and its id's length.
    pub(super) fn event(&self, number: u64) -> Option<(u64, Bytes, usize)> {
        let slot = self.slot(number)?;
        Some((slot.sequence, slot.bytes.clone(), usize::from(slot.id_len)))
    }

    /// The event with this number, and those behind it that can be given with it.
    pub(super) fn piece(&mut self, number: u64) -> Option<Piece> {
        let slot = self.slot(number)?;
        let next = number + 1;
        if self.slot(next).is_none() {
            let (last, bytes) = (slot.sequence, slot.bytes.clone());
            return Some(Piece { first: number, next, last, bytes });
        }
        if let Some(piece) = self.piece.as_ref().filter(|piece| piece.first == number) {
            return Some(piece.clone());
        }
        let at = usize::try_from(number - self.first).ok()?;
        let events = self.window.range(at..).map(|slot| (slot.sequence, &slot.bytes));
        let Some(piece) = Piece::join(number, events) else {
            let (last, bytes) = (slot.sequence, slot.bytes.clone());
            return Some(Piece { first: number, next, last, bytes });
        };
        // The others that were woken are at the same place, or have been there.
        if self.followers > 1 {
            self.piece = Some(piece.clone());
        }
        Some(piece)
    }

    fn slot(&self, number: u64) -> Option<&Slot> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.window.get(at)
    }
}

/// An event out of a topic's window.
pub(super) fn logged(cell: &Cell, (_, bytes, id_len): (u64, Bytes, usize)) -> Logged {
    Logged::encoded(cell.topic.clone(), bytes, id_len)
}

/// A window for so many events is kept when it is empty.
const SMALL: usize = 4;
