//! Listeners for axum whose connections are guarded, and their TCP options.

use std::any::Any;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::{Listener, TapIo};
use tokio::net::TcpStream;

use super::Guarded;
use crate::state::Drain;

/// A listener for axum whose connections are [guarded](crate::Shutdown::guard).
///
/// [`Shutdown::listen`](crate::Shutdown::listen) makes it.
#[derive(Debug)]
pub struct GuardedListener<L> {
    listener: L,
    options: TcpOptions,
    drain: Arc<Drain>,
}

/// A [`GuardedListener`] in a form whose client addresses axum knows: what
/// [`Shutdown::listen`](crate::Shutdown::listen) returns. The tap does nothing.
///
/// It is an alias because axum has addresses for its own types only. It is the name to use in
/// `impl Connected<IncomingStream<'_, Listening<TcpListener>>> for Peer`.
pub type Listening<L> = TapIo<GuardedListener<L>, fn(&mut Guarded<<L as Listener>::Io>)>;

impl<L> GuardedListener<L> {
    pub(crate) fn new(listener: L, options: TcpOptions, drain: Arc<Drain>) -> Self {
        Self { listener, options, drain }
    }

    /// The listener inside.
    pub fn get_ref(&self) -> &L {
        &self.listener
    }
}

impl<L: Listener> Listener for GuardedListener<L> {
    type Io = Guarded<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        // A listener may be of any type, so the type of its connections is found out here.
        if let Some(stream) = (&io as &dyn Any).downcast_ref::<TcpStream>() {
            // The first read finds out about a client that has gone already.
            let _ = self.options.apply(stream);
        }
        (Guarded::new(io, Arc::clone(&self.drain)), address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Options of a TCP connection, with which the server learns soon what its client takes.
///
/// [`Shutdown::tcp_options`](crate::Shutdown::tcp_options) makes them. They exist on Linux and
/// Android; on other systems nothing is set.
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

    /// Sets `TCP_USER_TIMEOUT`: for how long sent bytes may stay without an acknowledgement before
    /// the system gives the connection up. The default is the [stall
    /// limit](crate::ShutdownBuilder::stall_limit). Zero leaves it to the system.
    ///
    /// It ends connections whose client has vanished, and those of clients that read nothing while
    /// less is to be sent than the system buffers. The system counts whole milliseconds, up to 24.8
    /// days; other times are set to the nearest that it takes.
    pub const fn user_timeout(mut self, timeout: Duration) -> Self {
        self.user_timeout = timeout;
        self
    }

    /// Sets `TCP_NOTSENT_LOWAT`: how many bytes the system takes that it cannot send yet. The
    /// default is 16 KiB. Zero leaves it to the system, which takes all that its buffers hold.
    ///
    /// With a small value the server learns sooner that a client does not read, less is sent before
    /// a farewell, and a slow client is seen to take something more often. 16 KiB are enough to
    /// keep a connection busy.
    pub const fn notsent_lowat(mut self, bytes: u32) -> Self {
        self.notsent_lowat = bytes;
        self
    }

    /// Sets the options of a connection, for listeners that hide their connections from
    /// [`Shutdown::listen`](crate::Shutdown::listen), for example behind TLS.
    ///
    /// # Errors
    ///
    /// The first error of the system, mostly because the connection has ended. An option that fails
    /// does not keep the other one from being set.
    pub fn apply(&self, stream: &TcpStream) -> io::Result<()> {
        #[cfg(any(target_os = "android", target_os = "linux"))]
        {
            let socket = socket2::SockRef::from(stream);
            let user_timeout = if self.user_timeout.is_zero() {
                Ok(())
            } else {
                let timeout = self.user_timeout.clamp(MIN_USER_TIMEOUT, MAX_USER_TIMEOUT);
                socket.set_tcp_user_timeout(Some(timeout))
            };
            let notsent_lowat = match self.notsent_lowat {
                0 => Ok(()),
                bytes => socket.set_tcp_notsent_lowat(bytes),
            };
            user_timeout.and(notsent_lowat)
        }
        #[cfg(not(any(target_os = "android", target_os = "linux")))]
        {
            let _ = stream;
            Ok(())
        }
    }
}

/// What keeps a connection busy all the time, with few bytes in front of a farewell.
const NOTSENT_LOWAT: u32 = 16 * 1024;

/// The system takes whole milliseconds in an `i32`. With zero it has a timeout of its own.
#[cfg(any(target_os = "android", target_os = "linux"))]
const MIN_USER_TIMEOUT: Duration = Duration::from_millis(1);
#[cfg(any(target_os = "android", target_os = "linux"))]
const MAX_USER_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);
