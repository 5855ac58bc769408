//! The service that answers the probes of load balancers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use crate::state::Drain;

/// Service that answers 200 `ready`, and 503 `draining` after the trigger of a shutdown.
///
/// [`Shutdown::readiness`](crate::Shutdown::readiness) makes it. It answers any method and path.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Drain>);

impl Readiness {
    pub(crate) fn new(drain: Arc<Drain>) -> Self {
        Self(drain)
    }
}

impl<B> Service<Request<B>> for Readiness {
    type Response = Response<ReadinessBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (status, word) = match self.0.started() {
            None => (StatusCode::OK, "ready"),
            Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        };
        // Over HTTP/2 hyper sends the body of a response to HEAD.
        let word = if request.method() == Method::HEAD { "" } else { word };
        let mut response = Response::new(ReadinessBody(word));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok(response))
    }
}

/// The body of a response of [`Readiness`].
#[derive(Debug)]
pub struct ReadinessBody(&'static str);

impl Body for ReadinessBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let word = std::mem::take(&mut self.0);
        let frame = Frame::data(Bytes::from_static(word.as_bytes()));
        Poll::Ready((!word.is_empty()).then_some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
