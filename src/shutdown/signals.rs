//! Triggers by signals of the operating system.

use super::{Shutdown, either};

impl Shutdown {
    /// Triggers on SIGTERM and ctrl-c.
    ///
    /// The future is ready when the shutdown was triggered, by a signal or by anything else, and
    /// its [notice](crate::ShutdownBuilder::notice) is over; and so it fits
    /// `with_graceful_shutdown`. Where a signal cannot be listened to, it keeps its
    /// default, which is to end the process at once.
    ///
    /// # Cancellation safety
    ///
    /// Dropped early, it triggers nothing; the signals stay without their default effect, as
    /// [`tokio::signal`] documents.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with I/O enabled.
    #[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
    pub fn on_signals(&self) -> impl Future<Output = ()> + Send + use<> {
        // Listened to from now on, not from the first poll: a signal may come before that.
        let (interrupt, terminate) = (listen::interrupt(), listen::terminate());
        self.trigger_on(either(interrupt, terminate))
    }
}

#[cfg(unix)]
mod listen {
    use tokio::signal::unix::{SignalKind, signal};

    pub(super) fn interrupt() -> impl Future<Output = ()> + Send {
        received(SignalKind::interrupt())
    }

    pub(super) fn terminate() -> impl Future<Output = ()> + Send {
        received(SignalKind::terminate())
    }

    fn received(kind: SignalKind) -> impl Future<Output = ()> + Send {
        let signal = signal(kind);
        async move {
            match signal {
                Ok(mut signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        }
    }
}

#[cfg(not(unix))]
mod listen {
    pub(super) async fn interrupt() {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }

    pub(super) async fn terminate() {
        std::future::pending().await
    }
}
