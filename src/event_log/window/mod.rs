//! The one machine that decides which events of a topic a client gets, and what it is told of those
//! that it does not get: the table in the [module
//! docs](super#which-events-are-lost-and-what-a-client-is-told), without I/O and without a clock.
//!
//! A [`Window`] is what a process has of one topic (or of one sequence that several topics share).
//! A [`Cursor`] is the position of one client in it. A [`Placement`] is where a client starts.
//! Nothing else decides about gaps.
//!
//! # Words
//!
//! - A *sequence* is the number of an event. Sequences of one epoch are in one order over all
//!   topics, and a topic has holes in them.
//! - An *epoch* is the life of a log, from its creation until it loses everything. Ids begin with
//!   it. A *generation* counts the lives that this process has seen: a log that is set back to an
//!   earlier copy of itself keeps its epoch, and gives sequences out again.
//! - The *floor* of a window: each event of the topic that is after it, and not after
//!   [`last`](Window::last), is in the window. Events up to it may have been, and are not here.
//!   That is all that a window knows of them, and all that it needs to know.
//! - The *storage* is where events are that the window does not have: Redis, NATS, or nothing for a
//!   log in memory.
//!
//! # How a log drives a window
//!
//! | what happens | call |
//! | --- | --- |
//! | a topic is followed or appended to for the first time | [`Window::new`], with a floor up to which events may have been |
//! | the next event comes | [`append`](Window::append). An [`Entry`] that names its predecessor tells of holes itself; one that does not is the next by the log's word |
//! | it is known that there is an event, and it is not here | [`announce`](Window::announce), and then a range is read after [`last`](Window::last) |
//! | a range was read from the storage | [`append`](Window::append), for each event of it |
//! | events cannot be had any more, as those of a range that is empty, or were missed | [`lose_to`](Window::lose_to) |
//! | the window has more than it may, or what is too old | [`trim_to`](Window::trim_to), [`trim_while`](Window::trim_while) |
//! | the log lost everything, or was set back | [`reset`](Window::reset) |
//! | events may be missing before some that the window has, as another server of the broker took them | `branch`, and then what the storage has |
//!
//! # How a log drives a cursor
//!
//! [`Placement::of`] says where a client starts, and [`Window::start`] makes its cursor. Then, each
//! time that the client is polled, [`Window::find`] says what is next:
//!
//! | found | what the log does |
//! | --- | --- |
//! | [`Event`](Found::Event) | returns it, and calls [`Cursor::advance`] |
//! | [`Nothing`](Found::Nothing) | registers a waker for the topic's next event, under the same lock |
//! | [`Below`](Found::Below) | reads a range after [`Cursor::position`] from the storage. For each event of it, calls [`Cursor::skip_to`] with its predecessor, returns the gap if there is one, then the event, and calls [`Cursor::advance`]. If the storage has nothing, calls [`Cursor::skip_to`] with the floor |
//! | [`Moved`](Found::Moved) | calls [`Window::renew`] |
//!
//! A range is thrown away if the window was reset while it was read, or if its events are of
//! another epoch than [the window's](Window::epoch): then the log was lost and the window will be
//! reset, for which the client waits. A position means nothing in the next life of a log.
//!
//! Each call that returns a [`GapReason`](super::GapReason) asks for a gap with that reason before
//! the next event. [`position_after_gap`] says which position that gap names.

mod cursor;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::GapReason;

pub(super) use cursor::{Cursor, Placement, Remaining, position_after_gap};

/// An event in a window.
pub(super) trait Entry {
    /// The sequence of the event.
    fn sequence(&self) -> u64;

    /// The sequence of the event before this one in its topic, or one that is not smaller if it is
    /// not known. `None` if the log does not store it, and sees to it that none is missing.
    fn before(&self) -> Option<u64> {
        None
    }

    /// The bytes that count for the bound of a window.
    fn size(&self) -> usize;

