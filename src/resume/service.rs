//! The service, and the future of its response.

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

use super::answers::{Answer, SearchFuture};
use super::body::ResumeBody;
use super::resumer::{ResumeRequest, Resumer};
use crate::event_log::{EventLog, MemoryLog};
use crate::service::{inner_service_accessors, separate_request};
use crate::sync::Foreign;

/// The service that a [`ResumeLayer`](crate::ResumeLayer) makes.
pub struct ResumeService<S, L: EventLog = MemoryLog> {
    inner: S,
    resumer: Arc<Resumer<L>>,
}

impl<S, L: EventLog> ResumeService<S, L> {
    pub(super) fn new(inner: S, resumer: Arc<Resumer<L>>) -> Self {
        Self { inner, resumer }
    }

    /// The number of streams that the layer keeps: those that go on, and those that have ended and
    /// are remembered.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.resumer.sessions.remove_old(self.resumer.settings.remember);
        self.resumer.sessions.len()
    }

    inner_service_accessors!();
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
        let asked = self.resumer.request(&parts);
        let answer = asked.as_ref().map_or(Answer::Inner, |asked| self.resumer.answer(asked));
        if let Some(asked) = &asked {
            separate_request(&mut parts.extensions, &asked.told_failure);
        }
        let request = Request::from_parts(parts, body);
        let begin = asked.map(|asked| (asked, Arc::clone(&self.resumer)));
        let state = match answer {
            Answer::Ready(response) => ResumeCall::Answer { response: Some(response) },
            Answer::Inner => ResumeCall::Inner { call: Foreign::new(self.inner.call(request)) },
            Answer::Search(search) => {
                // `poll_ready` was called on this service, and not on the clone.
                let clone = self.inner.clone();
                let ready = std::mem::replace(&mut self.inner, clone);
                ResumeCall::Search { search, call: Some((ready, request)) }
            }
        };
        ResumeFuture { state, begin }
    }
}

impl<S: Clone, L: EventLog> Clone for ResumeService<S, L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), resumer: Arc::clone(&self.resumer) }
    }
}

impl<S: fmt::Debug, L: EventLog> fmt::Debug for ResumeService<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of a [`ResumeService`]'s response.
    pub struct ResumeFuture<S, ReqBody, ResBody, L: EventLog = MemoryLog>
    where
        S: Service<Request<ReqBody>>,
    {
        #[pin]
        state: ResumeCall<S, ReqBody, ResBody, L, S::Future>,
        // For the session that the response of the service inside begins.
        begin: Option<(ResumeRequest, Arc<Resumer<L>>)>,
    }
}

pin_project! {
    #[project = ResumeCallProj]
    enum ResumeCall<S, ReqBody, ResBody, L: EventLog, F> {
        // The session is known.
        Answer { response: Option<Response<ResumeBody<ResBody, L>>> },
        // The session may be that of another node.
        Search { search: SearchFuture<ResBody, L>, call: Option<(S, Request<ReqBody>)> },
        Inner { #[pin] call: Foreign<F> },
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
                ResumeCallProj::Answer { response } => {
                    return Poll::Ready(Ok(response.take().expect("polled after completion")));
                }
                ResumeCallProj::Search { search, call } => {
                    if let Some(response) = ready!(search.as_mut().poll(cx)) {
                        return Poll::Ready(Ok(response));
                    }
                    let (mut service, request) = call.take().expect("polled after completion");
                    service.call(request)
                }
                ResumeCallProj::Inner { call } => {
                    let response = ready!(call.poll(cx))?;
                    return Poll::Ready(Ok(match this.begin.take() {
                        Some((asked, resumer)) => resumer.begin(&asked, response),
                        None => response.map(ResumeBody::plain),
                    }));
                }
            };
            this.state.set(ResumeCall::Inner { call: Foreign::new(call) });
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
