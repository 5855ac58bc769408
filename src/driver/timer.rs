//! The timer of a stream, and what the stream waits for before it has one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep_until};

use super::StreamLink;
use crate::sync::poll_sleep;

pin_project! {
    /// The timer of a stream.
    ///
    /// The link that a stream needs only before its first poll is kept in the place of the timer:
    /// a field of its own would take memory for as long as the stream is open.
    #[project = TimerProjection]
    #[derive(Debug)]
    pub(super) enum Timer {
        /// The stream has not been polled yet.
        Unopened { link: Arc<StreamLink> },
        /// There is nothing to wait for.
        Unset,
        /// There is no runtime to wait in.
        Unarmed,
        Set {
            #[pin]
            sleep: Sleep,
        },
    }
}

impl Timer {
    /// The link of a stream that has not been polled yet.
    pub(super) fn link(&self) -> Option<&Arc<StreamLink>> {
        match self {
            Self::Unopened { link } => Some(link),
            Self::Unset | Self::Unarmed | Self::Set { .. } => None,
        }
    }

    /// Takes the link at the first poll.
    pub(super) fn open(mut self: Pin<&mut Self>) -> Option<Arc<StreamLink>> {
        let link = self.link().cloned()?;
        self.set(Self::Unset);
        Some(link)
    }

    /// Whether there is nothing to do now.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Unset => true,
            Self::Set { sleep } => !sleep.is_elapsed(),
            Self::Unopened { .. } | Self::Unarmed => false,
        }
    }

    /// Whether the timer cannot be relied on, so that the clock must be read.
    pub(super) fn is_unarmed(&self) -> bool {
        matches!(self, Self::Unarmed)
    }

    /// Stops the timer and has the caller read the clock instead.
    pub(super) fn disarm(mut self: Pin<&mut Self>) {
        self.set(Self::Unarmed);
    }

    /// Whether the timer has elapsed. It costs one load and reads no clock.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        matches!(self, Self::Set { sleep } if sleep.is_elapsed())
    }

    /// Stops the timer.
    pub(super) fn clear(mut self: Pin<&mut Self>) {
        self.set(Self::Unset);
    }

    /// Waits until `at`. A timer that is set for an earlier time is left alone until then.
    pub(super) fn poll_until(
        mut self: Pin<&mut Self>,
        at: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if !matches!(*self, Self::Set { .. }) {
            self.set(Self::Set { sleep: sleep_until(at.into()) });
        }
        match self.project() {
            TimerProjection::Set { sleep } => poll_sleep(sleep, at, cx),
            _ => Poll::Pending,
        }
    }
}
