//! Ends all streams of a server, spread over a window, within a deadline.

mod builder;
#[cfg(feature = "signal")]
mod signals;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, timeout_at};

pub use builder::ShutdownBuilder;

use crate::live::{Drain, DrainReport};

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
/// ```no_run
/// use axum::{Router, routing::get};
/// use tower_sse::{Shutdown, SseLayer};
///
/// # #[tokio::main] async fn main() -> std::io::Result<()> {
/// let shutdown = Shutdown::new();
/// let app = Router::new()
///     .route("/events", get(events))
///     .layer(SseLayer::new().shutdown(shutdown.clone()));
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, app).with_graceful_shutdown(shutdown.on_signals()).await
/// # }
/// # async fn events() {}
/// ```
///
/// # What it cannot do
///
/// A body that is not polled cannot end, and hyper does not poll one whose client has stopped
/// reading. Such a stream is counted as `forced` when the deadline has passed, but its connection
/// stays open, and a server that waits for its connections waits for it.
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
    /// The future is ready when the shutdown was triggered, by this or by anything else, and so
    /// fits `with_graceful_shutdown`.
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
        }
    }

    /// Waits until the shutdown was triggered.
    ///
    /// # Cancellation safety
    ///
    /// It can be dropped and called again at any time.
    pub async fn triggered(&self) {
        self.drain.begun().await;
    }

    /// Whether the shutdown was triggered.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.started().is_some()
    }

    /// Triggers, and waits until all streams have ended or the deadline has passed.
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
    /// Outside of a Tokio runtime with its timer enabled, if streams are open.
    pub async fn drain(&self) -> DrainReport {
        self.trigger();
        let drain = &*self.drain;
        if let Some(deadline) = drain.deadline() {
            // Whether it was in time shows in what is left.
            let _ = timeout_at(Instant::from_std(deadline), drain.emptied()).await;
        }
        drain.report()
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
