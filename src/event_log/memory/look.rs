//! Looking at a topic for what is next.

use std::task::Waker;

use super::cell::State;
use super::member::Member;

/// What there is for a follower.
pub(super) enum Next<T> {
    Event(T),
    /// Events that it has not seen are gone.
    Lost,
    Nothing,
}

impl<T> Next<T> {
    pub(super) fn map<R>(self, of: impl FnOnce(T) -> R) -> Next<R> {
        match self {
            Self::Event(event) => Next::Event(of(event)),
            Self::Lost => Next::Lost,
            Self::Nothing => Next::Nothing,
        }
    }
}

/// Looks at a member's topic, and has it woken by the next event if there is nothing.
pub(super) fn look<T>(
    member: &mut Member,
    waker: &Waker,
    look: impl Fn(&mut State, &Member) -> Next<T>,
) -> Next<T> {
    // Cloned, and dropped, outside of the lock: that is somebody else's code.
    let mut own = None;
    loop {
        let mut state = member.cell.lock();
        match look(&mut state, member) {
            Next::Nothing if state.wakers.holds(&member.ticket, waker) => return Next::Nothing,
            Next::Nothing => {}
            found => return found,
        }
        if let Some(waker) = own.take() {
            let known = state.wakers.wait(&mut member.ticket, waker);
            drop(state);
            drop(known);
            return Next::Nothing;
        }
        drop(state);
        own = Some(waker.clone());
    }
}
