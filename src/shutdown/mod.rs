//! Ends all streams of a server, spread over a window, within a deadline.

mod builder;
#[cfg(feature = "axum")]
mod listen;
#[cfg(feature = "signal")]
mod signals;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout_at};

pub use builder::ShutdownBuilder;

use crate::guard::Guarded;
use crate::readiness::Readiness;
use crate::state::{Drain, DrainReport};
use crate::sync::now;

/// Ends all streams of a server, spread over a window, within a deadline.
///
/// When it is triggered, each stream that went through a [`ShutdownLayer`](crate::ShutdownLayer)
/// with this handle gets a farewell behind its last whole event, and the end. Streams that open
/// later are answered with one `draining` event, or with 503 if the request did not ask for an
/// event stream by name.
///
/// Handles are cheap to clone and stand for one shutdown. Two shutdowns in one process have
/// nothing to do with each other.
///
/// # Examples
///
/// With the feature `axum`:
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use tower_sse::{Shutdown, SseLayer};
///
/// # #[cfg(feature = "axum")]
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// let shutdown = Shutdown::new();
/// let app = Router::new()
///     .route("/events", get(events))
///     .layer(SseLayer::new().shutdown(shutdown.clone()));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(shutdown.listen(listener), app)
///     .with_graceful_shutdown(shutdown.on_signals())
///     .await
/// # }
/// # #[cfg(not(feature = "axum"))] fn main() {}
/// # async fn events() {}
/// ```
///
/// # Streams, and connections
///
/// A body that is not polled cannot end, and hyper does not poll one whose client has stopped
/// reading ([hyper#3121](https://github.com/hyperium/hyper/issues/3121)). Nor is there a stream on
/// a connection whose client says nothing, or never finishes its handshake. A server that waits
/// for its connections, as `axum::serve(..).with_graceful_shutdown(..)` does, waits for these **for
/// ever**, unless the connections are guarded: by [`listen`](Self::listen) for axum, by
/// [`guard`](Self::guard) for whatever accepts connections itself. A guarded connection is given up
/// at the deadline, and so the server is over by then.
///
/// Without it, streams that are still open at the deadline are counted as `forced` all the same,
/// but their connections stay.
#[derive(Clone, Debug)]
pub struct Shutdown {
    drain: Arc<Drain>,
}

impl Shutdown {
    /// A shutdown with the defaults of [`builder`](Self::builder).
    #[must_use]
    pub fn new() -> Self {
        ShutdownBuilder::default().into_shutdown()
    }

    /// Settings to choose.
    pub fn builder() -> ShutdownBuilder {
        ShutdownBuilder::default()
    }

    /// Begins to end the streams. Only the first call does anything; it can come from any thread.
    pub fn trigger(&self) {
        self.drain.begin();
    }

    /// Triggers when `signal` is ready.
    ///
    /// The future is ready when the shutdown was triggered, by this or by anything else, and its
    /// [notice](ShutdownBuilder::notice) is over; and so it fits `with_graceful_shutdown`.
    ///
    /// # Cancellation safety
    ///
    /// Dropped early, it triggers nothing.
    pub fn trigger_on<F>(&self, signal: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future + Send,
    {
        let drain = Arc::clone(&self.drain);
        async move {
            either(async { drop(signal.await) }, drain.begun()).await;
            drain.begin();
            noticed(&drain).await;
        }
    }

    /// Waits until the shutdown was triggered and its [notice](ShutdownBuilder::notice) is over: the
    /// moment for a server to stop to accept connections.
    ///
    /// # Cancellation safety
    ///
    /// It can be dropped and called again at any time.
    ///
    /// # Panics
    ///
    /// With a notice, outside of a Tokio runtime with its timer enabled.
    pub async fn triggered(&self) {
        self.drain.begun().await;
        noticed(&self.drain).await;
    }

    /// Whether the shutdown was triggered, also during its [notice](ShutdownBuilder::notice).
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.started().is_some()
    }

