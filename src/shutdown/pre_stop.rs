//! The service for a `preStop` hook: it drains, and answers when that is over.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use tower_service::Service;

use super::Shutdown;
use crate::state::DrainReport;
use crate::static_body::StaticBody;

/// Service that begins the drain of a shutdown, and answers when it is over.
///
/// [`Shutdown::pre_stop`] makes it. It answers a `GET` or a `POST` with 200 and a line of text:
///
/// ```text
/// drained 12 streams in 3.2 s: 10 closed, 2 finished, 0 cut, 0 stalled, 0 forced
/// ```
///
/// The words are those of [`DrainReport`]. Other methods get 405 and begin nothing, so that nothing
/// that only looks at the path ends the server's streams. A second request begins no second drain.
/// It gets the same line when the drain is over.
#[derive(Clone, Debug)]
pub struct PreStop(Shutdown);

impl Shutdown {
    /// A service for the `preStop` hook of Kubernetes: it [drains](Self::drain), and answers when
    /// the drain is over.
    ///
    /// Kubernetes sends SIGTERM after the hook. So all of the drain happens while the process is
    /// asked nothing else, also if it has no handler for signals.
    ///
    /// **Any client that can send a request to it can end the streams of the server.** Serve it on
    /// a port of its own that only the node reaches. That port needs no guard either: a
    /// [guarded](Self::guard) connection fails at the deadline, which is when a drain with clients
    /// that do not read is over, and the answer would be lost.
    ///
    /// The time of the hook is part of `terminationGracePeriodSeconds`, which is 30 s unless it is
    /// set: the [notice](crate::ShutdownBuilder::notice), the
    /// [deadline](crate::ShutdownBuilder::deadline) and some seconds for the process to end have to
    /// fit into it.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::Router;
    /// use tower_sse::Shutdown;
    ///
    /// let shutdown = Shutdown::new();
    /// let for_the_node: Router = Router::new()
    ///     .route_service("/ready", shutdown.readiness())
    ///     .route_service("/drain", shutdown.pre_stop());
    /// ```
    ///
    /// ```yaml
    /// lifecycle:
    ///   preStop:
    ///     httpGet: { path: /drain, port: 9000 }
    /// ```
    ///
    /// # Cancellation safety
    ///
    /// If the client of the service leaves before the answer, the drain goes on.
    ///
    /// # Panics
    ///
    /// The future of the service panics where [`drain`](Self::drain) does.
    #[must_use]
    pub fn pre_stop(&self) -> PreStop {
        PreStop(self.clone())
    }
}

impl<B> Service<Request<B>> for PreStop {
    type Response = Response<StaticBody>;
    type Error = Infallible;
    type Future = PreStopFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_asked = [Method::GET, Method::POST].contains(request.method());
        let shutdown = self.0.clone();
        let drain =
            is_asked.then(|| -> DrainFuture { Box::pin(async move { shutdown.drain().await }) });
        PreStopFuture { drain }
    }
}

type DrainFuture = Pin<Box<dyn Future<Output = DrainReport> + Send>>;

/// The future of a [`PreStop`]'s response.
pub struct PreStopFuture {
    /// None if the request is not one that begins a drain.
    drain: Option<DrainFuture>,
}

impl Future for PreStopFuture {
    type Output = Result<Response<StaticBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = if let Some(drain) = &mut self.drain {
            let report = ready!(drain.as_mut().poll(cx));
            Response::new(StaticBody::from(format!("drained {report}\n")))
        } else {
            let mut response = Response::new(StaticBody::of(""));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
            response
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Poll::Ready(Ok(response))
    }
}

impl fmt::Debug for PreStopFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreStopFuture").field("drains", &self.drain.is_some()).finish()
    }
}
