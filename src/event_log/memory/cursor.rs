//! A follower's cursors: its position in each topic, merged in the order of the ids if it follows
//! several.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use super::directory::{TopicCell, TopicState};
use super::inner::MemoryLogInner;
use crate::event_log::ids::LogEpoch;
use crate::event_log::wake_list::{Ticket, look_or_register};
use crate::event_log::{Gap, Logged, Topics};

/// A follower's position in one topic.
#[derive(Debug)]
pub(super) struct MemoryCursor {
    pub(super) cell: Arc<TopicCell>,
    /// The index of the next event in the topic's window.
    pub(super) next: u64,
    ticket: Ticket,
    followed: Followed,
}

/// How a follower came to follow a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followed {
    /// By its name: the topic stays for the follower.
    ByName,
    /// By a pattern: the topic may end when it is idle.
    ByPattern,
}

/// What a look at a topic finds.
pub(super) enum NextEvent<T> {
    Ready(T),
    /// The next events were trimmed before the follower read them.
    Lost,
    Pending,
}

impl<T> NextEvent<T> {
    pub(super) fn map<R>(self, map: impl FnOnce(T) -> R) -> NextEvent<R> {
        match self {
            Self::Ready(event) => NextEvent::Ready(map(event)),
            Self::Lost => NextEvent::Lost,
            Self::Pending => NextEvent::Pending,
        }
    }
}

impl MemoryCursor {
    /// A cursor in a topic, at the index that `next` chooses; `None` if the topic has ended.
    pub(super) fn new<R>(
        cell: &Arc<TopicCell>,
        followed: Followed,
        next: impl FnOnce(&mut TopicState) -> (u64, R),
    ) -> Option<(Self, R)> {
        let mut state = cell.lock();
        if state.ended {
            return None;
        }
        state.followers += u32::from(followed == Followed::ByName);
        let (next, result) = next(&mut state);
        drop(state);
        let ticket = Ticket::default();
        Some((Self { cell: Arc::clone(cell), next, ticket, followed }, result))
    }

    /// Looks at the topic for what is at the cursor, and has `waker` woken by the topic's next
    /// event if there is nothing.
    pub(super) fn look<T>(
        &mut self,
        waker: &Waker,
        look: impl Fn(&mut TopicState, u64) -> Option<T>,
    ) -> NextEvent<T> {
        let (cell, next) = (&self.cell, self.next);
        let found = look_or_register(
            || cell.lock(),
            |state| &mut state.wakers,
            &mut self.ticket,
            waker,
            |state| match next < state.window.first() {
                true => Some(NextEvent::Lost),
                false => look(state, next).map(NextEvent::Ready),
            },
        );
        found.unwrap_or(NextEvent::Pending)
    }
}

impl Drop for MemoryCursor {
    fn drop(&mut self) {
        let mut state = self.cell.lock();
        state.followers -= u32::from(self.followed == Followed::ByName);
        let waker = state.wakers.deregister(&mut self.ticket);
        if state.followers == 0 {
            state.wakers.shrink_if_empty();
        }
        drop(state);
        // After the lock: a waker's drop is foreign code.
        drop(waker);
    }
}

/// Moves cursors past events that are lost, and returns the gap and its position.
///
/// `delivered` is a position that the client has reached, or zero. The cursors cover all topics
/// that have events up to `here`.
pub(super) fn skip_lost(
    cursors: &mut [MemoryCursor],
    delivered: u64,
    here: u64,
    epoch: &LogEpoch,
) -> (Gap, u64) {
    let (mut earliest, mut latest, mut own) = (u64::MAX, None, Vec::new());
    for cursor in cursors {
        let state = cursor.cell.lock();
        let window = &state.window;
        cursor.next = cursor.next.max(window.first());
        let next = window.get(cursor.next).map(|event| event.sequence);
        earliest = earliest.min(next.filter(|next| *next <= here).unwrap_or(u64::MAX));
        latest = latest.max(window.last_up_to(here));
        own.extend([cursor.cell.created, window.lost()]);
    }
    let id = |sequence| epoch.id(sequence);
    let Some(latest) = latest.filter(|_| earliest < u64::MAX) else {
        return (Gap::new(id(here)), here);
    };
    // A sequence of the followed topics, so that it reveals none of other topics, and the last one
    // before the earliest event, so that a client that resumes there misses as little as possible.
    let before = own.into_iter().filter(|own| *own < earliest).max().unwrap_or_default();
    let position = before.max(delivered);
    (Gap::new(id(position)).between(id(earliest), id(latest)), position)
}

/// Cursors in several topics, or in all topics that match patterns.
///
/// The head of the log is read first, then new topics are found and each topic is looked at. Only
/// events up to that head are returned, the smallest first: of those none can be missing.
pub(super) struct MergedCursors {
    topics: Topics,
    cursors: Vec<MemoryCursor>,
    /// The sequence of each cursor's next event, where it is known that there is one.
    peeked: Vec<Option<u64>>,
    /// The head up to which the topics were looked at.
    head: u64,
    /// The last creation of a topic that was looked at. Later topics may match a pattern.
    last_creation: u64,
    ticket: Ticket,
}