    /// Whether the event finishes the topic.
    fn finishes_topic(&self) -> bool;
}

/// The last events of one topic, oldest first.
#[derive(Debug)]
pub(super) struct Window<E> {
    epoch: u64,
    generation: u64,
    /// The generation in which this life of the log began.
    began: u64,
    floor: u64,
    /// The sequence of the last event that is known to have been appended.
    announced: u64,
    events: VecDeque<E>,
    bytes: usize,
}

/// What [`Window::append`] did with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    /// It is the next one.
    Next,
    /// Events before it are missing. The window begins anew with it, so clients that are before it
    /// are [below](Found::Below) the window.
    AfterHole,
    /// The window had it before.
    Known,
}

/// What a window has for a cursor.
#[derive(Debug)]
pub(super) enum Found<'a, E> {
    /// The next event: none is missing before it.
    Event(&'a E),
    /// No event yet.
    Nothing,
    /// Events after the cursor, and up to this floor, are not here. The storage may have them.
    Below(u64),
    /// The cursor is of another generation.
    Moved,
}

impl<E> Window<E> {
    /// A window of a topic that may have had events up to `floor`; zero if it never had one.
    pub(super) const fn new(epoch: u64, floor: u64) -> Self {
        let events = VecDeque::new();
        Self { epoch, generation: 0, began: 0, floor, announced: floor, events, bytes: 0 }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether events after a position are not here, as [`Found::Below`] says.
    pub(super) fn is_below(&self, position: u64) -> bool {
        position < self.floor
    }

    pub(super) fn first_event(&self) -> Option<&E> {
        self.events.front()
    }

    pub(super) fn last_event(&self) -> Option<&E> {
        self.events.back()
    }

    /// Notes that the topic has events up to this sequence, which are not here yet.
    pub(super) fn announce(&mut self, sequence: u64) {
        self.announced = self.announced.max(sequence);
    }

    /// The last sequence that is known to have been appended.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn announced(&self) -> u64 {
        self.announced
    }

    /// Frees the room of a window that was busy once and is empty now.
    pub(super) fn shrink_if_empty(&mut self) {
        if self.events.is_empty() {
            self.events.shrink_to(KEPT_CAPACITY);
        }
    }
}

impl<E: Entry> Window<E> {
    /// The sequence up to which the window is filled.
    pub(super) fn last(&self) -> u64 {
        self.events.back().map_or(self.floor, Entry::sequence)
    }

    /// Whether events were announced that are not here yet.
    pub(super) fn is_behind(&self) -> bool {
        self.announced > self.last()
    }

    /// Appends an event.
    pub(super) fn append(&mut self, event: E) -> Appended {
        if event.sequence() <= self.last() {
            return Appended::Known;
        }
        let hole = event.before().filter(|before| *before > self.last());
        if let Some(before) = hole {
            self.lose_to(before);
        }
        self.announce(event.sequence());
        self.bytes += event.size();
        if self.events.capacity() == 0 {
            // Many topics have one event, and a vector that grows has room for four.
            self.events.reserve_exact(1);
        }
        self.events.push_back(event);
        hole.map_or(Appended::Next, |_| Appended::AfterHole)
    }

    /// Notes that events up to this sequence are not here, or not any more.
    pub(super) fn lose_to(&mut self, sequence: u64) {
        self.trim_while(|window| {
            window.events.front().is_some_and(|first| first.sequence() <= sequence)
        });
        if self.events.is_empty() {
            self.floor = self.floor.max(sequence);
        }
        self.announce(self.floor);
    }

    /// Removes the oldest events until there are at most so many, of so many bytes.
    pub(super) fn trim_to(&mut self, events: usize, bytes: usize) {
        self.trim_while(|window| window.len() > events || window.bytes > bytes);
    }

    /// Removes the oldest event while `is_due` holds.
    pub(super) fn trim_while(&mut self, is_due: impl Fn(&Self) -> bool) {
        while !self.events.is_empty() && is_due(self) {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.size();
            self.floor = oldest.sequence();
        }
    }

