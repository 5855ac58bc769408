//! The service that a layer makes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::body::ResumeBody;
use super::elsewhere;
use super::shared::{Asked, Shared};
use crate::event_log::{EventLog, MemoryLog};
use crate::service::separate;

/// The service that a [`ResumeLayer`](super::ResumeLayer) makes.
pub struct ResumeService<S, L: EventLog = MemoryLog> {
    inner: S,
    shared: Arc<Shared<L>>,
}

impl<S, L: EventLog> ResumeService<S, L> {
    pub(super) fn new(inner: S, shared: Arc<Shared<L>>) -> Self {
        Self { inner, shared }
    }

    /// How many streams are kept: those that go on, and those whose end is remembered.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.streams.forget_old(self.shared.settings.remember);
        self.shared.streams.len()
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, L, ReqBody, ResBody> Service<Request<ReqBody>> for ResumeService<S, L>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    L: EventLog,
    ResBody: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<ResumeBody<ResBody, L>>;
    type Error = S::Error;
    type Future = ResumeFuture<S, ReqBody, ResBody, L>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let asked = self.shared.asked(&parts);
        if let Some(answer) = asked.as_ref().and_then(|asked| self.shared.answer(asked)) {
            return ResumeFuture { state: State::Answer { answer: Some(answer) }, begin: None };
        }
        if asked.is_some() {
            separate(&mut parts.extensions);
        }
        let request = Request::from_parts(parts, body);
        let begin = asked.map(|asked| Begin { asked, shared: Arc::clone(&self.shared) });
        let from_afar = begin
            .as_ref()
            .filter(|begin| begin.asked.at.is_some() && !begin.shared.settings.elsewhere.is_zero());
        let state = match from_afar {
            None => State::Call { call: self.inner.call(request) },
            Some(Begin { asked, shared }) => {
                let look = Box::pin(elsewhere::look(Arc::clone(shared), asked.clone()));
                // The service that is ready is the one to call, if it comes to that.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                State::Look { look, call: Some((ready, request)) }
            }
        };
        ResumeFuture { state, begin }
    }
}

impl<S: Clone, L: EventLog> Clone for ResumeService<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, L: EventLog> fmt::Debug for ResumeService<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// What makes a stream of the response.
struct Begin<L> {
    asked: Asked,
    shared: Arc<Shared<L>>,
}

pin_project! {
    /// The future of a [`ResumeService`]'s response.
    pub struct ResumeFuture<S, ReqBody, ResBody, L: EventLog = MemoryLog>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: State<S, ReqBody, ResBody, L, S::Future>,
        begin: Option<Begin<L>>,
    }
}

type Look<ResBody, L> =
    Pin<Box<dyn Future<Output = Option<Response<ResumeBody<ResBody, L>>>> + Send>>;

pin_project! {
    #[project = StateProj]
    enum State<S, ReqBody, ResBody, L: EventLog, F> {
        // A stream that is known, and goes on.
        Answer { answer: Option<Response<ResumeBody<ResBody, L>>> },
        // One that may be another node's.
        Look { look: Look<ResBody, L>, call: Option<(S, Request<ReqBody>)> },
        Call { #[pin] call: F },
    }
}

impl<S, L, ReqBody, ResBody> Future for ResumeFuture<S, ReqBody, ResBody, L>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    L: EventLog,
    ResBody: Body<Data = Bytes> + Send + 'static,
{
    type Output = Result<Response<ResumeBody<ResBody, L>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let call = match this.state.as_mut().project() {
                StateProj::Answer { answer } => {
                    return Poll::Ready(Ok(answer.take().expect("polled after completion")));
                }
                StateProj::Look { look, call } => {
                    if let Some(answer) = ready!(look.as_mut().poll(cx)) {
                        return Poll::Ready(Ok(answer));
                    }
                    let (mut service, request) = call.take().expect("polled after completion");
                    service.call(request)
                }
                StateProj::Call { call } => {
                    let response = ready!(call.poll(cx))?;
                    return Poll::Ready(Ok(match this.begin.take() {
                        Some(begin) => begin.shared.begin(&begin.asked, response),
                        None => response.map(ResumeBody::plain),
                    }));
                }
            };
            this.state.set(State::Call { call });
        }
    }
}

impl<S, ReqBody, ResBody, L> fmt::Debug for ResumeFuture<S, ReqBody, ResBody, L>
where
    S: Service<Request<ReqBody>>,
    L: EventLog,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeFuture").finish_non_exhaustive()
    }
}
