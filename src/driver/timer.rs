//! A stream's timer, and what the stream waits for before it has one.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::LatePlan;

pin_project! {
    /// A stream's timer.
    ///
    /// It has no room of its own for what a stream needs before its first poll only: that is
    /// memory of every stream, for as long as it is open.
    #[project = Projected]
    #[derive(Debug)]
    pub(super) enum Timer {
        /// The stream has not been polled yet.
        Unopened { joining: Arc<LatePlan> },
        Unset,
        Set {
            #[pin]
            sleep: Sleep,
        },
    }
}

impl Timer {
    pub(super) fn is_unopened(&self) -> bool {
        matches!(self, Self::Unopened { .. })
    }

    /// Takes what was there before the first poll.
    pub(super) fn open(mut self: Pin<&mut Self>) -> Option<Arc<LatePlan>> {
        let Projected::Unopened { joining } = self.as_mut().project() else {
            return None;
        };
        let joining = Arc::clone(joining);
        self.set(Self::Unset);
        Some(joining)
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
