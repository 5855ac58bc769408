//! What is asked of the system for a TCP connection.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

/// What is asked of the system for a TCP connection, so that it is known soon what a client takes.
///
/// [`Shutdown::tcp_options`](crate::Shutdown::tcp_options) makes it. On systems other than Linux and
/// Android the options do not exist, and nothing is done.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct TcpOptions {
    user_timeout: Duration,
    notsent_lowat: u32,
}

impl TcpOptions {
    pub(crate) const fn new(stall_limit: Option<Duration>) -> Self {
        let user_timeout = match stall_limit {
            Some(limit) => limit,
            None => Duration::ZERO,
        };
        Self { user_timeout, notsent_lowat: NOTSENT_LOWAT }
    }

    /// Sets `TCP_USER_TIMEOUT`: for how long what was sent may stay without an answer before the
    /// system gives the connection up; by default the
    /// [stall limit](crate::ShutdownBuilder::stall_limit). Zero leaves it to the system.
    ///
    /// It ends connections whose client has vanished, and clients that read nothing while less is
    /// to be sent than the system buffers.
    pub const fn user_timeout(mut self, timeout: Duration) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// Sets `TCP_NOTSENT_LOWAT`: how many bytes that cannot be sent yet the system takes; by default
    /// 16 KiB. Zero leaves it to the system, which takes megabytes.
    ///
    /// With less of it, a server notices sooner that a client does not read, a farewell has less
    /// in front of it, and a slow client is seen to take something more often. 16 KiB are enough
    /// to keep a connection busy.
    pub const fn notsent_lowat(mut self, bytes: u32) -> Self {
        self.notsent_lowat = bytes;
        self
    }

    /// Asks the system for these on a connection, for listeners that hide theirs, behind TLS for
    /// example.
    ///
    /// # Errors
    ///
    /// What the system says, mostly of a connection that has ended.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        {
            let socket = socket2::SockRef::from(stream);
            if !self.user_timeout.is_zero() {
                socket.set_tcp_user_timeout(Some(self.user_timeout))?;
            }
            if self.notsent_lowat > 0 {
                socket.set_tcp_notsent_lowat(self.notsent_lowat)?;
            }
        }
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        let _ = stream;
        Ok(())
    }
}

/// What a connection needs to be busy all the time, and little for a client to be behind by.
const NOTSENT_LOWAT: u32 = 16 * 1024;
