//! The service, its settings, and the future of its response.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::EarlyHeadBody;
use super::wait::{Wait, WaitLimits, Waited};
use crate::dialect::{Dialect, Notice};
use crate::plan::RequestFn;
use crate::service::{EarlyHeadRequest, accepts_events, inner_service_accessors, may_begin_early};
use crate::sync::Foreign;
use crate::wire::CloseReason;

/// The service that an [`EarlyHeadLayer`](crate::EarlyHeadLayer) makes.
#[derive(Clone)]
pub struct EarlyHead<S> {
    inner: S,
    settings: Arc<EarlyHeadSettings>,
}

/// The settings of an [`EarlyHeadLayer`](crate::EarlyHeadLayer).
#[derive(Clone, Debug)]
pub(super) struct EarlyHeadSettings {
    pub(super) limits: WaitLimits,
    pub(super) dialect: Option<Dialect>,
    /// None for those that accept events.
    pub(super) requests: Option<RequestFn<bool>>,
}

impl EarlyHeadSettings {
    /// Whether the head for this request may be sent early.
    pub(super) fn names(&self, request: &Parts) -> bool {
        may_begin_early(request)
            && match &self.requests {
                Some(requests) => requests.names(request),
                None => accepts_events(&request.headers),
            }
    }
}

impl<S> EarlyHead<S> {
    pub(super) fn new(inner: S, settings: Arc<EarlyHeadSettings>) -> Self {
        Self { inner, settings }
    }

    inner_service_accessors!();
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for EarlyHead<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Response = Response<EarlyHeadBody<S::Future, ResBody>>;
    type Error = S::Error;
    type Future = EarlyHeadFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let early = self
            .settings
            .names(&parts)
            .then(|| EarlyHeadRequest::begin(&mut parts, self.settings.dialect.as_ref()));
        let future = self.inner.call(Request::from_parts(parts, body));
        let state = match early {
            None => FutureState::Plain { future: Foreign::new(future) },
            Some(request) => {
                let wait = Wait::new(future, self.settings.limits, request);
                FutureState::Waiting { wait: Some(wait) }
            }
        };
        EarlyHeadFuture { state }
    }
}

impl<S: fmt::Debug> fmt::Debug for EarlyHead<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyHead").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of an [`EarlyHead`]'s response.
    ///
    /// # Panics
    ///
    /// For a request whose head may be sent early it has to be polled in a Tokio runtime with its
    /// timer enabled, and so has the body.
    pub struct EarlyHeadFuture<F> {
        #[pin]
        state: FutureState<F>,
    }
}

pin_project! {
    #[project = FutureStateProjection]
    enum FutureState<F> {
        // The head of this request is not sent early.
        Plain {
            #[pin]
            future: Foreign<F>,
        },
        // Boxed, since the wait goes on in the body. None when the response is made.
        Waiting { wait: Option<Pin<Box<Wait<F>>>> },
    }
}

impl<F, B, E> Future for EarlyHeadFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<EarlyHeadBody<F, B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waiting = match self.project().state.project() {
            FutureStateProjection::Plain { future } => {
                return future.poll(cx).map_ok(|response| response.map(EarlyHeadBody::of));
            }
            FutureStateProjection::Waiting { wait } => wait,
        };
        let waited = match waiting {
            Some(wait) => ready!(wait.as_mut().poll_in_time(cx)),
            None => panic!("polled after completion"),
        };
        let wait = waiting.take().expect("it was polled");
        Poll::Ready(match waited {
            Waited::Answer(answer) => answer.map(|response| response.map(EarlyHeadBody::of)),
            Waited::Delay => {
                let (head, ()) = wait.request().early_head().into_parts();
                Ok(Response::from_parts(head, EarlyHeadBody::waiting(wait)))
            }
            Waited::GiveUp => {
                let answer = wait.request().answer(&Notice::new(CloseReason::Timeout));
                Ok(answer.map(EarlyHeadBody::fixed))
            }
        })
    }
}

impl<F> fmt::Debug for EarlyHeadFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waits = matches!(self.state, FutureState::Waiting { .. });
        f.debug_struct("EarlyHeadFuture").field("waits", &waits).finish()
    }
}
