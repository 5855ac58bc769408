//! Handlers that think before they answer.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};

use crate::harness::bodies::{Broken, Read, Script, Step, read};

/// Whether the future of a handler was dropped before its answer.
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Becomes true when the guard is dropped before it is disarmed.
    pub fn guard(&self) -> CancelGuard {
        CancelGuard(Some(self.clone()))
    }
}

#[derive(Debug)]
pub struct CancelGuard(Option<Cancelled>);

impl CancelGuard {
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if let Some(cancelled) = self.0.take() {
            cancelled.0.store(true, Ordering::SeqCst);
        }
    }
}

/// How a handler's service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refuses;

/// A handler that thinks for so long, and then answers so.
#[derive(Clone, Debug)]
pub struct Thinking<A> {
    time: Duration,
    answer: A,
    cancelled: Cancelled,
}

pub fn thinking<A>(time: Duration, answer: A) -> (Thinking<A>, Cancelled)
where
    A: Fn() -> Response<Script> + Clone + Send + 'static,
{
    let cancelled = Cancelled::default();
    (Thinking { time, answer, cancelled: cancelled.clone() }, cancelled)
}

impl<A> Service<Request<()>> for Thinking<A>
where
    A: Fn() -> Response<Script> + Clone + Send + 'static,
{
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Script>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let (guard, time, answer) = (self.cancelled.guard(), self.time, self.answer.clone());
        Box::pin(async move {
            sleep(time).await;
            guard.disarm();
            Ok(answer())
        })
    }
}

/// An answer of this status, content type and body.
pub fn answer(
    status: u16,
    content_type: &'static str,
    steps: impl Fn() -> Vec<Step> + Clone + Send + 'static,
) -> impl Fn() -> Response<Script> + Clone + Send + 'static {
    move || {
        let response = Response::builder().status(status).header("content-type", content_type);
        response.header("x-handler", "its own").body(Script::new(steps())).unwrap()
    }
}

/// The head of a response, when it came, and what was read of its body.
#[derive(Debug)]
pub struct Seen {
    pub head: http::response::Parts,
    /// After how many milliseconds.
    pub at: u128,
    /// Its times are those since the head.
    pub read: Read<Broken>,
}

impl Seen {
    /// Whether the head was sent without that of the handler.
    pub fn is_early(&self) -> bool {
        !self.head.headers.contains_key("x-handler")
    }

    /// The chunks, with the milliseconds since the request.
    pub fn chunks(&self) -> Vec<(u128, &str)> {
        self.read.chunks.iter().map(|(at, text)| (self.at + at, &**text)).collect()
    }
}

/// What comes of a request within so long.
pub async fn seen<S, B>(service: &S, request: Request<()>, limit: Duration) -> Seen
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = bytes::Bytes, Error = Broken>,
{
    let began = Instant::now();
    let Ok(response) = service.clone().oneshot(request).await;
    let at = began.elapsed().as_millis();
    let (head, body) = response.into_parts();
    let read = read(&mut Box::pin(body), limit).await;
    Seen { head, at, read }
}
