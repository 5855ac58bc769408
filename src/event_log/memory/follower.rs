//! Following topics of a log in memory: where a follower starts, and what it returns.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::inner::MemoryLogInner;
use super::log_state::LogState;
use super::merged::MergedCursors;
use super::topic::{NextEvent, TopicCell, TopicState};
use crate::event_log::start::Unreplayable;
use crate::event_log::wake_list::Ticket;
use crate::event_log::window::{Placement, Remaining, position_after_gap};
use crate::event_log::{Follow, Gap, GapReason, Logged, Page, Run, Start, Step, Topic, Topics};
use crate::sync::now;

/// Follows topics of a [`MemoryLog`](super::MemoryLog).
///
/// It is a position in each topic, and a waker while it waits.
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
    One(OneCursor),
    /// Boxed, since it is rarer, and larger.
    Merged(Box<MergedCursors>),
    /// A topic would have been one too many.
    Refused,
}

/// A follower's position in its only topic.
struct OneCursor {
    cell: Arc<TopicCell>,
    /// All events up to this were returned.
    position: u64,
    ticket: Ticket,
}

impl MemoryFollower {
    pub(super) fn new(log: &Arc<MemoryLogInner>, topics: &Topics, from: Start) -> Self {
        log.sweep_if_due(now());
        let followed = match topics.single() {
            Some(topic) => OneCursor::new(log, topic, &from)
                .map(|(cursor, placement, lost)| (FollowerCursors::One(cursor), placement, lost)),
            None => MergedCursors::new(log, topics, &from).map(|(cursors, placement, lost)| {
                (FollowerCursors::Merged(Box::new(cursors)), placement, lost)
            }),
        };
        let log = Arc::clone(log);
        let Some((cursors, placement, lost)) = followed else {
            let cursors = FollowerCursors::Refused;
            return Self { log, delivered: 0, unreplayable: None, cursors };
        };
        let delivered = match placement {
            Placement::After(position) if !from.is_live() => position,
            _ => 0,
        };
        let reason = reason(placement, lost);
        let unreplayable = reason.map(|reason| Box::new(Unreplayable { requested: from, reason }));
        Self { log, delivered, unreplayable, cursors }
    }

    /// Reads a topic without following it: one that is not there is not created.
    pub(super) fn read(log: &MemoryLogInner, topic: &Topic, from: Start, limit: usize) -> Page {
        let (now, state) = (now(), &log.state);
        let cell = log.get_to_read(topic, now);
        let placement = Placement::of_own(&from, state.epoch.number(), state.head());
        // A sequence of no event, so it reveals none.
        let here = state.next_sequence();
        let topic = cell.trimmed(now, state);
        let (position, lost) = start_in(&topic, placement);
        let mut events: Vec<_> = topic.window.after(position).take(limit).cloned().collect();
        let has_more = topic.window.after(position).nth(limit).is_some();
        drop(topic);
        let events = events.drain(..).map(|event| cell.logged(event)).collect();
        let gap = reason(placement, lost).map(|reason| {
            let delivered = if lost { position } else { 0 };
            let (gap, _) = gap(&[cell.remaining(position, here)], delivered, here, state);
            Unreplayable { requested: from, reason }.explain(gap)
        });
        Page { gap, events, has_more }
    }

