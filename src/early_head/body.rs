//! The body of a response: that of the handler, sooner or later.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::late::{Answer, Late, Told};
use super::wait::{Wait, Waited};
use crate::dialect::Notice;
use crate::sync::Foreign;
use crate::wire::{CloseReason, Event};

pin_project! {
    /// The body of a response of an [`EarlyHead`](crate::EarlyHead): that of the service inside, or
    /// first the wait for it.
    ///
    /// If it is dropped while it waits, the future of the service inside is dropped.
    pub struct EarlyHeadBody<F, B> {
        #[pin]
        state: BodyState<F, B>,
    }
}

pin_project! {
    #[project = BodyStateProjection]
    enum BodyState<F, B> {
        Inner {
            #[pin]
            body: Foreign<B>,
        },
        Waiting { wait: Option<Pin<Box<Wait<F>>>> },
        // The answer is no event stream, and is told when it is read.
        Reading {
            #[pin]
            body: Foreign<B>,
            answer: Option<Box<Answer>>,
            wait: Pin<Box<Wait<F>>>,
        },
        // None at the end.
        Fixed { bytes: Option<Bytes> },
    }
}

impl<F, B> EarlyHeadBody<F, B> {
    /// The body of the service inside.
    pub(super) fn of(body: B) -> Self {
        Self { state: BodyState::Inner { body: Foreign::new(body) } }
    }

    /// The body of a response whose head did not wait.
    pub(super) fn waiting(wait: Pin<Box<Wait<F>>>) -> Self {
        Self { state: BodyState::Waiting { wait: Some(wait) } }
    }

    /// These bytes.
    pub(super) fn fixed(bytes: Bytes) -> Self {
        Self { state: BodyState::fixed(bytes) }
    }
}

impl<F, B> BodyState<F, B> {
    fn fixed(bytes: Bytes) -> Self {
        Self::Fixed { bytes: (!bytes.is_empty()).then_some(bytes) }
    }

    /// The end of a stream that says this.
    fn told(wait: &Wait<F>, told: Told) -> Self {
        match told {
            Told::Event(json) => Self::fixed(Event::new().data(json).encode()),
            // None if the stream around this body says it.
            Told::Notice(notice) => Self::Fixed { bytes: wait.request().tell(&notice) },
        }
    }
}

impl<F, B, E> BodyState<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    /// What comes after a wait.
    fn after(wait: Pin<Box<Wait<F>>>, waited: Waited<F::Output>) -> Self {
        let notice = match waited {
            Waited::Answer(Ok(response)) => {
                let (head, body) = response.into_parts();
                let body = Foreign::new(body);
                match Late::of(wait.request().method(), &head) {
                    Late::Follow => return Self::Inner { body },
                    Late::Read(answer) => {
                        return Self::Reading { body, answer: Some(Box::new(answer)), wait };
                    }
                    Late::Tell(notice) => notice,
                }
            }
            Waited::Answer(Err(_)) => Notice::new(CloseReason::Error),
            Waited::Delay | Waited::GiveUp => Notice::new(CloseReason::Timeout),
        };
        Self::told(&wait, Told::Notice(notice))
    }
}

type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

impl<F, B, E> Body for EarlyHeadBody<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B::Error> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                BodyStateProjection::Inner { body } => {
                    let polled = ready!(poll_inner(body, cx));
                    // Some bodies panic when they are polled after their end.
                    if !matches!(polled, Some(Ok(_))) {
                        state.set(BodyState::Fixed { bytes: None });
                    }
                    return Poll::Ready(polled);
                }
                BodyStateProjection::Waiting { wait: waiting } => {
                    // Taken out, so that a future that panics is dropped and not polled again.
                    let Some(mut wait) = waiting.take() else {
                        return Poll::Ready(None);
                    };
                    match wait.as_mut().poll_late(cx) {
                        Poll::Ready(waited) => BodyState::after(wait, waited),
                        Poll::Pending => {
                            *waiting = Some(wait);
                            return Poll::Pending;
                        }
                    }
                }
                BodyStateProjection::Reading { body, answer, wait } => {
                    let told = ready!(poll_answer(body, answer, wait.as_mut(), cx));
                    BodyState::told(wait, told)
                }
                BodyStateProjection::Fixed { bytes } => {
                    return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
                }
            };
            state.set(next);
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            BodyState::Inner { body } => body.get().is_none_or(Body::is_end_stream),
            BodyState::Waiting { wait } => wait.is_none(),
            BodyState::Reading { .. } => false,
            BodyState::Fixed { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            BodyState::Inner { body } => body.get().map(Body::size_hint).unwrap_or_default(),
            BodyState::Waiting { .. } | BodyState::Reading { .. } => SizeHint::default(),
            BodyState::Fixed { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

fn poll_inner<B>(body: Pin<&mut Foreign<B>>, cx: &mut Context<'_>) -> Polled<B::Error>
where
    B: Body<Data = Bytes>,
{
    body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx))
}

/// Reads an answer that is told when it is whole.
fn poll_answer<F, B>(
    mut body: Pin<&mut Foreign<B>>,
    answer: &mut Option<Box<Answer>>,
    wait: Pin<&mut Wait<F>>,
    cx: &mut Context<'_>,
) -> Poll<Told>
where
    B: Body<Data = Bytes>,
{
    for _ in 0..ROUNDS {
        let is_whole = match poll_inner(body.as_mut(), cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let fits = frame
                    .data_ref()
                    .is_none_or(|data| answer.as_mut().is_some_and(|answer| answer.read(data)));
                if fits {
                    continue;
                }
                false
            }
            Poll::Ready(Some(Err(_))) => false,
            Poll::Ready(None) => true,
            Poll::Pending => {
                ready!(wait.poll_give_up(cx));
                return Poll::Ready(Told::Notice(Notice::new(CloseReason::Timeout)));
            }
        };
        return Poll::Ready(match answer.take() {
            Some(answer) if is_whole => answer.whole(),
            Some(answer) => answer.broken(),
            None => Told::Notice(Notice::new(CloseReason::Error)),
        });
    }
    // The body is always ready: let other tasks run.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// How many frames of an answer one poll takes.
const ROUNDS: usize = 64;

impl<F, B> fmt::Debug for EarlyHeadBody<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            BodyState::Inner { .. } => "inner",
            BodyState::Waiting { .. } => "waiting",
            BodyState::Reading { .. } => "reading",
            BodyState::Fixed { .. } => "fixed",
        };
        f.debug_struct("EarlyHeadBody").field("state", &state).finish()
    }
}
