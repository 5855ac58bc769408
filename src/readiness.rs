//! The service that answers the probes of load balancers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use crate::state::Drain;
use crate::static_body::StaticBody;

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
    type Response = Response<StaticBody>;
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
        let mut response = Response::new(StaticBody::of(word));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        ready(Ok(response))
    }
}
