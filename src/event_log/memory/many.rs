//! Following several topics, in the order of their ids.

use std::sync::atomic::Ordering;
use std::task::Context;

use super::Shared;
use super::cell::logged;
use super::look::{Next, look};
use super::member::{Hold, Member};
use super::wake_list::Ticket;
use crate::event_log::{Logged, Topics};

/// Follows several topics, or all that fit patterns.
///
/// The head of the log is read first, then what was born is found and each topic is looked at, and
/// only events up to that head are taken, smallest first: of those none can be missing.
pub(super) struct Many {
    topics: Topics,
    members: Vec<Member>,
    /// The sequence of each member's next event, as far as it is known to have one.
    peeked: Vec<Option<u64>>,
    /// The head up to which the topics were looked at.
    head: u64,
    /// The last birth of a topic that was looked at. Later ones may fit a pattern.
    births: u64,
    ticket: Ticket,
}

impl Many {
    /// `births` is the last birth that was looked at when the members were found.
    pub(super) fn new(topics: Topics, members: Vec<Member>, births: u64) -> Self {
        let peeked = vec![None; members.len()];
        Self { topics, members, peeked, head: 0, births, ticket: Ticket::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// All members, to be moved: what was seen of them is forgotten.
    pub(super) fn members(&mut self, shared: &Shared, cx: &mut Context<'_>) -> &mut [Member] {
        if self.topics.has_patterns() {
            // What was missed of those that are found now is part of the gap.
            self.find_born(shared, cx);
        }
        self.head = 0;
        self.peeked.fill(None);
        &mut self.members
    }

    pub(super) fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) -> Next<(u64, Logged)> {
        loop {
            if let Some(at) = self.smallest() {
                return self.take(at);
            }
            // Before the births are looked at: a topic that is born behind this has no event up to it.
            self.head = shared.common.head.load(Ordering::SeqCst);
            if self.topics.has_patterns() && !self.find_born(shared, cx) {
                return Next::Lost;
            }
            match self.look_at_all(cx) {
                Next::Event(()) => {}
                Next::Lost => return Next::Lost,
                Next::Nothing => return Next::Nothing,
            }
        }
    }

    /// The member with the smallest event that may be given.
    fn smallest(&self) -> Option<usize> {
        let events = self.peeked.iter().enumerate();
        let events = events.filter_map(|(at, next)| next.map(|next| (next, at)));
        events.min().filter(|(next, _)| *next <= self.head).map(|(_, at)| at)
    }

    fn take(&mut self, at: usize) -> Next<(u64, Logged)> {
        let member = &mut self.members[at];
        let state = member.cell.lock();
        if member.next < state.first() {
            return Next::Lost;
        }
        let Some(event) = state.event(member.next) else {
            return Next::Lost;
        };
        member.next += 1;
        self.peeked[at] = state.sequence(member.next);
        drop(state);
        Next::Event((event.0, logged(&member.cell, event)))
    }

    /// Looks at each topic of which no event is known.
    fn look_at_all(&mut self, cx: &mut Context<'_>) -> Next<()> {
        let mut found = Next::Nothing;
        let mut at = 0;
        while at < self.members.len() {
            let member = &mut self.members[at];
            if self.peeked[at].is_some() {
                found = Next::Event(());
                at += 1;
                continue;
            }
            let mut ended = false;
            let looked = look(member, cx.waker(), |state, member| {
                if member.next < state.first() {
                    return Next::Lost;
                }
                match state.sequence(member.next) {
                    Some(next) => Next::Event(Some(next)),
                    // Nothing of it is missing. If it is born anew it will be found.
                    None if state.ended => Next::Event(None),
                    None => Next::Nothing,
                }
            });
            match looked {
                Next::Lost => return Next::Lost,
                Next::Nothing => {}
                Next::Event(Some(next)) => {
                    self.peeked[at] = Some(next);
                    found = Next::Event(());
                }
                Next::Event(None) => ended = true,
            }
            match ended {
                true => {
                    self.members.swap_remove(at);
                    self.peeked.swap_remove(at);
                }
                false => at += 1,
            }
        }
        found
    }

    /// Joins topics that were born since, and says whether nothing of them was missed.
    fn find_born(&mut self, shared: &Shared, cx: &mut Context<'_>) -> bool {
        // Before looking: what is born behind this wakes.
        shared.wait_for_births(&mut self.ticket, cx.waker());
        let Some(births) = shared.born_behind(self.births, &self.topics) else {
            return true;
        };
        let since = std::mem::replace(&mut self.births, births.youngest);
        let mut whole = !births.missed;
        for cell in births.cells {
            if self.members.iter().any(|member| member.cell.born == cell.born) {
                continue;
            }
            // From its first event on, for it was born under our eyes; so were lives that it had since.
            whole &= cell.before.born <= since;
            match Member::join(&cell, Hold::Ends, |state| (0, state.first() == 0)) {
                Some((member, none_lost)) => {
                    whole &= none_lost;
                    self.members.push(member);
                    self.peeked.push(None);
                }
                // It ended between the two looks.
                None => whole &= !cell.lock().has_lost(cell.born),
            }
        }
        whole
    }

    pub(super) fn leave(&mut self, shared: &Shared) {
        shared.leave_births(&mut self.ticket);
    }
}