    /// Polls for the next event, as `one` finds it in one topic. Of several topics it is one event,
    /// which `convert` converts to the same type.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        one: impl FnOnce(&mut OneCursor, &Waker) -> NextEvent<(u64, T)>,
        convert: impl FnOnce(Logged) -> T,
    ) -> Poll<Option<Result<T, Gap>>> {
        let end = match &mut self.cursors {
            FollowerCursors::Merged(cursors) => cursors.take_end(),
            FollowerCursors::One(_) | FollowerCursors::Refused => None,
        };
        let next = match &mut self.cursors {
            FollowerCursors::Refused => return Poll::Ready(None),
            _ if end.is_none() && self.unreplayable.is_some() => NextEvent::Lost,
            FollowerCursors::One(cursor) => one(cursor, cx.waker()),
            FollowerCursors::Merged(cursors) => {
                let next = end.map_or_else(|| cursors.poll(&self.log, cx), NextEvent::Ready);
                next.map(|(last, event)| (last, convert(event)))
            }
        };
        Poll::Ready(Some(match next {
            NextEvent::Ready((last, event)) => {
                // An event that finishes a topic may be before the position.
                self.delivered = self.delivered.max(last);
                Ok(event)
            }
            NextEvent::Lost => Err(self.skip_lost()),
            NextEvent::Pending => return Poll::Pending,
        }))
    }

    /// Moves past events that are lost, and returns the gap.
    fn skip_lost(&mut self) -> Gap {
        let known = self.unreplayable.take();
        let why = known.unwrap_or_else(|| Box::new(Unreplayable::expired(self.position())));
        // Before topics are looked at, so that all events up to here are seen and later events come
        // after the gap. The sequence is the id of no event, so it reveals none.
        let here = self.log.state.next_sequence();
        let remaining = match &mut self.cursors {
            FollowerCursors::One(cursor) => vec![cursor.cell.remaining(cursor.position, here)],
            FollowerCursors::Merged(cursors) => cursors.gather(&self.log, here),
            FollowerCursors::Refused => Vec::new(),
        };
        let (gap, position) = gap(&remaining, self.delivered, here, &self.log.state);
        match &mut self.cursors {
            FollowerCursors::One(cursor) => cursor.position = position,
            FollowerCursors::Merged(cursors) => cursors.skip_to(position),
            FollowerCursors::Refused => {}
        }
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

impl OneCursor {
    /// A cursor in a topic, where the client starts, and whether events after that are lost. `None`
    /// if the topic would be one too many.
    fn new(log: &MemoryLogInner, topic: &Topic, from: &Start) -> Option<(Self, Placement, bool)> {
        let now = now();
        // Read before the topic is looked at: events that are appended after this are returned.
        let head = log.state.head();
        let placement = Placement::of_own(from, log.state.epoch.number(), head);
        let cell = log.follow(topic, now)?;
        let (position, lost) = start_in(&cell.trimmed(now, &log.state), placement);
        Some((Self { cell, position, ticket: Ticket::default() }, placement, lost))
    }

    /// Looks at the topic for what is after the position, and has `waker` woken by the topic's next
    /// event if there is nothing.
    fn look<T>(
        &mut self,
        waker: &Waker,
        look: impl Fn(&mut TopicState, u64) -> Option<T>,
    ) -> NextEvent<T> {
        let position = self.position;
        self.cell.look_or_wait(&mut self.ticket, waker, |state| match state.has_lost(position) {
            true => Some(NextEvent::Lost),
            false => look(state, position).map(NextEvent::Ready),
        })
    }
}

/// The position at which a client starts in a topic, and whether events after it are lost.
fn start_in(topic: &TopicState, placement: Placement) -> (u64, bool) {
    match placement {
        Placement::After(position) | Placement::Ahead(position) => {
            (topic.window.before_end(position), topic.has_lost(position))
        }
        Placement::Earliest | Placement::Gap(_) => (topic.window.floor(), false),
    }
}

/// The reason of the gap with which a client starts.
fn reason(placement: Placement, lost: bool) -> Option<GapReason> {
    match placement {
        Placement::Gap(reason) => Some(reason),
        _ => lost.then_some(GapReason::Expired),
    }
}

/// The gap before what topics have left, and its position. `delivered` is a position that the
/// client has reached, or zero, and `here` is after all events.
fn gap(remaining: &[Remaining], delivered: u64, here: u64, log: &LogState) -> (Gap, u64) {
    let id = |sequence| log.epoch.id(sequence);
    match position_after_gap(remaining, delivered) {
        None => (Gap::new(id(here)), here),
        Some(after) => {
            let gap = Gap::new(id(after.position));
            (gap.between(id(after.earliest), id(after.latest)), after.position)
        }
    }
}

impl Follow for MemoryFollower {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let one = |cursor: &mut OneCursor, waker: &Waker| {
            let event = cursor.look(waker, |state, at| state.window.after(at).next().cloned());
            event.map(|event| {
                cursor.position = event.sequence;
                (event.sequence, cursor.cell.logged(event))
            })
        };
        let next = self.get_mut().poll(cx, one, |event| event);
        next.map(|next| next.map(|next| next.map_or_else(Step::Gap, Step::Event)))
    }

    fn poll_run(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        let one = |cursor: &mut OneCursor, waker: &Waker| {
            cursor.look(waker, TopicState::run_after).map(|(last, bytes)| {
                cursor.position = last;
                (last, bytes)
            })
        };
        let next = self.get_mut().poll(cx, one, Logged::into_bytes);
        next.map(|next| next.map(|next| next.map_or_else(Run::Gap, Run::Events)))
    }
}

impl Drop for MemoryFollower {
    fn drop(&mut self) {
        match &mut self.cursors {
            FollowerCursors::One(cursor) => self.log.unfollow(&cursor.cell, &mut cursor.ticket),
            FollowerCursors::Merged(cursors) => cursors.leave(&self.log),
            FollowerCursors::Refused => {}
        }
    }
}

impl fmt::Debug for MemoryFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = match &self.cursors {
            FollowerCursors::One(_) => 1,
            FollowerCursors::Merged(cursors) => cursors.len(),
            FollowerCursors::Refused => 0,
        };
        f.debug_struct("MemoryFollower").field("topics", &topics).finish_non_exhaustive()
    }
}
