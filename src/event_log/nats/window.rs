//! The window of the last events that this process has read, and the followers that wait for the
//! next event.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use slab::Slab;

use crate::event_log::wake_list::{Ticket, WakeList};
use crate::event_log::{Logged, Topic, Topics};

/// The last events of all topics that this process has read, in the order of the stream.
///
/// The poller fills it, and any number of followers read it.
#[derive(Debug)]
pub(super) struct NatsWindow {
    /// Counts streams: a position in one stream means nothing in the next.
    pub(super) generation: u64,
    /// When the stream was created, in nanoseconds: the epoch of its ids.
    pub(super) epoch: u64,
    /// All events after this and up to `head` are here.
    floor: u64,
    /// The last sequence that was read.
    pub(super) head: u64,
    /// The last sequence that is known to be given out. A live follower starts after it.
    pub(super) known: u64,
    events: VecDeque<(u64, Logged)>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
    topics: HashMap<Topic, NatsTopic>,
    /// The followers of several topics.
    wakers: WakeList,
}

/// A topic that has events, or followers that follow it alone.
#[derive(Debug)]
struct NatsTopic {
    events: VecDeque<(u64, Logged)>,
    /// Events up to this may have been here and are not any more.
    lost: u64,
    followers: usize,
    wakers: WakeList,
}

impl NatsTopic {
    fn new(lost: u64) -> Self {
        Self { events: VecDeque::new(), lost, followers: 0, wakers: WakeList::new() }
    }
}

/// What the window has for a follower.
pub(super) enum NatsLookup {
    Event(u64, Logged),
    /// There is no event up to this position.
    Nothing(u64),
    /// The follower is behind the window: the server may have events that the window has not.
    Behind,
    /// The position is one in another stream.
    Reset,
}

impl NatsWindow {
    pub(super) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self {
            generation: 0,
            epoch: 0,
            floor: 0,
            head: 0,
            known: 0,
            events: VecDeque::new(),
            bytes: 0,
            max_events,
            max_bytes,
            topics: HashMap::new(),
            wakers: WakeList::new(),
        }
    }

    /// Begins with another stream, of which events after `head` will be read and sequences up to
    /// `known` were given out. Returns all wakers.
    pub(super) fn reset(&mut self, epoch: u64, head: u64, known: u64) -> Vec<Slab<Waker>> {
        self.generation += 1;
        self.epoch = epoch;
        self.known = known;
        self.skip_to(head)
    }

    /// Notes that events up to there cannot be read any more. Returns all wakers.
    pub(super) fn skip_to(&mut self, sequence: u64) -> Vec<Slab<Waker>> {
        (self.floor, self.head) = (sequence, sequence);
        self.known = self.known.max(sequence);
        self.events.clear();
        self.bytes = 0;
        self.topics.retain(|_, topic| topic.followers > 0);
        for topic in self.topics.values_mut() {
            topic.events.clear();
            topic.lost = sequence;
        }
        let wakers = self.topics.values_mut().filter_map(|topic| topic.wakers.take_all());
        wakers.chain(self.wakers.take_all()).collect()
    }

    /// Notes that sequences up to this were given out.
    pub(super) fn set_known(&mut self, generation: u64, sequence: u64) {
        if generation == self.generation {
            self.known = self.known.max(sequence);
        }
    }

    /// Pushes the next event, or `None` for a foreign message. Returns the wakers of followers of
    /// its topic.
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
        let (name, floor) = (event.topic().clone(), self.floor);
        let topic = self.topics.entry(name).or_insert_with(|| NatsTopic::new(floor));
        topic.events.push_back((sequence, event));
        let wakers = [topic.wakers.take_all(), self.wakers.take_all()];
        while self.events.len() > self.max_events || self.bytes > self.max_bytes {
            self.pop_first();
        }
        wakers
    }

    fn pop_first(&mut self) {
        let Some((sequence, event)) = self.events.pop_front() else {
            return;
        };
        self.floor = sequence;
        self.bytes -= event.bytes().len();
        if let Some(topic) = self.topics.get_mut(event.topic()) {
            topic.events.pop_front();
            topic.lost = sequence;
            if topic.events.is_empty() && topic.followers == 0 {
                self.topics.remove(event.topic());
            }
        }
    }

    /// The first event of these topics after `position`.
    pub(super) fn find(&self, topics: &Topics, generation: u64, position: u64) -> NatsLookup {
        if generation != self.generation {
            return NatsLookup::Reset;
        }
        let (events, lost) = match topics.single() {
            Some(name) => match self.topics.get(name) {
                Some(topic) => (&topic.events, topic.lost),
                None => return NatsLookup::Behind,
            },
            None => (&self.events, self.floor),
        };
        if lost > position {
            return NatsLookup::Behind;
        }
        let first = events.partition_point(|(sequence, _)| *sequence <= position);
        let mut events = events.range(first..);
        let matches = |event: &Logged| topics.single().is_some() || topics.matches(event.topic());
        match events.find(|(_, event)| matches(event)) {
            Some((sequence, event)) => NatsLookup::Event(*sequence, event.clone()),
            None => NatsLookup::Nothing(position.max(self.head)),
        }
    }

    /// Whether one of these topics may be finished by an event up to `position`: only the server
    /// knows, if this process has not read its last event, or if another node may have appended one
    /// after the end.
    pub(super) fn may_be_finished(&self, topics: &Topics, position: u64) -> bool {
        let goes_on = |topic: &NatsTopic| {
            topic.events.back().map_or(self.floor == 0, |(_, last)| !last.finishes_topic())
        };
        let mut names = topics.names();
        names.any(|name| {
            position > self.head || !self.topics.get(name).map_or(self.floor == 0, goes_on)
        })
    }

    /// Adds a follower: if it follows one topic, that topic stays.
    pub(super) fn add_follower(&mut self, topics: &Topics) {
        if let Some(name) = topics.single() {
            let floor = self.floor;
            let topic = self.topics.entry(name.clone()).or_insert_with(|| NatsTopic::new(floor));
            topic.followers += 1;
        }
    }

    /// Removes a follower, and returns its waker, for the caller to drop outside of locks.
    pub(super) fn remove_follower(
        &mut self,
        topics: &Topics,
        ticket: &mut Ticket,
    ) -> Option<Waker> {
        let Some(name) = topics.single() else {
            return self.wakers.deregister(ticket);
        };
        let topic = self.topics.get_mut(name)?;
        let waker = topic.wakers.deregister(ticket);
        topic.followers -= 1;
        if topic.followers == 0 {
            topic.wakers.shrink_if_empty();
            if topic.events.is_empty() {
                self.topics.remove(name);
            }
        }
        waker
    }

    /// The list for followers that wait for events of these topics.
    pub(super) fn wakers(&mut self, topics: &Topics) -> &mut WakeList {
        match topics.single() {
            Some(name) => match self.topics.get_mut(name) {
                Some(topic) => &mut topic.wakers,
                None => &mut self.wakers,
            },
            None => &mut self.wakers,
        }
    }
}
