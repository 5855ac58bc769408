//! Following topics of a log in memory.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::cell::logged;
use super::look::{Next, look};
use super::many::Many;
use super::member::{Member, skip_lost};
use super::{MemoryLog, Shared};
use crate::log::{Follow, Gap, Logged, Run, Start, Step};

/// Follows topics of a [`MemoryLog`].
///
/// It is a place in each topic, and a waker while it waits.
pub struct MemoryFollower {
    shared: Arc<Shared>,
    /// The sequence of the last event that was given, or that it began behind. Zero for none.
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

    /// Goes on behind what it cannot have, and says what that is.
    fn skip_lost(&mut self, cx: &mut Context<'_>) -> Gap {
        let requested = self.asked.take().map_or_else(|| self.place(), |asked| *asked);
        let members = match &mut self.kind {
            Kind::One(member) => std::slice::from_mut(member),
            Kind::Many(many) => many.members(&self.shared, cx),
        };
        skip_lost(members, &requested, self.told, &self.shared.common)
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
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = &mut *self;
        let next = match &mut this.kind {
            _ if this.asked.is_some() => Next::Lost,
            Kind::One(member) => poll_one(member, cx),
            Kind::Many(many) => many.poll(&this.shared, cx),
        };
        Poll::Ready(Some(match next {
            Next::Event((sequence, event)) => {
                this.told = sequence;
                Step::Event(event)
            }
            Next::Lost => Step::Gap(this.skip_lost(cx)),
            Next::Nothing => return Poll::Pending,
        }))
    }

    fn poll_run(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Run>> {
        let this = &mut *self;
        let next = match &mut this.kind {
            _ if this.asked.is_some() => Next::Lost,
            Kind::One(member) => poll_piece(member, cx),
            Kind::Many(many) => match many.poll(&this.shared, cx) {
                Next::Event((sequence, event)) => Next::Event((sequence, event.into_bytes())),
                Next::Lost => Next::Lost,
                Next::Nothing => Next::Nothing,
            },
        };
        Poll::Ready(Some(match next {
            Next::Event((last, bytes)) => {
                this.told = last;
                Run::Events(bytes)
            }
            Next::Lost => Run::Gap(this.skip_lost(cx)),
            Next::Nothing => return Poll::Pending,
        }))
    }
}

fn poll_one(member: &mut Member, cx: &mut Context<'_>) -> Next<(u64, Logged)> {
    let found = look(member, cx.waker(), |state, member| {
        if member.next < state.first() {
            return Next::Lost;
        }
        state.event(member.next).map_or(Next::Nothing, Next::Event)
    });
    match found {
        Next::Event(event) => {
            member.next += 1;
            Next::Event((event.0, logged(&member.cell, event)))
        }
        Next::Lost => Next::Lost,
        Next::Nothing => Next::Nothing,
    }
}

fn poll_piece(member: &mut Member, cx: &mut Context<'_>) -> Next<(u64, Bytes)> {
    let found = look(member, cx.waker(), |state, member| {
        if member.next < state.first() {
            return Next::Lost;
        }
        state.piece(member.next).map_or(Next::Nothing, Next::Event)
    });
    match found {
        Next::Event(piece) => {
            member.next = piece.next;
            Next::Event((piece.last, piece.bytes))
        }
        Next::Lost => Next::Lost,
        Next::Nothing => Next::Nothing,
    }
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
