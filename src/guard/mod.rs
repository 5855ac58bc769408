//! Connections that end although their clients do not read.
//!
//! A server polls a body for more only while the client takes what was sent. So a connection whose
//! client has stopped reading is ended here, below the server, and its streams end with it.
//! Connections learn of a drain as streams do: they are on a list whose entries are woken when the
//! drain begins or is forced, and then each keeps its own time.

mod error;
#[cfg(feature = "axum")]
mod listener;
mod side;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub use error::GuardError;
#[cfg(feature = "axum")]
pub use listener::{GuardedListener, Listening, TcpOptions};
use side::Side;

use crate::state::Drain;
use crate::sync::now;

pin_project! {
    /// A connection that fails when its client takes nothing, and at the deadline of a drain.
    ///
    /// [`Shutdown::guard`](crate::Shutdown::guard) makes it. Everything else is passed on to the
    /// connection inside, including vectored writes. It may be used by one task, or split into a
    /// reader and a writer. After it has failed once, all its operations fail.
    ///
    /// # Where it stands
    ///
    /// Directly around the socket, **below TLS**: the TLS handshake runs over the guarded
    /// connection. Above TLS the guard exists only after the handshake, so a client that never
    /// finishes its handshake is not seen.
    ///
    /// # What it costs
    ///
    /// One load for each read and write. An idle connection has no timer: there is one while a
    /// write waits, and during a drain.
    ///
    /// # What it cannot see
    ///
    /// - **A stalled stream among others on HTTP/2.** If a client takes nothing of one stream and
    ///   reads the others, the connection makes progress, and only the deadline ends it. Such a
    ///   stream may use up the window that the connection has for all streams. So give connections
    ///   a larger window than streams, at the server and at the client.
    /// - **A client for which the system still buffers.** A write is not late as long as the system
    ///   takes it, which can be megabytes for a client that reads nothing.
    ///   [`Shutdown::listen`](crate::Shutdown::listen) limits what is unsent to 16 KiB. Other
    ///   servers can set `TCP_NOTSENT_LOWAT` with the `socket2` crate.
    /// - **A client that is slow to ask.** The stall limit is about writes. A client that connects
    ///   and sends nothing is ended at the deadline of a drain. Before that, the server has to
    ///   limit the time for a request's head.
    ///
    /// # Panics
    ///
    /// Polled outside of a Tokio runtime with its timer enabled.
    #[derive(Debug)]
    pub struct Guarded<T> {
        #[pin]
        io: T,
        guard: Guard,
    }
}

#[derive(Debug)]
struct Guard {
    drain: Arc<Drain>,
    reads: Side,
    writes: Side,
    /// The operation that waits for the client, and since when.
    waiting: Option<(Op, Instant)>,
    failed: Option<GuardError>,
}

/// An operation that can wait for a client that takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Write,
    Flush,
    Shutdown,
}

impl<T> Guarded<T> {
    pub(crate) fn new(io: T, drain: Arc<Drain>) -> Self {
        let (reads, writes) = (Side::new(&drain), Side::new(&drain));
        Self { io, guard: Guard { drain, reads, writes, waiting: None, failed: None } }
    }

    /// The connection inside.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// The connection inside. The guard does not see what is read or written this way.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.io
    }

    /// The connection inside, without a guard.
    pub fn into_inner(self) -> T {
        self.io
    }
}

