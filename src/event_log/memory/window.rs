//! The window of a topic's last events: what it holds, what it has lost, and events joined for
//! several followers.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::MemoryLogBuilder;

/// The last events of a topic, oldest first.
///
/// Events have two numbers: their sequence, which is unique in the log and has holes within a
/// topic, and their index in the topic, which has none.
#[derive(Debug)]
pub(super) struct TopicWindow {
    events: VecDeque<StoredEvent>,
    /// The index of the first event that is here: how many were trimmed.
    first: u64,
    /// The sequence of the last event that was lost, here or in an earlier topic of the same name.
    /// Zero if none was.
    lost: u64,
    bytes: usize,
    /// When the events may go, unless there are later ones.
    forget_at: Option<Instant>,
    /// The events that were joined last.
    joined: Option<JoinedEvents>,
}

/// An event, encoded with its id.
#[derive(Clone, Debug)]
pub(super) struct StoredEvent {
    pub(super) sequence: u64,
    pub(super) appended: Instant,
    pub(super) bytes: Bytes,
    pub(super) id_len: u8,
    /// Whether the event finishes the topic.
    pub(super) finishes: bool,
}

impl TopicWindow {
    pub(super) fn new(lost: u64) -> Self {
        Self { events: VecDeque::new(), first: 0, lost, bytes: 0, forget_at: None, joined: None }
    }

    pub(super) fn push(&mut self, event: StoredEvent) {
        self.forget_at = None;
        self.bytes += event.bytes.len();
        self.events.push_back(event);
    }

    /// Has the events removed from a moment on, unless there are later ones.
    pub(super) fn forget_at(&mut self, at: Instant) {
        self.forget_at = Some(at);
    }

    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.forget_at.is_some_and(|at| at <= now)
    }

    /// Removes events that are too old or too many.
    pub(super) fn trim(&mut self, now: Instant, limits: &MemoryLogBuilder) {
        let forgotten = self.is_forgotten(now);
        while let Some(event) = self.events.front() {
            // That a topic is over is known for as long as the topic stays.
            let kept =
                if event.finishes && self.events.len() == 1 { limits.idle } else { limits.age };
            let age = now.saturating_duration_since(event.appended);
            let too_old = forgotten || age >= kept.max(limits.age);
            let too_many = self.events.len() > limits.events || self.bytes > limits.bytes;
            if !too_old && !too_many {
                return;
            }
            self.bytes -= event.bytes.len();
            self.lost = event.sequence;
            self.first += 1;
            self.events.pop_front();
            // Joined events do not outlive the events that they are made of.
            if self.joined.as_ref().is_some_and(|joined| joined.first < self.first) {
                self.joined = None;
            }
        }
        // A topic that was busy once does not keep the room for it.
        self.events.shrink_to(KEPT_CAPACITY);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sequence up to which events of the topic are known to be lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// The index of the first event that is here.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The index of the first event after `position`.
    pub(super) fn first_after(&self, position: u64) -> u64 {
        self.first + self.events.partition_point(|event| event.sequence <= position) as u64
    }

    /// The index of the first event after `position`, or of the last event if that finishes the
    /// topic.
    pub(super) fn first_after_or_end(&self, position: u64) -> u64 {
        let is_over = self.events.back().is_some_and(|last| last.finishes);
        let end = self.first + self.events.len() as u64;
        self.first_after(position).min(end - u64::from(is_over))
    }

    /// The sequence of the last event up to `position`.
    pub(super) fn last_up_to(&self, position: u64) -> Option<u64> {
        let index = self.first_after(position).checked_sub(1)?;
        Some(self.get(index)?.sequence)
    }

    /// The event with this index.
    pub(super) fn get(&self, index: u64) -> Option<&StoredEvent> {
        let at = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.events.get(at)
    }

    /// The event with this index, joined with the events after it that are returned with it.
    ///
    /// If `followers` are several, the joined events are kept for the others: they were woken
    /// together, so most are at the same index.
    pub(super) fn joined_from(&mut self, index: u64, followers: u32) -> Option<JoinedEvents> {
        let event = self.get(index)?;
        if event.finishes || self.get(index + 1).is_none() {
            return Some(JoinedEvents::of_one(index, event));
        }
        if let Some(joined) = self.joined.as_ref().filter(|joined| joined.first == index) {
            return Some(joined.clone());
        }
        let at = usize::try_from(index - self.first).ok()?;
        let Some(joined) = JoinedEvents::of_many(index, self.events.range(at..)) else {
            return Some(JoinedEvents::of_one(index, event));
        };
        if followers > 1 {
            self.joined = Some(joined.clone());
        }
        Some(joined)
    }
}

/// Consecutive events of a topic as one piece of bytes.
#[derive(Clone, Debug)]
pub(super) struct JoinedEvents {
    /// The index of the first event.
    first: u64,
    /// The index of the event after the last one.
    pub(super) next: u64,
    /// The sequence of the last event.
    pub(super) last: u64,
    pub(super) bytes: Bytes,
}

impl JoinedEvents {
    fn of_one(index: u64, event: &StoredEvent) -> Self {
        let StoredEvent { sequence, bytes, .. } = event;
        Self { first: index, next: index + 1, last: *sequence, bytes: bytes.clone() }
    }

    /// Joins as many of these events as fit into one piece. Returns `None` if these are too few for
    /// it to be worth a copy.
    fn of_many<'a, I>(first: u64, events: I) -> Option<Self>
    where
        I: Iterator<Item = &'a StoredEvent> + Clone,
    {
        let (mut next, mut len, mut last) = (first, 0, 0);
        for event in events.clone() {
            if event.finishes || len + event.bytes.len() > MAX_JOINED_LEN {
                break;
            }
            (next, len, last) = (next + 1, len + event.bytes.len(), event.sequence);
        }
        let count = usize::try_from(next - first).unwrap_or(usize::MAX);
        if count < MIN_JOINED_EVENTS {
            return None;
        }
        let mut joined = Vec::with_capacity(len);
        events.take(count).for_each(|event| joined.extend_from_slice(&event.bytes));
        Some(Self { first, next, last, bytes: joined.into() })
    }
}

/// Room for so many events is kept when the window is empty.
const KEPT_CAPACITY: usize = 4;

/// Fewer events are returned one by one: to join them takes an allocation, and a copy of each.
const MIN_JOINED_EVENTS: usize = 4;

/// The most bytes of joined events. Larger pieces save no more polls, writes and chunk heads worth
/// mentioning; it is what a frame of HTTP/2 holds; and the copy holds the topic's lock for about a
/// microsecond.
const MAX_JOINED_LEN: usize = 16 * 1024;
