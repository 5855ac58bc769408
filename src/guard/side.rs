//! One direction of a connection: who waits in it, and until when.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};

use crate::roster::Registration;
use crate::state::Drain;

/// One direction of a connection. Reads and writes may be two tasks, so each has its own.
#[derive(Debug)]
pub(super) struct Side {
    /// On the list of those who are woken when the drain begins. None on a list that is full,
    /// after four billion connections that are open.
    seat: Option<Registration<()>>,
    /// Who waits, as far as the list knows.
    waker: Option<Waker>,
    /// Boxed, since mostly there is none.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Side {
    pub(super) fn new(drain: &Drain) -> Self {
        Self { seat: drain.connect(), waker: None, sleep: None }
    }

    /// Has this task woken when the drain begins. What is asked of the drain afterwards is in time:
    /// if it has not begun by then, it will wake this task.
    pub(super) fn register(&mut self, cx: &Context<'_>) {
        let waker = cx.waker();
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            if let Some(seat) = &self.seat {
                seat.register(waker);
            }
            self.waker = Some(waker.clone());
        }
    }

    /// Has this task woken at `until`. Ready if that is over.
    pub(super) fn sleep_until(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let until = tokio::time::Instant::from_std(until);
        let sleep = match &mut self.sleep {
            // A later moment is left until the timer fires: where there is progress now and then,
            // that spares a timer operation each time.
            Some(sleep) if sleep.deadline() <= until && !sleep.is_elapsed() => sleep,
            Some(sleep) => {
                sleep.as_mut().reset(until);
                sleep
            }
            none => none.insert(Box::pin(sleep_until(until))),
        };
        loop {
            // The task's budget may be used up, and then a sleep says that it is not due.
            if pin!(unconstrained(sleep.as_mut())).poll(cx).is_pending() {
                return Poll::Pending;
            }
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }

    /// Waits for nothing in particular any more.
    pub(super) fn rest(&mut self) {
        self.sleep = None;
    }

    /// Wakes who waits here, if that is another task than this.
    pub(super) fn wake_other(&mut self, cx: &Context<'_>) {
        if let Some(waker) = self.waker.take().filter(|waker| !waker.will_wake(cx.waker())) {
            waker.wake();
        }
    }
}
