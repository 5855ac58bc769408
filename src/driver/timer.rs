//! A stream's timer, and what the stream waits for before it has one.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

pin_project! {
    /// A stream's timer.
    #[project = Projected]
    #[derive(Debug)]
    pub(super) enum Timer {
        /// The stream has not been polled yet.
        Unopened,
        Unset,
        Set {
            #[pin]
            sleep: Sleep,
        },
    }
}

impl Timer {
    pub(super) fn is_unopened(&self) -> bool {
        matches!(self, Self::Unopened)
    }

    /// Notes the first poll. False if there was one already.
    pub(super) fn open(mut self: Pin<&mut Self>) -> bool {
        let first = self.is_unopened();
        if first {
            self.set(Self::Unset);
        }
        first
    }

    #[inline]
    pub(super) fn is_due(&self) -> bool {
        matches!(self, Self::Set { sleep } if sleep.is_elapsed())
    }

    pub(super) fn clear(mut self: Pin<&mut Self>) {
        self.set(Self::Unset);
    }

    /// Waits until `at`, or until an earlier moment for which the timer was set before.
    pub(super) fn poll_until(
        mut self: Pin<&mut Self>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        match self.as_mut().project() {
            // Later deadlines are left alone until the timer fires: an event costs no timer
            // operation, only an idle interval does.
            Projected::Set { sleep } if sleep.deadline() <= at => {}
            Projected::Set { sleep } => sleep.reset(at),
            _ => self.set(Self::Set { sleep: sleep_until(at) }),
        }
        let Projected::Set { sleep } = self.project() else {
            return Poll::Pending;
        };
        // Behind a burst the task's budget is used up, and a sleep that takes part in it says
        // `Pending` without having taken note of who waits.
        pin!(unconstrained(sleep)).poll(cx)
    }
}
