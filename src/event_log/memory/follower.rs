//! Following topics of a log in memory: where a follower starts, and what it returns.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::cursor::{Followed, MemoryCursor, MergedCursors, NextEvent, skip_lost};
use super::directory::TopicCell;
use super::inner::{MemoryLogInner, SWEEP_INTERVAL};
use crate::event_log::start::Unreplayable;
use crate::event_log::{Follow, Gap, Logged, Page, Run, Start, Step, Topic, Topics};
use crate::sync::now;

/// Follows topics of a [`MemoryLog`](super::MemoryLog).
///
/// It is a cursor in each topic, and a waker while it waits.
pub struct MemoryFollower {
    log: Arc<MemoryLogInner>,
    /// The sequence of the last event or gap that was returned, or of the position that the
    /// follower started at. Zero for none.
    delivered: u64,
    /// Until the gap is returned that says so.
    unreplayable: Option<Box<Unreplayable>>,
    cursors: FollowerCursors,
}

enum FollowerCursors {
    One(MemoryCursor),
    /// Boxed, since it is rarer, and larger.
    Merged(Box<MergedCursors>),
}

/// Where a follower starts in each of its topics.
#[derive(Clone, Copy, Debug)]
enum StartPosition {
    After(u64),
    /// With the first event that there is, because that was requested.
    Earliest,
    /// With the first event that there is, because the requested position is not known.
    Unknown,
}

impl MemoryFollower {
    pub(super) fn new(log: &Arc<MemoryLogInner>, topics: Topics, from: Start) -> Self {
        Self::with(log, topics, from, MemoryLogInner::cell)
    }

    /// Reads the topic without following it: a topic that is not there is not created.
    pub(super) fn read(
        log: &Arc<MemoryLogInner>,
        topic: &Topic,
        from: Start,
        limit: usize,
    ) -> Page {
        let mut follower = Self::with(log, topic.into(), from, MemoryLogInner::cell_to_read);
        let mut cx = Context::from_waker(Waker::noop());
        let mut page = Page::default();
        while page.events.len() < limit {
            match Pin::new(&mut follower).poll_next(&mut cx) {
                Poll::Ready(Some(Step::Event(event))) => page.events.push(event),
                Poll::Ready(Some(Step::Gap(gap))) if page.events.is_empty() => page.gap = Some(gap),
                Poll::Ready(Some(Step::Gap(_))) => break,
                Poll::Ready(None) | Poll::Pending => return page,
            }
        }
        page.has_more = true;
        page
    }

    /// Follows topics, which `find` finds or makes.
    fn with(
        log: &Arc<MemoryLogInner>,
        topics: Topics,
        from: Start,
        find: impl Fn(&MemoryLogInner, &Topic, Instant) -> Arc<TopicCell>,
    ) -> Self {
        let now = now();
        log.sweep_if_due(now, SWEEP_INTERVAL);
        // Read before the topics are looked at: events that are appended after this are returned.
        let head = log.state.head.load(Ordering::SeqCst);
        let known = match &from {
            Start::After(id) => log.state.epoch.sequence(id).filter(|position| *position <= head),
            _ => None,
        };
        let start = match (&from, known) {
            (Start::Live, _) => StartPosition::After(head),
            (Start::Earliest, _) => StartPosition::Earliest,
            (Start::After(_), Some(position)) => StartPosition::After(position),
            (Start::After(_), None) | (Start::Unknown, _) => StartPosition::Unknown,
        };
        let (unknown, mut lost) = (matches!(start, StartPosition::Unknown), false);
        let mut named = |topic: &Topic| {
            loop {
                // A topic may end between the two steps; then there is a new one.
                let cell = find(log, topic, now);
                if let Some((cursor, has_lost)) = start.cursor(log, &cell, Followed::ByName, now) {
                    lost |= has_lost;
                    return cursor;
                }
            }
        };
        let cursors = if let Some(topic) = topics.single() {
            FollowerCursors::One(named(topic))
        } else {
            let mut cursors: Vec<_> = topics.names().map(named).collect();
            let mut last_creation = 0;
            if topics.has_patterns() {
                let (matching, newest, has_lost) = start.matching(log, &topics, now);
                cursors.extend(matching);
                last_creation = newest;
                lost |= has_lost;
            }
            FollowerCursors::Merged(Box::new(MergedCursors::new(topics, cursors, last_creation)))
        };
        let unreplayable = match (unknown, lost) {
            (true, _) => Some(Unreplayable::unknown(from, log.state.epoch.number())),
            (false, true) => Some(Unreplayable::expired(from)),
            (false, false) => None,
        };
        let unreplayable = unreplayable.map(Box::new);
        Self { log: Arc::clone(log), delivered: known.unwrap_or_default(), unreplayable, cursors }
    }

