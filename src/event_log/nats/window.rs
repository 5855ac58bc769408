//! The last events that this process has read, and those who wait for the next ones.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use slab::Slab;

use crate::event_log::wake_list::{Ticket, WakeList};
use crate::event_log::{Logged, Topic, Topics};

/// The last events of all topics that this process has read, in the order of the stream.
///
/// One reader fills it, and any number of followers read it.
#[derive(Debug)]
pub(super) struct Window {
    /// Counts the streams: places in one mean nothing in the next.
    pub(super) generation: u64,
    /// When the stream was made, in nanoseconds. What ids begin with.
    pub(super) epoch: u64,
    /// All events behind this and up to `head` are here.
    floor: u64,
    /// The last sequence that was read.
    pub(super) head: u64,
    /// The last sequence of which it is known that it was given out. What follows from now on
    /// follows behind it.
    pub(super) known: u64,
    events: VecDeque<(u64, Logged)>,
    bytes: usize,
    limits: Limits,
    topics: HashMap<Topic, Cell>,
    /// Those who follow several topics.
    wakers: WakeList,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

/// A topic with events, or with followers of it alone.
#[derive(Debug)]
struct Cell {
    events: VecDeque<(u64, Logged)>,
    /// Events up to this may have been here, and are not any more.
    lost: u64,
    followers: usize,
    wakers: WakeList,
}

impl Cell {
    fn new(lost: u64) -> Self {
        Self { events: VecDeque::new(), lost, followers: 0, wakers: WakeList::new() }
    }
}

/// What there is for a follower.
pub(super) enum Found {
    Event(u64, Logged),
    /// Nothing up to this place.
    Nothing(u64),
    /// Events may be missing here that the server has.
    Behind,
    /// It is another stream now.
    Anew,
}

impl Window {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            generation: 0,
            epoch: 0,
            floor: 0,
            head: 0,
            known: 0,
            events: VecDeque::new(),
            bytes: 0,
            limits,
            topics: HashMap::new(),
            wakers: WakeList::new(),
        }
    }

    /// Begins anew with a stream of which nothing is known but its last sequence.
    pub(super) fn begin(&mut self, epoch: u64, head: u64, known: u64) -> Vec<Slab<Waker>> {
        self.generation += 1;
        self.epoch = epoch;
        self.known = known;
        self.lose(head)
    }

    /// Takes note that events up to there cannot be read any more.
    pub(super) fn lose(&mut self, up_to: u64) -> Vec<Slab<Waker>> {
        (self.floor, self.head) = (up_to, up_to);
        self.known = self.known.max(up_to);
        self.events.clear();
        self.bytes = 0;
        self.topics.retain(|_, cell| cell.followers > 0);
        for cell in self.topics.values_mut() {
            cell.events.clear();
            cell.lost = up_to;
        }
        self.wake_all()
    }

    fn wake_all(&mut self) -> Vec<Slab<Waker>> {
        let cells = self.topics.values_mut().filter_map(|cell| cell.wakers.take_all());
        cells.chain(self.wakers.take_all()).collect()
    }

    /// Takes note that so many sequences were given out.
    pub(super) fn know(&mut self, generation: u64, sequence: u64) {
        if generation == self.generation {
            self.known = self.known.max(sequence);
        }
    }

    /// Takes the next event; none for a message that is not one.
    pub(super) fn push(
        &mut self,
        sequence: u64,
        event: Option<Logged>,
    ) -> [Option<Slab<Waker>>; 2] {
        self.head = sequence;
        self.known = self.known.max(sequence);
        let Some(event) = event else {
            return [None, None];
        };
        self.bytes += event.bytes().len();
        self.events.push_back((sequence, event.clone()));
        let (topic, floor) = (event.topic().clone(), self.floor);
        let cell = self.topics.entry(topic).or_insert_with(|| Cell::new(floor));
        cell.events.push_back((sequence, event));
        let wakers = [cell.wakers.take_all(), self.wakers.take_all()];
        while self.events.len() > self.limits.events || self.bytes > self.limits.bytes {
            self.forget_first();
        }
        wakers
    }

    fn forget_first(&mut self) {
        let Some((sequence, event)) = self.events.pop_front() else {
            return;
        };
        self.floor = sequence;
        self.bytes -= event.bytes().len();
        if let Some(cell) = self.topics.get_mut(event.topic()) {
            cell.events.pop_front();
            cell.lost = sequence;
            if cell.events.is_empty() && cell.followers == 0 {
                self.topics.remove(event.topic());
            }
        }
    }

    /// Looks for the first event behind `place`.
    pub(super) fn next(&self, topics: &Topics, generation: u64, place: u64) -> Found {
        if generation != self.generation {
            return Found::Anew;
        }
        let (events, lost) = match topics.single() {
            Some(topic) => match self.topics.get(topic) {
                Some(cell) => (&cell.events, cell.lost),
                None => return Found::Behind,
            },
            None => (&self.events, self.floor),
        };
        if lost > place {
            return Found::Behind;
        }
        let first = events.partition_point(|(sequence, _)| *sequence <= place);
        let mut events = events.range(first..);
        let fits = |event: &Logged| topics.single().is_some() || topics.matches(event.topic());
        match events.find(|(_, event)| fits(event)) {
            Some((sequence, event)) => Found::Event(*sequence, event.clone()),
            None => Found::Nothing(place.max(self.head)),
        }
    }

    /// Has a topic stay for a follower of it alone.
    pub(super) fn join(&mut self, topics: &Topics) {
        if let Some(topic) = topics.single() {
            let floor = self.floor;
            self.topics.entry(topic.clone()).or_insert_with(|| Cell::new(floor)).followers += 1;
        }
    }

    /// Lets go of it, and gives the waker that waited, to be dropped outside of locks.
    pub(super) fn leave(&mut self, topics: &Topics, ticket: &mut Ticket) -> Option<Waker> {
        let Some(topic) = topics.single() else {
            return self.wakers.deregister(ticket);
        };
        let cell = self.topics.get_mut(topic)?;
        let waker = cell.wakers.deregister(ticket);
        cell.followers -= 1;
        if cell.followers == 0 {
            cell.wakers.shrink_if_empty();
            if cell.events.is_empty() {
                self.topics.remove(topic);
            }
        }
        waker
    }

    /// Those who wait for events of these topics.
    pub(super) fn wakers(&mut self, topics: &Topics) -> &mut WakeList {
        match topics.single() {
            Some(topic) => match self.topics.get_mut(topic) {
                Some(cell) => &mut cell.wakers,
                None => &mut self.wakers,
            },
            None => &mut self.wakers,
        }
    }
}
