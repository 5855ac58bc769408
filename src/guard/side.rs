//! One direction of a connection: the task that waits in it, and until when.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::roster::Registration;
use crate::state::Drain;
use crate::sync::{LazySleep, wake_all};

/// One direction of a connection. Reads and writes may be two tasks, so each has its own.
#[derive(Debug)]
pub(super) struct Side {
    /// The place on the list of those that a drain wakes. `None` if the list is full, with four
    /// billion open connections.
    registration: Option<Registration<()>>,
    /// The waker that the list knows.
    waker: Option<Waker>,
    /// Mostly there is none, which is why it is boxed.
    sleep: LazySleep,
}

impl Side {
    pub(super) fn new(drain: &Drain) -> Self {
        Self { registration: drain.connect(), waker: None, sleep: LazySleep::default() }
    }

    /// Has this task woken when the drain begins or is forced.
    ///
    /// What is asked of the drain after this call is in time: a drain that begins later wakes this
    /// task.
    pub(super) fn register(&mut self, cx: &Context<'_>) {
        let waker = cx.waker();
        let is_known = self.waker.as_ref().is_some_and(|known| known.will_wake(waker));
        let registration = self.registration.as_mut();
        // A signal takes the waker off the list.
        let signalled = registration.filter(|place| !is_known || place.is_signalled());
        if let Some(registration) = signalled {
            registration.mark_seen();
            registration.register(waker);
            self.waker = Some(waker.clone());
        }
    }

    /// Has this task woken at `until`. Ready if that time has come.
    pub(super) fn sleep_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.sleep.poll_until(until, cx)
    }

    /// Waits for no time any more.
    pub(super) fn clear_sleep(&mut self) {
        self.sleep.clear();
    }

    /// Wakes the task that waits here, unless it is the current one.
    pub(super) fn wake_other(&mut self, cx: &Context<'_>) {
        wake_all(self.waker.take().filter(|waker| !waker.will_wake(cx.waker())));
    }
}