    /// Polls for the next event, as `one` finds it in one topic. Of several topics it is one event,
    /// which `convert` converts to the same type.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        one: impl FnOnce(&mut MemoryCursor, &mut Context<'_>) -> NextEvent<(u64, T)>,
        convert: impl FnOnce(Logged) -> T,
    ) -> Poll<Result<T, Gap>> {
        let next = match &mut self.cursors {
            _ if self.unreplayable.is_some() => NextEvent::Lost,
            FollowerCursors::One(cursor) => one(cursor, cx),
            FollowerCursors::Merged(cursors) => {
                cursors.poll(&self.log, cx).map(|(last, event)| (last, convert(event)))
            }
        };
        Poll::Ready(match next {
            NextEvent::Ready((last, event)) => {
                // An event that finishes a topic may be before the position.
                self.delivered = self.delivered.max(last);
                Ok(event)
            }
            NextEvent::Lost => Err(self.skip_lost(cx)),
            NextEvent::Pending => return Poll::Pending,
        })
    }

    /// Moves the cursors past events that are lost, and returns the gap.
    fn skip_lost(&mut self, cx: &mut Context<'_>) -> Gap {
        let known = self.unreplayable.take();
        let why = known.unwrap_or_else(|| Box::new(Unreplayable::expired(self.position())));
        // Before topics are found and looked at, so that all events up to here are seen and later
        // events come after the gap. The sequence is the id of no event, so it reveals none.
        let here = self.log.state.next_sequence();
        let cursors = match &mut self.cursors {
            FollowerCursors::One(cursor) => std::slice::from_mut(cursor),
            FollowerCursors::Merged(cursors) => cursors.cursors(&self.log, cx),
        };
        let epoch = &self.log.state.epoch;
        let (gap, position) = skip_lost(cursors, self.delivered, here, epoch);
        // The next gap must not send the client back.
        self.delivered = position;
        why.explain(gap)
    }

    /// The position of the follower, as far as its client knows.
    fn position(&self) -> Start {
        match self.delivered {
            0 => Start::Live,
            delivered => Start::After(self.log.state.epoch.id(delivered)),
        }
    }
}

impl StartPosition {
    /// A cursor in a topic, and whether events after the position are lost; `None` if the topic has
    /// ended.
    fn cursor(
        self,
        log: &MemoryLogInner,
        cell: &Arc<TopicCell>,
        followed: Followed,
        now: Instant,
    ) -> Option<(MemoryCursor, bool)> {
        MemoryCursor::new(cell, followed, |state| {
            state.window.trim(now, &log.state.limits);
            match self {
                Self::After(position) => {
                    let first = match followed {
                        Followed::ByName => state.window.first_after_or_end(position),
                        Followed::ByPattern => state.window.first_after(position),
                    };
                    (first, state.has_lost(position))
                }
                Self::Earliest | Self::Unknown => (state.window.first(), false),
            }
        })
    }

    /// Cursors in the topics that match a pattern and have no cursor by name, the last creation of
    /// any topic, and whether events after the position are lost.
    fn matching(
        self,
        log: &MemoryLogInner,
        topics: &Topics,
        now: Instant,
    ) -> (Vec<MemoryCursor>, u64, bool) {
        let position = if let Self::After(position) = self { position } else { u64::MAX };
        let (cells, last_creation, mut lost) = log.matching(topics, position);
        let mut cursors = Vec::new();
        for cell in cells.iter().filter(|cell| topics.names().all(|name| *name != cell.topic)) {
            match self.cursor(log, cell, Followed::ByPattern, now) {
                Some((cursor, has_lost)) => {
                    cursors.push(cursor);
                    lost |= has_lost;
                }
                // It ended just now, and was not among the ended topics yet.
                None => lost |= cell.lock().has_lost(position),
            }
        }
        (cursors, last_creation, lost)
    }
}

impl Follow for MemoryFollower {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let one = |cursor: &mut MemoryCursor, cx: &mut Context<'_>| {
            let event = cursor.look(cx.waker(), |state, next| state.window.get(next).cloned());
            event.map(|event| {
                cursor.next += 1;
                (event.sequence, cursor.cell.logged(event))
            })
        };
        let next = self.get_mut().poll(cx, one, |event| event);
        next.map(|next| Some(next.map_or_else(Step::Gap, Step::Event)))
    }

    fn poll_run(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        let one = |cursor: &mut MemoryCursor, cx: &mut Context<'_>| {
            let joined = cursor
                .look(cx.waker(), |state, next| state.window.joined_from(next, state.followers));
            joined.map(|joined| {
                cursor.next = joined.next;
                (joined.last, joined.bytes)
            })
        };
        let next = self.get_mut().poll(cx, one, Logged::into_bytes);
        next.map(|next| Some(next.map_or_else(Run::Gap, Run::Events)))
    }
}

impl Drop for MemoryFollower {
    fn drop(&mut self) {
        if let FollowerCursors::Merged(cursors) = &mut self.cursors {
            cursors.stop_waiting(&self.log);
        }
    }
}

impl fmt::Debug for MemoryFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = match &self.cursors {
            FollowerCursors::One(_) => 1,
            FollowerCursors::Merged(cursors) => cursors.len(),
        };
        f.debug_struct("MemoryFollower").field("topics", &topics).finish_non_exhaustive()
    }
}
