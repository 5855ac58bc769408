//! The window of the last messages that this process has read, from which the followers read.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use slab::Slab;

use super::groups::{Groups, first_after};
use super::ids::{Fingerprint, NatsPosition, Slot};
use super::link::NatsMessage;
use crate::event_log::wake_list::{Ticket, WakeList};
use crate::event_log::window::{Cursor, Entry, Found, Placement, Window};
use crate::event_log::{GapReason, Logged, Start, Topic, Topics};

/// The last messages of all topics that this process has read, in the order of the stream.
///
/// The poller fills it, and any number of followers read it. All topics share the sequence of the
/// stream, so one [`Window`] decides about gaps in all of them.
#[derive(Debug)]
pub(super) struct NatsWindow {
    messages: Window<NatsMessage>,
    /// The message at the floor of the window, if it is known.
    floor: Option<Fingerprint>,
    /// The last slot that is known to be given out. A live follower starts after it.
    pub(super) known: Slot,
    max_messages: usize,
    max_bytes: usize,
    /// The sequences of the events of each topic.
    topics: HashMap<Topic, VecDeque<u64>>,
    groups: Groups,
    /// Whether the poller has ended.
    pub(super) has_ended: bool,
}

impl Entry for NatsMessage {
    fn sequence(&self) -> u64 {
        self.position.slot.sequence
    }

    fn size(&self) -> usize {
        self.event.as_ref().map_or(0, |event| event.bytes().len())
    }

    fn finishes_topic(&self) -> bool {
        self.event.as_ref().is_some_and(Logged::finishes_topic)
    }
}

