//! [`StopService`]: the service for a DELETE that stops a stream.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response, StatusCode};
use tower_service::Service;

use super::caught::{LogAway, answer};
use super::resumer::Resumer;
use crate::event_log::{EventLog, MemoryLog};
use crate::static_body::StaticBody;

/// Service that stops the streams of a request's key that run.
///
/// [`ResumeLayer::stop_service`](crate::ResumeLayer::stop_service) makes it. It answers any method
/// and path; the layer's function tells the key, as it does for the requests that begin streams. So
/// the path of the DELETE has to be the path of the stream, or the function has to map both to one
/// key. A client stops only what has its own principal.
///
/// | status | when |
/// | --- | --- |
/// | 204 | a stream was stopped, or several |
/// | 404 | no stream of the key runs; it may have come to its end a moment before |
/// | 503 | the log that nodes share is away: ask again |
///
/// Clients read why their stream ended in the stream itself: see
/// [`ResumeHandle::stop`](super::ResumeHandle::stop).
///
/// # Examples
///
/// ```
/// use axum::Router;
/// # use axum::http::request::Parts;
/// use axum::routing::post;
/// use tower_sse::ResumeLayer;
/// # use tower_sse::resume::ResumeKey;
///
/// # let key = |request: &Parts| Some(ResumeKey::new(request.uri.path(), "ann"));
/// # async fn answer() {}
/// let resume = ResumeLayer::new(key);
/// let stop = resume.stop_service();
/// let app: Router = Router::new()
///     .route("/answers/{id}", post(answer).delete_service(stop))
///     .layer(resume);
/// ```
pub struct StopService<L: EventLog = MemoryLog> {
    resumer: Arc<Resumer<L>>,
}

impl<L: EventLog> StopService<L> {
    pub(super) fn new(resumer: Arc<Resumer<L>>) -> Self {
        Self { resumer }
    }
}

impl<B, L: EventLog> Service<Request<B>> for StopService<L> {
    type Response = Response<StaticBody>;
    type Error = Infallible;
    type Future = StopFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> StopFuture {
        let (parts, _) = request.into_parts();
        let (key, resumer) = (self.resumer.key_of(&parts), Arc::clone(&self.resumer));
        StopFuture(Box::pin(async move {
            match key {
                None => StatusCode::NOT_FOUND,
                Some(key) => match answer(|| resumer.stop(&key)).await {
                    Ok(0) => StatusCode::NOT_FOUND,
                    Ok(_) => StatusCode::NO_CONTENT,
                    Err(LogAway) => StatusCode::SERVICE_UNAVAILABLE,
                },
            }
        }))
    }
}

impl<L: EventLog> Clone for StopService<L> {
    fn clone(&self) -> Self {
        Self { resumer: Arc::clone(&self.resumer) }
    }
}

impl<L: EventLog> fmt::Debug for StopService<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopService").finish_non_exhaustive()
    }
}

/// The future of a [`StopService`]'s response.
pub struct StopFuture(Pin<Box<dyn Future<Output = StatusCode> + Send>>);

impl Future for StopFuture {
    type Output = Result<Response<StaticBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(|status| {
            let mut response = Response::new(StaticBody::of(""));
            *response.status_mut() = status;
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(response)
        })
    }
}

impl fmt::Debug for StopFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopFuture").finish_non_exhaustive()
    }
}