    /// Triggers, and waits until all streams have ended or the deadline has passed; in any case
    /// until the [notice](ShutdownBuilder::notice) is over.
    ///
    /// It may be called any number of times, by several at once.
    ///
    /// The report counts what the streams handed over. A farewell may still be on its way out then:
    /// the server has to be awaited too before the process exits.
    ///
    /// # Cancellation safety
    ///
    /// Dropped early, the streams end all the same.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its timer enabled, if streams are open or there is a notice.
    pub async fn drain(&self) -> DrainReport {
        self.trigger();
        let drain = &*self.drain;
        noticed(drain).await;
        if let Some(deadline) = drain.deadline() {
            // Whether it was in time shows in what is left.
            let _ = timeout_at(Instant::from_std(deadline), drain.emptied()).await;
        }
        drain.report()
    }

    /// Guards a connection, so that it ends when its client takes nothing, and at the deadline.
    ///
    /// For servers that accept connections themselves, with hyper or tonic: serve what this gives
    /// instead of `io`. For axum there is [`listen`](Self::listen).
    ///
    /// - When a write, a flush or a shutdown of the connection makes no progress for the
    ///   [stall limit](ShutdownBuilder::stall_limit), it fails.
    /// - When the drain's [deadline](ShutdownBuilder::deadline) has passed, everything fails at
    ///   once, reads too.
    ///
    /// Both are errors of the kind [`TimedOut`](std::io::ErrorKind::TimedOut) with a
    /// [`GuardError`](crate::GuardError) inside. See [`Guarded`] for what it costs and what it
    /// cannot see.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use hyper_util::rt::{TokioExecutor, TokioIo};
    /// use hyper_util::server::{conn::auto::Builder, graceful::GracefulShutdown};
    /// use tower_sse::Shutdown;
    ///
    /// # async fn example<S, B>(service: S) -> std::io::Result<()>
    /// # where
    /// #     S: hyper::service::Service<
    /// #             http::Request<hyper::body::Incoming>,
    /// #             Response = http::Response<B>,
    /// #             Error = std::convert::Infallible,
    /// #         > + Clone + Send + 'static,
    /// #     S::Future: Send,
    /// #     B: http_body::Body<Data = bytes::Bytes, Error = std::convert::Infallible> + Send + 'static,
    /// # {
    /// let shutdown = Shutdown::new();
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let (server, graceful) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    /// loop {
    ///     let stream = tokio::select! {
    ///         accepted = listener.accept() => accepted?.0,
    ///         () = shutdown.triggered() => break,
    ///     };
    ///     let io = TokioIo::new(shutdown.guard(stream));
    ///     let connection = server.serve_connection(io, service.clone()).into_owned();
    ///     tokio::spawn(graceful.watch(connection));
    /// }
    /// // Over by the deadline.
    /// graceful.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn guard<T>(&self, io: T) -> Guarded<T>
    where
        T: AsyncRead + AsyncWrite,
    {
        Guarded::new(io, Arc::clone(&self.drain))
    }

    /// A service that answers 200 `ready`, and 503 `draining` from the trigger on.
    ///
    /// For the probes of load balancers. With a [notice](ShutdownBuilder::notice) it says so before
    /// streams are closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::Router;
    /// use tower_sse::Shutdown;
    ///
    /// let shutdown = Shutdown::new();
    /// let app: Router = Router::new().route_service("/ready", shutdown.readiness());
    /// ```
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness::new(Arc::clone(&self.drain))
    }

    pub(crate) fn into_drain(self) -> Arc<Drain> {
        self.drain
    }
}

/// Waits until the notice is over, behind the trigger.
async fn noticed(drain: &Drain) {
    if let Some(closing_at) = drain.closing_at() {
        if now() < closing_at {
            sleep_until(Instant::from_std(closing_at)).await;
        }
        // All streams may have left during the notice, or there may be none.
        drain.finish_if_empty(now());
    }
}

/// Waits for the first of two futures.
async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match one.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(()),
        Poll::Pending => other.as_mut().poll(cx),
    })
    .await;
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}