impl NatsWindow {
    pub(super) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            messages: Window::new(0, 0),
            floor: None,
            known: Slot::default(),
            max_messages,
            max_bytes,
            topics: HashMap::new(),
            groups: Groups::default(),
            has_ended: false,
        }
    }

    /// When the stream was created, in nanoseconds: the epoch of its ids. Zero if that is not known
    /// yet.
    pub(super) fn epoch(&self) -> u64 {
        self.messages.epoch()
    }

    /// The last slot that was read.
    pub(super) fn head(&self) -> Slot {
        let floor = Slot { sequence: self.messages.floor(), message: self.floor };
        self.messages.last_event().map_or(floor, |message| message.position.slot)
    }

    /// Begins with another history, of which messages after `head` will be read and sequences up to
    /// `known` were given out. Returns all wakers.
    pub(super) fn reset(&mut self, epoch: u64, head: Slot, known: Slot) -> Vec<Slab<Waker>> {
        self.messages.reset(epoch, head.sequence);
        self.known = known;
        self.skip_to(head)
    }

    /// Notes that messages up to there cannot be read any more. Returns all wakers.
    pub(super) fn skip_to(&mut self, slot: Slot) -> Vec<Slab<Waker>> {
        self.messages.lose_to(slot.sequence);
        self.floor = slot.message;
        self.topics.clear();
        self.note_given_out(slot);
        self.groups.clear(slot.sequence)
    }

    /// Notes that the poller has ended. Returns all wakers.
    pub(super) fn end(&mut self) -> Vec<Slab<Waker>> {
        self.has_ended = true;
        self.groups.take_all()
    }

    /// Notes that this slot was given out.
    pub(super) fn note_given_out(&mut self, slot: Slot) {
        if slot.sequence > self.known.sequence {
            self.known = slot;
        }
    }

    /// Pushes the next message. Returns the wakers of the followers that wait for it.
    pub(super) fn push(&mut self, mut message: NatsMessage) -> Vec<Slab<Waker>> {
        let slot = message.position.slot;
        self.note_given_out(slot);
        let mut wakers = Vec::new();
        if let Some(rolled_up) = &mut message.rolled_up {
            let last = self.topics.get(&rolled_up.topic).and_then(VecDeque::back);
            rolled_up.is_read = last == Some(&rolled_up.last);
        }
        if let Some(topic) = message.topic() {
            self.topics.entry(topic.clone()).or_default().push_back(slot.sequence);
            wakers = self.groups.push(topic, slot.sequence);
        }
        self.messages.append(message);
        while self.messages.len() > self.max_messages || self.messages.bytes() > self.max_bytes {
            self.pop_first();
        }
        wakers
    }

    fn pop_first(&mut self) {
        if let Some(first) = self.messages.first_event() {
            self.floor = first.position.slot.message;
            if let Some(topic) = first.topic() {
                self.groups.pop(topic, first.sequence());
                if let Some(sequences) = self.topics.get_mut(topic) {
                    sequences.pop_front();
                    if sequences.is_empty() {
                        self.topics.remove(topic);
                    }
                }
            }
        }
        self.messages.trim_to(self.messages.len().saturating_sub(1), usize::MAX);
    }

    /// Whether this message has this sequence, or none if the slot is empty; `None` if only the
    /// server knows.
    pub(super) fn verify(&self, slot: Slot) -> Option<bool> {
        let found = self.messages.up_to(slot.sequence).map(|message| message.position.slot);
        let found = match found {
            Some(found) if found.sequence == slot.sequence => found.message,
            // The floor may be a message that was trimmed before it was read.
            _ if self.messages.floor() == slot.sequence => self.floor,
            _ => None,
        };
        found.map(|message| Some(message) == slot.message)
    }

    /// Where a client starts. It is ahead if only the server knows whether its id is one of an
    /// event.
    pub(super) fn place(&self, from: &Start) -> Placement {
        let Start::After(id) = from else {
            return Placement::of(from, self.epoch(), self.known.sequence);
        };
        match NatsPosition::parse(id) {
            Some(id) if id.epoch == self.epoch() => match self.verify(id.slot) {
                Some(true) => Placement::After(id.sequence()),
                // The event was lost, and another one has its sequence.
                Some(false) => Placement::Gap(GapReason::Restarted),
                // It was trimmed, or another node has given it out.
                None => Placement::Ahead(id.sequence()),
            },
            Some(_) => Placement::Gap(GapReason::Restarted),
            None => Placement::Gap(GapReason::of_unknown(from, self.epoch())),
        }
    }

    /// A cursor for a client that starts there.
    pub(super) fn start(&self, placement: Placement) -> Cursor {
        self.messages.start(placement)
    }

    /// Moves a cursor of another history to the beginning of this one.
    pub(super) fn renew(&self, cursor: &mut Cursor) -> GapReason {
        self.messages.renew(cursor)
    }

    /// Whether a cursor is one of another history.
    pub(super) fn is_past(&self, cursor: &Cursor) -> bool {
        matches!(self.messages.find(cursor), Found::Moved)
    }

    /// What is next for a cursor in the topics of a group.
    pub(super) fn find(&self, group: usize, cursor: &Cursor) -> Found<'_, NatsMessage> {
        let (group, position) = (self.groups.get(group), cursor.position());
        if self.is_past(cursor) {
            return Found::Moved;
        }
        // Events of other topics that are not here any more matter nothing.
        if group.lost > position {
            return Found::Below(group.lost);
        }
        self.first_of(match group.topics.has_patterns() {
            true if group.remembers(position) => group.first_recent(position),
            true => self.scan(&group.topics, position),
            false => self.first_of_names(&group.topics, position),
        })
    }

    /// What is next for a cursor in topics that nobody need follow.
    pub(super) fn look(&self, topics: &Topics, cursor: &Cursor) -> Found<'_, NatsMessage> {
        let position = cursor.position();
        match self.messages.find(cursor) {
            Found::Event(_) if topics.has_patterns() => self.first_of(self.scan(topics, position)),
            Found::Event(_) => self.first_of(self.first_of_names(topics, position)),
            found => found,
        }
    }

    /// All events after this are in the window.
    pub(super) fn floor(&self) -> u64 {
        self.messages.floor()
    }

    /// The last events of topics, newest first, without those that finish them.
    pub(super) fn last(&self, topics: &Topics, count: usize) -> Vec<Logged> {
        let followed = |name: &&Topic| topics.matches(name);
        let names: Vec<_> = match topics.has_patterns() {
            true => self.topics.keys().filter(followed).collect(),
            false => topics.names().collect(),
        };
        let mut last: Vec<&NatsMessage> = Vec::new();
        for sequences in names.into_iter().filter_map(|name| self.topics.get(name)) {
            let messages = sequences.iter().rev().filter_map(|it| self.messages.up_to(*it));
            // What was rolled up is not there any more, for those that read the stream.
            let messages = messages.take_while(|message| message.rolled_up.is_none());
            last.extend(messages.filter(|message| !message.finishes_topic()).take(count));
        }
        last.sort_unstable_by_key(|message| Reverse(message.sequence()));
        last.into_iter().take(count).filter_map(|message| message.event.clone()).collect()
    }

    fn first_of_names(&self, topics: &Topics, position: u64) -> Option<u64> {
        let sequences = topics.names().filter_map(|name| self.topics.get(name));
        sequences.filter_map(|sequences| first_after(sequences, position)).min()
    }

    fn scan(&self, topics: &Topics, position: u64) -> Option<u64> {
        let matches =
            |message: &&NatsMessage| message.topic().is_some_and(|topic| topics.matches(topic));
        self.messages.after(position).find(matches).map(Entry::sequence)
    }

    fn first_of(&self, sequence: Option<u64>) -> Found<'_, NatsMessage> {
        let message = sequence.and_then(|sequence| self.messages.up_to(sequence));
        message.map_or(Found::Nothing, Found::Event)
    }

    /// Whether one of these topics may be finished by an event up to `position`: only the server
    /// knows, if this process has not read its last event, or if another node may have appended one
    /// after the end.
    pub(super) fn may_be_finished(&self, topics: &Topics, position: u64) -> bool {
        let may_be = |name: &Topic| match self.topics.get(name).and_then(VecDeque::back) {
            Some(last) => self.messages.up_to(*last).is_none_or(Entry::finishes_topic),
            None => self.messages.floor() > 0,
        };
        topics.names().any(|name| position > self.head().sequence || may_be(name))
    }

    /// Adds a follower, and returns the key of its group.
    pub(super) fn add_follower(&mut self, topics: &Topics) -> usize {
        self.groups.join(topics, self.messages.floor(), self.head().sequence)
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
