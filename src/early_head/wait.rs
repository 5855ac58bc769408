//! What a request has while its answer is waited for: the future of the handler, and a timer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::service::EarlyHeadRequest;
use crate::sync::Foreign;

pin_project! {
    /// The wait for an answer: first in the future of the response, then in its body.
    pub(super) struct Wait<F> {
        // None when it has answered. Taken out before it is polled in a body, so that one that
        // panics is not polled again.
        #[pin]
        future: Foreign<F>,
        // Set at the first poll: a service may be called outside of a runtime.
        #[pin]
        sleep: Option<Sleep>,
        began: Option<Instant>,
        limits: WaitLimits,
        request: EarlyHeadRequest,
    }
}

/// How long an answer is waited for, from the first poll on.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimits {
    /// Before its head is sent.
    pub(super) delay: Duration,
    /// In all.
    pub(super) give_up_after: Duration,
}

/// What comes of a wait for the head.
pub(super) enum Waited<T> {
    Answer(T),
    /// The delay is over.
    Delay,
    /// Nothing is waited for any longer.
    GiveUp,
}

impl<F> Wait<F> {
    pub(super) fn new(future: F, limits: WaitLimits, request: EarlyHeadRequest) -> Pin<Box<Self>> {
        Box::pin(Self { future: Foreign::new(future), sleep: None, began: None, limits, request })
    }

    pub(super) fn request(&self) -> &EarlyHeadRequest {
        &self.request
    }
}

impl<F: Future> Wait<F> {
    /// Waits for the answer, or for the end of the delay.
    pub(super) fn poll_in_time(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Waited<F::Output>> {
        // The answer before the timer: at the same moment it is in time.
        if let Poll::Ready(answer) = self.as_mut().poll_answer(cx) {
            return Poll::Ready(Waited::Answer(answer));
        }
        let WaitLimits { delay, give_up_after } = self.limits;
        ready!(self.poll_sleep(delay.min(give_up_after), cx));
        Poll::Ready(if give_up_after <= delay { Waited::GiveUp } else { Waited::Delay })
    }

    /// Waits for the answer, or until it is given up.
    pub(super) fn poll_late(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Waited<F::Output>> {
        if let Poll::Ready(answer) = self.as_mut().poll_answer(cx) {
            return Poll::Ready(Waited::Answer(answer));
        }
        ready!(self.poll_give_up(cx));
        Poll::Ready(Waited::GiveUp)
    }

    fn poll_answer(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut future = self.project().future;
        let answer = ready!(future.as_mut().poll(cx));
        future.clear();
        Poll::Ready(answer)
    }
}

impl<F> Wait<F> {
    /// Waits until the answer is given up.
    pub(super) fn poll_give_up(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limits.give_up_after;
        self.poll_sleep(limit, cx)
    }

    /// Waits until so much time has passed since the first poll.
    fn poll_sleep(self: Pin<&mut Self>, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let began = *this.began.get_or_insert_with(Instant::now);
        let until = began + limit;
        match this.sleep.as_mut().as_pin_mut() {
            Some(sleep) if sleep.deadline() == until => {}
            Some(sleep) => sleep.reset(until),
            None => this.sleep.set(Some(sleep_until(until))),
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
    }
}
