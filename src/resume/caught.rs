//! Calls of a log, which is foreign code: a panic of it is taken for an error.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use crate::event_log::{EventLog, Follow, Start, Step, Topic};
use crate::sync::{Foreign, catch_panic, drop_caught};

/// A log returned an error, or panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogAway;

/// What a log answers.
pub(super) async fn answer<T, E, F>(ask: impl FnOnce() -> F) -> Result<T, LogAway>
where
    F: Future<Output = Result<T, E>>,
{
    caught(ask).await.and_then(Result::ok).ok_or(LogAway)
}

/// What a call returns. None if it panics.
pub(super) async fn caught<F: Future>(call: impl FnOnce() -> F) -> Option<F::Output> {
    let mut called = pin!(Foreign::new(catch_panic(call)?));
    let output = poll_fn(|cx| match catch_panic(|| called.as_mut().poll(cx)) {
        Some(polled) => polled.map(Some),
        None => Poll::Ready(None),
    })
    .await;
    catch_panic(|| called.clear());
    output
}

/// A follower of a log. It is over when it panics.
pub(super) struct CaughtFollower<F>(Option<Pin<Box<F>>>);

impl<F: Follow> CaughtFollower<F> {
    pub(super) fn new<L: EventLog<Follower = F>>(log: &L, topic: &Topic, from: Start) -> Self {
        Self(catch_panic(|| Box::pin(log.follow(topic.into(), from))))
    }

    /// Whether it has panicked.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Step>, LogAway>> {
        let Some(follower) = &mut self.0 else {
            return Poll::Ready(Err(LogAway));
        };
        let Some(polled) = catch_panic(|| follower.as_mut().poll_next(cx)) else {
            drop_caught(self.0.take());
            return Poll::Ready(Err(LogAway));
        };
        polled.map(Ok)
    }
}

impl<F> Drop for CaughtFollower<F> {
    fn drop(&mut self) {
        drop_caught(self.0.take());
    }
}

impl<F> fmt::Debug for CaughtFollower<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaughtFollower(..)")
    }
}