impl MergedCursors {
    /// `last_creation` is the last creation of a topic when the cursors were made.
    pub(super) fn new(topics: Topics, cursors: Vec<MemoryCursor>, last_creation: u64) -> Self {
        let peeked = vec![None; cursors.len()];
        Self { topics, cursors, peeked, head: 0, last_creation, ticket: Ticket::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.cursors.len()
    }

    /// All cursors, for the caller to move: what was seen of their topics is forgotten.
    pub(super) fn cursors(
        &mut self,
        log: &MemoryLogInner,
        cx: &mut Context<'_>,
    ) -> &mut [MemoryCursor] {
        if self.topics.has_patterns() {
            // Lost events of topics that are found now are part of the gap.
            self.find_created(log, cx);
        }
        self.head = 0;
        self.peeked.fill(None);
        &mut self.cursors
    }

    /// The next event of all topics, with its sequence.
    pub(super) fn poll(
        &mut self,
        log: &MemoryLogInner,
        cx: &mut Context<'_>,
    ) -> NextEvent<(u64, Logged)> {
        loop {
            if let Some(at) = self.smallest() {
                return self.take(at);
            }
            // Before new topics are looked for: a topic that is created after this has no event up
            // to this head.
            self.head = log.state.head.load(Ordering::SeqCst);
            if self.topics.has_patterns() && !self.find_created(log, cx) {
                return NextEvent::Lost;
            }
            match self.peek_all(cx) {
                NextEvent::Ready(()) => {}
                NextEvent::Lost => return NextEvent::Lost,
                NextEvent::Pending => return NextEvent::Pending,
            }
        }
    }

    /// The cursor with the smallest event up to the head.
    fn smallest(&self) -> Option<usize> {
        let events = self.peeked.iter().enumerate();
        let events = events.filter_map(|(at, next)| next.map(|next| (next, at)));
        events.min().filter(|(next, _)| *next <= self.head).map(|(_, at)| at)
    }

    fn take(&mut self, at: usize) -> NextEvent<(u64, Logged)> {
        let cursor = &mut self.cursors[at];
        let state = cursor.cell.lock();
        // If there is none it was trimmed since it was peeked at.
        let Some(event) = state.window.get(cursor.next).cloned() else {
            return NextEvent::Lost;
        };
        cursor.next += 1;
        self.peeked[at] = state.window.get(cursor.next).map(|event| event.sequence);
        drop(state);
        NextEvent::Ready((event.sequence, cursor.cell.logged(event)))
    }

    /// Looks at each topic of which no event is known, and removes topics that have ended.
    fn peek_all(&mut self, cx: &mut Context<'_>) -> NextEvent<()> {
        let mut found = NextEvent::Pending;
        let mut at = 0;
        while at < self.cursors.len() {
            if self.peeked[at].is_none() {
                let looked = self.cursors[at].look(cx.waker(), |state, next| {
                    match state.window.get(next) {
                        Some(event) => Some(Some(event.sequence)),
                        // Nothing of it is missing. If it is created again it will be found.
                        None if state.ended => Some(None),
                        None => None,
                    }
                });
                match looked {
                    NextEvent::Lost => return NextEvent::Lost,
                    NextEvent::Pending => {}
                    NextEvent::Ready(Some(sequence)) => self.peeked[at] = Some(sequence),
                    NextEvent::Ready(None) => {
                        self.cursors.swap_remove(at);
                        self.peeked.swap_remove(at);
                        continue;
                    }
                }
            }
            if self.peeked[at].is_some() {
                found = NextEvent::Ready(());
            }
            at += 1;
        }
        found
    }

    /// Adds cursors in topics that were created since, and returns whether no event of them was
    /// missed.
    fn find_created(&mut self, log: &MemoryLogInner, cx: &mut Context<'_>) -> bool {
        // Before looking: a topic that is created after this wakes.
        log.wait_for_creation(&mut self.ticket, cx.waker());
        let Some(created) = log.created_after(self.last_creation, &self.topics) else {
            return true;
        };
        let since = std::mem::replace(&mut self.last_creation, created.last_creation);
        let mut complete = !created.missed;
        for cell in created.cells {
            if self.cursors.iter().any(|cursor| cursor.cell.created == cell.created) {
                continue;
            }
            // The cursor starts at the topic's first event, since it was created while the follower
            // waited. An earlier topic of its name that was created since and has ended was missed.
            complete &= cell.before.created <= since;
            let joined = MemoryCursor::new(&cell, Followed::ByPattern, |state| {
                (0, state.window.first() == 0)
            });
            match joined {
                Some((cursor, none_lost)) => {
                    complete &= none_lost;
                    self.cursors.push(cursor);
                    self.peeked.push(None);
                }
                // It ended between the two looks.
                None => complete &= !cell.lock().has_lost(cell.created),
            }
        }
        complete
    }

    pub(super) fn stop_waiting(&mut self, log: &MemoryLogInner) {
        log.stop_waiting(&mut self.ticket);
    }
}
