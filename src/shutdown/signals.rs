//! Triggers by signals of the operating system.

use super::{Shutdown, either};

impl Shutdown {
    /// Triggers on SIGTERM and ctrl-c.
    ///
    /// The future is ready when the shutdown was triggered, by a signal or by anything else, and
    /// so fits `with_graceful_shutdown`. Where a signal cannot be listened to, it keeps its
    /// default, which is to end the process at once.
    ///
    /// # Cancellation safety
    ///
    /// Dropped early, it triggers nothing; the signals stay without their default effect, as
    /// [`tokio::signal`] documents.
    ///
    /// # Panics
    ///
    /// If it is polled outside of a Tokio runtime with I/O enabled.
    #[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
    pub fn on_signals(&self) -> impl Future<Output = ()> + Send + use<> {
        self.trigger_on(either(ctrl_c(), terminate()))
    }
}

async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(unix)]
async fn terminate() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminate() {
    std::future::pending().await
}