    /// Begins anew, since the log lost everything or was set back. In its new life the topic may
    /// have had events up to `floor`. All cursors are told of a restart.
    pub(super) fn reset(&mut self, epoch: u64, floor: u64) {
        let generation = self.generation + 1;
        *self = Self { generation, began: generation, ..Self::new(epoch, floor) };
    }

    /// Begins anew in the same life of the log, without events, since events may be missing before
    /// some that the window had. All cursors are told of a gap, and stay where they are.
    #[cfg(any(feature = "redis", test))]
    pub(super) fn branch(&mut self) {
        let (generation, began) = (self.generation + 1, self.began);
        *self = Self { generation, began, ..Self::new(self.epoch, 0) };
    }

    /// A cursor for a client that starts there.
    pub(super) fn start(&self, placement: Placement) -> Cursor {
        match placement {
            Placement::After(position) | Placement::Ahead(position) => {
                Cursor::new(self.generation, position, position)
            }
            // Of what was appended by now it asks for what is left.
            Placement::Earliest | Placement::Gap(_) => {
                Cursor::new(self.generation, 0, self.last().max(self.announced))
            }
        }
    }

    /// The position from which a client gets the event that finishes the topic, if that is the last
    /// one and the client is after it.
    pub(super) fn before_end(&self, position: u64) -> u64 {
        if !self.events.back().is_some_and(Entry::finishes_topic) {
            return position;
        }
        let before = self.events.len().checked_sub(2).and_then(|at| self.events.get(at));
        position.min(before.map_or(self.floor, Entry::sequence))
    }

    /// What is next for a cursor.
    pub(super) fn find(&self, cursor: &Cursor) -> Found<'_, E> {
        match cursor.generation == self.generation {
            true => self.look(cursor.position()),
            false => Found::Moved,
        }
    }

    /// What is next after a position of this life, which is all that there is to a cursor in a log
    /// that has only one.
    pub(super) fn look(&self, position: u64) -> Found<'_, E> {
        if self.is_below(position) {
            return Found::Below(self.floor);
        }
        self.after(position).next().map_or(Found::Nothing, Found::Event)
    }

    /// The events after a position, of those that are here.
    pub(super) fn after(&self, position: u64) -> impl DoubleEndedIterator<Item = &E> + Clone {
        self.events.range(self.index_after(position)..)
    }

    /// The last event up to a position, of those that are here.
    pub(super) fn up_to(&self, position: u64) -> Option<&E> {
        self.events.get(self.index_after(position).checked_sub(1)?)
    }

    /// Moves a cursor of another generation to this one: to its beginning, unless it is of the same
    /// life of the log.
    pub(super) fn renew(&self, cursor: &mut Cursor) -> GapReason {
        if cursor.generation >= self.began {
            cursor.generation = self.generation;
            return GapReason::Expired;
        }
        *cursor = self.start(Placement::Earliest);
        GapReason::Restarted
    }

    /// The index of the first event after a position. Most clients are near the end, so steps that
    /// double lead there from the last event.
    fn index_after(&self, position: u64) -> usize {
        let is_after = |at: usize| self.events.get(at).is_some_and(|it| it.sequence() > position);
        let len = self.events.len();
        // A client that waits has them all.
        if self.events.back().is_none_or(|last| last.sequence() <= position) {
            return len;
        }
        // The event so far from the end is after the position; the one twice as far is not, or is
        // none.
        let mut back = 1;
        while 2 * back <= len && is_after(len - 2 * back) {
            back *= 2;
        }
        let (mut low, mut high) = ((len + 1).saturating_sub(2 * back), len - back);
        while low < high {
            let middle = low + (high - low) / 2;
            if is_after(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        high
    }
}

/// Room for so many events is kept when a window is empty.
const KEPT_CAPACITY: usize = 4;
