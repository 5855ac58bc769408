//! Following topics of a log in memory.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::cell::{State, logged};
use super::look::{Next, look};
use super::many::Many;
use super::member::{Member, skip_lost};
use super::{MemoryLog, Shared};
use crate::event_log::{Follow, Gap, Logged, Run, Start, Step};

/// Follows topics of a [`MemoryLog`].
///
/// It is a place in each topic, and a waker while it waits.
pub struct MemoryFollower {
    shared: Arc<Shared>,
    /// The sequence of the last event or gap that was given, or that it began behind. Zero for none.
    told: u64,
    /// What it was to begin behind, if that cannot be had: to be told first.
    asked: Option<Box<Start>>,
    kind: Kind,
}

enum Kind {
    One(Member),
    /// Boxed, since it is rarer, and larger.
    Many(Box<Many>),
}

impl MemoryFollower {
    pub(super) fn one(
        log: &MemoryLog,
        member: Member,
        told: u64,
        asked: Option<Box<Start>>,
    ) -> Self {
        Self { shared: Arc::clone(&log.shared), told, asked, kind: Kind::One(member) }
    }

    pub(super) fn many(log: &MemoryLog, many: Many, told: u64, asked: Option<Box<Start>>) -> Self {
        let kind = Kind::Many(Box::new(many));
        Self { shared: Arc::clone(&log.shared), told, asked, kind }
    }

    /// What is next, as `one` finds it in one topic; of several it is one event, of which `of` makes
    /// the same.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        one: impl FnOnce(&mut Member, &mut Context<'_>) -> Next<(u64, T)>,
        of: impl FnOnce(Logged) -> T,
    ) -> Poll<Result<T, Gap>> {
        let next = match &mut self.kind {
            _ if self.asked.is_some() => Next::Lost,
            Kind::One(member) => one(member, cx),
            Kind::Many(many) => many.poll(&self.shared, cx).map(|(last, event)| (last, of(event))),
        };
        Poll::Ready(match next {
            Next::Event((last, event)) => {
                self.told = last;
                Ok(event)
            }
            Next::Lost => Err(self.skip_lost(cx)),
            Next::Nothing => return Poll::Pending,
        })
    }

    /// Goes on behind what it cannot have, and says what that is.
    fn skip_lost(&mut self, cx: &mut Context<'_>) -> Gap {
        let requested = self.asked.take().map_or_else(|| self.place(), |asked| *asked);
        // Before topics are found and looked at: then all events up to here are seen, and what is
        // behind it comes later. And it is no event's, so it reveals none.
        let here = self.shared.common.next_sequence();
        let members = match &mut self.kind {
            Kind::One(member) => std::slice::from_mut(member),
            Kind::Many(many) => many.members(&self.shared, cx),
        };
        let (gap, place) =
            skip_lost(members, &requested, self.told, here, &self.shared.common.epoch);
        // The next gap is not to send the client back.
        self.told = place;
        gap
    }

    /// Where it is, as far as its client knows.
    fn place(&self) -> Start {
        match self.told {
            0 => Start::Live,
            told => Start::After(self.shared.common.epoch.id(told)),
        }
    }
}

impl Follow for MemoryFollower {
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let next = self.get_mut().poll(cx, poll_one, |event| event);
        next.map(|next| Some(next.map_or_else(Step::Gap, Step::Event)))
    }

    fn poll_run(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        let next = self.get_mut().poll(cx, poll_piece, Logged::into_bytes);
        next.map(|next| Some(next.map_or_else(Run::Gap, Run::Events)))
    }
}

fn poll_one(member: &mut Member, cx: &mut Context<'_>) -> Next<(u64, Logged)> {
    find(member, cx, |state, next| state.event(next)).map(|event| {
        member.next += 1;
        (event.0, logged(&member.cell, event))
    })
}

fn poll_piece(member: &mut Member, cx: &mut Context<'_>) -> Next<(u64, Bytes)> {
    find(member, cx, State::piece).map(|piece| {
        member.next = piece.next;
        (piece.last, piece.bytes)
    })
}

/// What there is at a member's place.
fn find<T>(
    member: &mut Member,
    cx: &mut Context<'_>,
    at: impl Fn(&mut State, u64) -> Option<T>,
) -> Next<T> {
    look(member, cx.waker(), |state, member| match member.next < state.first() {
        true => Next::Lost,
        false => at(state, member.next).map_or(Next::Nothing, Next::Event),
    })
}

impl Drop for MemoryFollower {
    fn drop(&mut self) {
        if let Kind::Many(many) = &mut self.kind {
            many.leave(&self.shared);
        }
    }
}

impl fmt::Debug for MemoryFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topics = match &self.kind {
            Kind::One(_) => 1,
            Kind::Many(many) => many.len(),
        };
        f.debug_struct("MemoryFollower").field("topics", &topics).finish_non_exhaustive()
    }
}
