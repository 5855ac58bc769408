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
    /// What a stream needs before its first poll only takes the room of the timer that it has later:
    /// it would be memory of every stream, for as long as the stream is open.
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

    /// Takes what was there before the first poll.
    pub(super) fn open(mut self: Pin<&mut Self>) -> Option<Arc<StreamLink>> {
        let link = self.link().cloned()?;
        self.set(Self::Unset);
        Some(link)
    }

    /// Whether nothing is to be done for now.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        match self {
            Self::Unset => true,
            Self::Set { sleep } => !sleep.is_elapsed(),
            Self::Unopened { .. } | Self::Unarmed => false,
        }
    }

    /// Whether only the clock tells when it is time.
    pub(super) fn is_unarmed(&self) -> bool {
        matches!(self, Self::Unarmed)
    }

    /// Leaves it to the clock to tell when it is time.
    pub(super) fn disarm(mut self: Pin<&mut Self>) {
        self.set(Self::Unarmed);
    }

    /// Whether the time has come for which the timer was set. It takes a load, and no clock.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        matches!(self, Self::Set { sleep } if sleep.is_elapsed())
    }

    /// Waits for nothing any more.
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
