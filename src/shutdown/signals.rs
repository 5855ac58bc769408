//! Triggers by signals of the operating system.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Shutdown, either};
use crate::state::Drain;

impl Shutdown {
    /// Triggers at the first SIGTERM or ctrl-c, and [forces](Self::force) at the second.
    ///
    /// The future is ready when the shutdown has been triggered, by a signal or by anything else,
    /// and its [notice](crate::ShutdownBuilder::notice) is over. So it fits
    /// `with_graceful_shutdown`. A task of its own then waits for further signals. If something
    /// else triggered the shutdown, it still takes two signals to force it: an orchestrator may
    /// send one after it asked for the shutdown in another way.
    ///
    /// Signals within 50 ms after the first count as one with it, because commands such as
    /// `timeout` send each signal twice. Where a signal cannot be listened to, it keeps its
    /// default, which is to end the process at once.
    ///
    /// # Cancellation safety
    ///
    /// If it is dropped before it is ready, it triggers nothing from then on. The signals stay
    /// without their default effect, as [`tokio::signal`] documents.
    ///
    /// # Panics
    ///
    /// Called outside of a Tokio runtime with I/O enabled, or polled outside of one with its timer
    /// enabled.
    #[cfg_attr(docsrs, doc(cfg(feature = "signal")))]
    pub fn on_signals(&self) -> impl Future<Output = ()> + Send + use<> {
        // Listened to from now on, and not from the first poll: a signal may come before that.
        let mut first = Box::pin(signalled());
        let drain = Arc::clone(&self.drain);
        async move {
            let mut has_come = false;
            let signal = async {
                first.as_mut().await;
                has_come = true;
            };
            either(signal, drain.begun()).await;
            drain.begin();
            tokio::spawn(force_at_second(Arc::clone(&drain), async move {
                if !has_come {
                    first.await;
                }
            }));
            drain.notice_over().await;
        }
    }
}

async fn force_at_second(drain: Arc<Drain>, first: impl Future<Output = ()>) {
    first.await;
    sleep(ONE_SIGNAL).await;
    signalled().await;
    drain.force();
}

/// Waits for SIGTERM or ctrl-c, listening from the call on.
fn signalled() -> impl Future<Output = ()> + Send {
    let (interrupt, terminate) = (listen::interrupt(), listen::terminate());
    either(interrupt, terminate)
}

/// How long signals may follow one another and count as one.
const ONE_SIGNAL: Duration = Duration::from_millis(50);

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
