//! The handle that ends all streams of a server, evenly spread and by a deadline.

mod builder;
#[cfg(feature = "axum")]
mod listen;
mod pre_stop;
#[cfg(feature = "signal")]
mod signals;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

pub use builder::ShutdownBuilder;
pub use pre_stop::{PreStop, PreStopFuture};

use crate::guard::Guarded;
use crate::readiness::Readiness;
use crate::state::{Drain, DrainReport};

/// Ends all streams of a server, evenly spread and by a deadline.
///
/// When it is triggered, each stream that has a [`ShutdownLayer`](crate::ShutdownLayer) with this
/// handle gets a farewell after its last whole event, and ends. Ends are spread at a
/// [rate](ShutdownBuilder::rate), so that clients do not come back all at once. Requests for new
/// streams are answered with one `draining` event, or with 503 if they did not ask for an event
/// stream by name.
///
/// Handles are cheap to clone and stand for the same shutdown. Two shutdowns in one process are
/// independent of each other. Layers around one handler may have different shutdowns, for example
/// of the server and of one of its tenants. Each of them refuses new streams while it drains, ends
/// the open ones and counts them in its report.
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
/// # Streams and connections
///
/// A body that is not polled cannot end, and hyper does not poll a body whose client has stopped
/// reading ([hyper#3121](https://github.com/hyperium/hyper/issues/3121)). A connection whose client
/// sends nothing, or never finishes its handshake, has no stream at all. A server that waits for
/// its connections, as `axum::serve(..).with_graceful_shutdown(..)` does, waits for these **for
/// ever**, unless the connections are guarded: with [`listen`](Self::listen) for axum, with
/// [`guard`](Self::guard) for other servers. A guarded connection is given up at the deadline, so
/// the server is over by then.
///
/// Without guards, streams that are still open at the deadline are counted as `forced`, but their
/// connections stay.
#[derive(Clone, Debug)]
pub struct Shutdown {
    drain: Arc<Drain>,
}

impl Shutdown {
    /// A shutdown with the defaults of [`builder`](Self::builder).
    #[must_use]
    pub fn new() -> Self {
        ShutdownBuilder::default_shutdown()
    }

    /// A builder with settings to choose.
    pub fn builder() -> ShutdownBuilder {
        ShutdownBuilder::default()
    }

    /// Begins to end the streams. Only the first call has an effect. It may come from any thread.
    pub fn trigger(&self) {
        self.drain.begin();
    }

    /// Moves the deadline to now, and triggers the shutdown if that has not happened.
    ///
    /// Whatever the notice, the rate, the window and
    /// [`finish_within`](crate::ShutdownLayer::finish_within) are:
    ///
    /// - Each stream gets its farewell and ends at once. In the middle of an event that is too long
    ///   to hold, it ends without one and is counted as `cut`.
    /// - [Guarded](Self::guard) connections have a quarter of a second to send the last bytes to
    ///   clients that read them. Then they are given up.
    /// - [`drain`](Self::drain) returns when the last stream has ended, or after this quarter of a
    ///   second.
    ///
    /// Clients are still told to come back spread over the range of
    /// [`retry`](ShutdownBuilder::retry). Only the first call has an effect. It may come from any
    /// thread.
    pub fn force(&self) {
        self.drain.force();
    }

    /// Triggers when `signal` is ready.
    ///
    /// The future is ready when the shutdown has been triggered, by this or by anything else, and
    /// its [notice](ShutdownBuilder::notice) is over. So it fits `with_graceful_shutdown`.
    ///
    /// # Cancellation safety
    ///
    /// If it is dropped early, it triggers nothing.
    pub fn trigger_on<F>(&self, signal: F) -> impl Future<Output = ()> + Send + use<F>
    where
        F: Future + Send,
    {
        let drain = Arc::clone(&self.drain);
        async move {
            either(async { drop(signal.await) }, drain.begun()).await;
            drain.begin();
            drain.notice_over().await;
        }
    }

    /// Waits until the shutdown has been triggered and its [notice](ShutdownBuilder::notice) is
    /// over. This is when a server stops to accept connections.
    ///
    /// # Cancellation safety
    ///
    /// It can be dropped and called again at any time.
    ///
    /// # Panics
    ///
    /// With a notice, outside of a Tokio runtime with its timer enabled.
    pub async fn triggered(&self) {
        self.drain.notice_over().await;
    }

    /// Whether the shutdown has been triggered, also during its [notice](ShutdownBuilder::notice).
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.started().is_some()
    }

    /// Triggers, and waits until all streams have ended or the deadline has passed, and in any case
    /// until the [notice](ShutdownBuilder::notice) is over.
    ///
    /// It may be called any number of times, also at the same time.
    ///
    /// A stream counts as ended when its body has handed over the last bytes. The server may not
    /// have sent them yet, so wait for the server, too, before the process exits.
    ///
    /// # Cancellation safety
    ///
    /// If the future is dropped early, the streams still end.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with its timer enabled, if streams are open or there is a notice.
    pub async fn drain(&self) -> DrainReport {
        self.trigger();
        self.drain.notice_over().await;
        self.drain.over().await;
        self.drain.report()
    }

    /// Guards a connection, so that it ends when its client takes nothing, and at the deadline.
    ///
    /// For servers that accept connections themselves, with hyper or tonic: serve the guarded
    /// connection instead of `io`. For axum there is [`listen`](Self::listen). With TLS, guard the
    /// socket and run the handshake over the guarded connection. A guard above TLS does not see a
    /// client that never finishes its handshake.
    ///
    /// - When a write, a flush or a shutdown of the connection makes no progress for the
    ///   [stall limit](ShutdownBuilder::stall_limit), it fails.
    /// - When the [deadline](ShutdownBuilder::deadline) of the drain has passed, everything fails
    ///   at once, including reads.
    ///
    /// Both are errors of the kind [`TimedOut`](std::io::ErrorKind::TimedOut) with a
    /// [`GuardError`](crate::GuardError) inside. See [`Guarded`] for what a guard costs and what it
    /// cannot see. With the feature `tonic` a guarded connection implements tonic's `Connected`, if
    /// the connection inside does.
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
    /// tokio::spawn(shutdown.on_signals());
    /// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    /// let (server, graceful) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    /// loop {
    ///     let stream = tokio::select! {
    ///         accepted = listener.accept() => accepted?.0,
    ///         () = shutdown.triggered() => break,
    ///     };
    ///     // With TLS: accept it on the guarded stream, in a task of its own.
    ///     let io = TokioIo::new(shutdown.guard(stream));
    ///     let connection = server.serve_connection(io, service.clone()).into_owned();
    ///     tokio::spawn(graceful.watch(connection));
    /// }
    /// // It is over by the deadline, and a second signal makes that now.
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

    /// A service for the probes of load balancers. It answers 200 `ready`, and 503 `draining` after
    /// the trigger.
    ///
    /// With a [notice](ShutdownBuilder::notice) load balancers learn of it before streams end.
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
