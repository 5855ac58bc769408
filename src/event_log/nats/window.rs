//! The window of the last messages that this process has read, from which the followers read.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use slab::Slab;

use super::groups::{Groups, first_after};
use super::ids::{NatsPosition, Slot};
use super::link::NatsMessage;
use crate::event_log::wake_list::{Ticket, WakeList};
use crate::event_log::{Logged, Topic, Topics};

/// The last messages of all topics that this process has read, in the order of the stream.
///
/// The poller fills it, and any number of followers read it.
#[derive(Debug)]
pub(super) struct NatsWindow {
    /// Counts histories of the stream: a position in one means nothing in the next.
    pub(super) generation: u64,
    /// When the stream was created, in nanoseconds: the epoch of its ids.
    pub(super) epoch: u64,
    /// All messages after this slot and up to the last one are here.
    floor: Slot,
    messages: VecDeque<NatsMessage>,
    /// The last slot that is known to be given out. A live follower starts after it.
    pub(super) known: Slot,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    /// The sequences of the events of each topic.
    topics: HashMap<Topic, VecDeque<u64>>,
    groups: Groups,
    /// Whether the poller has ended.
    pub(super) has_ended: bool,
}

/// What the window has for a follower.
pub(super) enum NatsLookup {
    Event(NatsPosition, Logged),
    /// There is no event up to this position.
    Nothing(u64),
    /// The follower is behind the window: the server may have events that the window has not.
    Behind,
    /// The position is one in another history.
    Reset,
    /// Nobody reads the stream any more.
    Ended,
}