/// Guarded connections can be served by tonic: with `serve_with_incoming`, from a stream of them.
///
/// # Examples
///
/// ```no_run
/// use tokio::net::TcpListener;
/// use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
/// use tonic::transport::server::Connected;
/// use tower_sse::Shutdown;
///
/// # async fn serve_with_incoming(_: impl Stream<Item = std::io::Result<impl Connected>>) {}
/// # async fn example(listener: TcpListener) {
/// let shutdown = Shutdown::new();
/// let guard = shutdown.clone();
/// let incoming = TcpListenerStream::new(listener).map(move |io| Ok(guard.guard(io?)));
/// // Of a `tonic::transport::Server` with services, and ended by `shutdown.on_signals()`.
/// serve_with_incoming(incoming).await;
/// # }
/// ```
#[cfg(feature = "tonic")]
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
impl<T> tonic::transport::server::Connected for Guarded<T>
where
    T: tonic::transport::server::Connected,
{
    type ConnectInfo = T::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl Guard {
    /// Fails if the connection has failed already, or the deadline has passed.
    #[inline]
    fn check(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if self.failed.is_none() && self.drain.started().is_none() {
            return Ok(());
        }
        self.check_closely(cx)
    }

    #[cold]
    fn check_closely(&mut self, cx: &Context<'_>) -> io::Result<()> {
        match self.failed {
            Some(error) => Err(error.into()),
            None if self.drain.is_past_deadline(now()) => {
                Err(self.fail(GuardError::deadline(), cx))
            }
            None => Ok(()),
        }
    }

    /// Waits for the deadline, while there is nothing to read.
    fn wait_to_read<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.reads.register(cx);
        if let Some(deadline) = self.drain.hard_deadline() {
            ready!(self.reads.sleep_until(deadline, cx));
            return Poll::Ready(Err(self.fail(GuardError::deadline(), cx)));
        }
        Poll::Pending
    }

    /// Waits for the stall limit or the deadline, while the client takes nothing.
    fn wait_to_write<R>(&mut self, op: Op, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.writes.register(cx);
        let (_, since) = *self.waiting.get_or_insert_with(|| (op, now()));
        let limit = self.drain.settings.stall_limit;
        let stalled = limit.map(|limit| (since + limit, GuardError::stalled(limit)));
        let deadline = self.drain.hard_deadline().map(|at| (at, GuardError::deadline()));
        let both = [stalled, deadline].into_iter().flatten();
        let Some((until, error)) = both.min_by_key(|(until, _)| *until) else {
            return Poll::Pending;
        };
        ready!(self.writes.sleep_until(until, cx));
        Poll::Ready(Err(self.fail(error, cx)))
    }

    /// Handles the result of an operation of the write side.
    fn finish_write<R>(
        &mut self,
        op: Op,
        polled: Poll<io::Result<R>>,
        is_progress: impl FnOnce(&R) -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        match polled {
            Poll::Pending => self.wait_to_write(op, cx),
            Poll::Ready(Ok(done)) => {
                if self.waiting.is_some() && is_progress(&done) {
                    // A flush that has nothing to do says nothing about a write that waits.
                    self.waiting.take_if(|(waiting, _)| op != Op::Flush || *waiting == op);
                }
                if op == Op::Flush {
                    self.flushed(cx)?;
                }
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.pass_on(error))),
        }
    }

    /// Waits for the deadline when nothing is left to be written. A server may then wait for
    /// something else than the connection, without a read, and has to learn of the deadline all the
    /// same.
    fn flushed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.writes.register(cx);
        match self.drain.hard_deadline() {
            Some(deadline) if self.writes.sleep_until(deadline, cx).is_ready() => {
                Err(self.fail(GuardError::deadline(), cx))
            }
            None if self.waiting.is_none() => {
                self.writes.clear_sleep();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: GuardError, cx: &Context<'_>) -> io::Error {
        self.failed = Some(error);
        for side in [&mut self.reads, &mut self.writes] {
            side.clear_sleep();
            side.wake_other(cx);
        }
        self.drain.record_connection_failure(now());
        error.into()
    }

    /// Passes an error of the connection inside on, and records it if the client took nothing.
    ///
    /// Only the system says so, after `TCP_USER_TIMEOUT`. An error of the same kind that somebody
    /// else made may mean anything.
    fn pass_on(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_some() {
            self.drain.record_connection_failure(now());
        }
        error
    }
}

impl<T: AsyncRead> AsyncRead for Guarded<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        this.guard.check(cx)?;
        match this.io.poll_read(cx, buf) {
            Poll::Pending => this.guard.wait_to_read(cx),
            Poll::Ready(done) => Poll::Ready(done.map_err(|error| this.guard.pass_on(error))),
        }
    }
}

impl<T: AsyncWrite> AsyncWrite for Guarded<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.guard.check(cx)?;
        let polled = this.io.poll_write(cx, buf);
        this.guard.finish_write(Op::Write, polled, |&written| written > 0, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.guard.check(cx)?;
        let polled = this.io.poll_write_vectored(cx, bufs);
        this.guard.finish_write(Op::Write, polled, |&written| written > 0, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.guard.check(cx)?;
        let polled = this.io.poll_flush(cx);
        this.guard.finish_write(Op::Flush, polled, |()| true, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.guard.check(cx)?;
        let polled = this.io.poll_shutdown(cx);
        this.guard.finish_write(Op::Shutdown, polled, |()| true, cx)
    }
}

#[cfg(all(test, feature = "tonic"))]
mod tests {
    use tokio::net::{TcpListener, TcpStream};
    use tonic::transport::server::Connected;

    use super::*;
    use crate::Shutdown;

    /// What tonic asks of connections.
    fn peer_of<T>(io: &T) -> T::ConnectInfo
    where
        T: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    {
        io.connect_info()
    }

    #[tokio::test]
    async fn tonic_learns_the_address_of_the_client_of_a_guarded_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let guarded = Shutdown::new().guard(listener.accept().await.unwrap().0);
        assert_eq!(peer_of(&guarded).remote_addr(), client.local_addr().ok());
    }
}