impl NatsWindow {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            generation: 0,
            epoch: 0,
            floor: Slot::default(),
            messages: VecDeque::new(),
            known: Slot::default(),
            bytes: 0,
            max_messages,
            max_bytes,
            topics: HashMap::new(),
            groups: Groups::default(),
            has_ended: false,
        }
    }

    /// The last slot that was read.
    pub(super) fn head(&self) -> Slot {
        self.messages.back().map_or(self.floor, |message| message.position.slot)
    }

    /// Begins with another history, of which messages after `head` will be read and sequences up to
    /// `known` were given out. Returns all wakers.
    pub(super) fn reset(&mut self, epoch: u64, head: Slot, known: Slot) -> Vec<Slab<Waker>> {
        self.generation += 1;
        (self.epoch, self.known) = (epoch, known);
        self.skip_to(head)
    }

    /// Notes that messages up to there cannot be read any more. Returns all wakers.
    pub(super) fn skip_to(&mut self, slot: Slot) -> Vec<Slab<Waker>> {
        self.floor = slot;
        self.messages.clear();
        self.topics.clear();
        self.bytes = 0;
        self.set_known(self.generation, slot);
        self.groups.clear(slot.sequence)
    }

    /// Notes that the poller has ended. Returns all wakers.
    pub(super) fn end(&mut self) -> Vec<Slab<Waker>> {
        self.has_ended = true;
        self.groups.take_all()
    }

    /// Notes that this slot was given out.
    pub(super) fn set_known(&mut self, generation: u64, slot: Slot) {
        if generation == self.generation && slot.sequence > self.known.sequence {
            self.known = slot;
        }
    }

    /// Pushes the next message. Returns the wakers of the followers that wait for it.
    pub(super) fn push(&mut self, message: NatsMessage) -> Vec<Slab<Waker>> {
        let slot = message.position.slot;
        self.set_known(self.generation, slot);
        let mut wakers = Vec::new();
        if let Some(event) = &message.event {
            self.bytes += event.bytes().len();
            let topic = event.topic();
            self.topics.entry(topic.clone()).or_default().push_back(slot.sequence);
            wakers = self.groups.push(topic, slot.sequence);
        }
        self.messages.push_back(message);
        while self.messages.len() > self.max_messages || self.bytes > self.max_bytes {
            self.pop_first();
        }
        wakers
    }

    fn pop_first(&mut self) {
        let Some(NatsMessage { position, event }) = self.messages.pop_front() else {
            return;
        };
        self.floor = position.slot;
        let Some(event) = event else {
            return;
        };
        self.bytes -= event.bytes().len();
        self.groups.pop(event.topic(), position.slot.sequence);
        if let Some(sequences) = self.topics.get_mut(event.topic()) {
            sequences.pop_front();
            if sequences.is_empty() {
                self.topics.remove(event.topic());
            }
        }
    }

    /// Whether this message has this sequence, or none if the slot is empty; `None` if only the
    /// server knows.
    pub(super) fn verify(&self, slot: Slot) -> Option<bool> {
        let at = self.messages.partition_point(|it| it.position.slot.sequence < slot.sequence);
        let found = match self.messages.get(at) {
            Some(message) if message.position.slot.sequence == slot.sequence => {
                message.position.slot
            }
            _ if self.floor.sequence == slot.sequence => self.floor,
            _ => return None,
        };
        // The floor may be a message that was trimmed before it was read.
        found.message.map(|message| Some(message) == slot.message)
    }

    /// The first event of the topics of a group after `position`.
    pub(super) fn find(&self, group: usize, generation: u64, position: u64) -> NatsLookup {
        if generation != self.generation {
            return NatsLookup::Reset;
        }
        let group = self.groups.get(group);
        if group.lost > position {
            return NatsLookup::Behind;
        }
        let first = match group.topics.has_patterns() {
            false => self.first_of_names(&group.topics, position),
            true if group.remembers(position) => group.first_recent(position),
            true => self.scan(&group.topics, position),
        };
        self.lookup(first, position)
    }

    /// The first event of topics that nobody need follow.
    pub(super) fn look(&self, topics: &Topics, generation: u64, position: u64) -> NatsLookup {
        match generation == self.generation {
            false => NatsLookup::Reset,
            true if self.floor.sequence > position => NatsLookup::Behind,
            true if topics.has_patterns() => self.lookup(self.scan(topics, position), position),
            true => self.lookup(self.first_of_names(topics, position), position),
        }
    }

    fn first_of_names(&self, topics: &Topics, position: u64) -> Option<u64> {
        let sequences = topics.names().filter_map(|name| self.topics.get(name));
        sequences.filter_map(|sequences| first_after(sequences, position)).min()
    }

    fn scan(&self, topics: &Topics, position: u64) -> Option<u64> {
        let matches = |message: &&NatsMessage| {
            message.event.as_ref().is_some_and(|event| topics.matches(event.topic()))
        };
        let found = self.messages.range(self.index_after(position)..).find(matches);
        found.map(|message| message.position.slot.sequence)
    }

    fn lookup(&self, first: Option<u64>, position: u64) -> NatsLookup {
        let found = first.and_then(|first| self.messages.get(self.index_after(first - 1)));
        match found.and_then(|it| Some((it.position, it.event.clone()?))) {
            Some((position, event)) => NatsLookup::Event(position, event),
            None if self.has_ended => NatsLookup::Ended,
            None => NatsLookup::Nothing(position.max(self.head().sequence)),
        }
    }

    fn index_after(&self, position: u64) -> usize {
        self.messages.partition_point(|it| it.position.slot.sequence <= position)
    }

    /// Whether one of these topics may be finished by an event up to `position`: only the server
    /// knows, if this process has not read its last event, or if another node may have appended one
    /// after the end.
    pub(super) fn may_be_finished(&self, topics: &Topics, position: u64) -> bool {
        let may_be = |name: &Topic| match self.topics.get(name).and_then(VecDeque::back) {
            Some(last) => match self.lookup(Some(*last), 0) {
                NatsLookup::Event(_, event) => event.finishes_topic(),
                _ => true,
            },
            None => self.floor.sequence > 0,
        };
        topics.names().any(|name| position > self.head().sequence || may_be(name))
    }

    /// Adds a follower, and returns the key of its group.
    pub(super) fn add_follower(&mut self, topics: &Topics) -> usize {
        self.groups.join(topics, self.floor.sequence, self.head().sequence)
    }

    /// How many followers there are.
    pub(super) fn followers(&self) -> usize {
        self.groups.followers()
    }

    /// Removes a follower, and returns its waker, for the caller to drop outside of locks.
    pub(super) fn remove_follower(&mut self, group: usize, ticket: &mut Ticket) -> Option<Waker> {
        self.groups.leave(group, ticket)
    }

    /// The list for followers that wait for events of a group.
    pub(super) fn wakers(&mut self, group: usize) -> &mut WakeList {
        &mut self.groups.get_mut(group).wakers
    }
}
