//! A connection that ends.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::GuardError;
use super::side::Side;
use crate::state::{Drain, record_connection_failure};
use crate::sync::now;

pin_project! {
    /// A connection that ends when its client takes nothing, and at a drain's deadline.
    ///
    /// [`Shutdown::guard`](crate::Shutdown::guard) makes it. All else is that of the connection
    /// inside, vectored writes too. It may be used by one task, or split into a reader and a
    /// writer. Once it has failed it stays so.
    ///
    /// # What it costs
    ///
    /// A read or a write costs one load more. A connection that is idle has no timer: one is set
    /// while a write waits, and while a drain is under way.
    ///
    /// # What it cannot see
    ///
    /// - **A stalled stream among others, on HTTP/2.** If a client takes nothing of one stream and
    ///   reads the others, the connection makes progress. Only the deadline ends it, and a client
    ///   may let one stream use up what the connection grants to all of them: servers and clients
    ///   should have a larger window for connections than for streams.
    /// - **Who is still buffered for.** Nothing is late as long as the system takes what is written,
    ///   which can be megabytes for a client that reads nothing.
    ///   [`Shutdown::listen`](crate::Shutdown::listen) sets what is unsent to 16 KiB. Servers of
    ///   your own can do the same with the `socket2` crate.
    /// - **Who is slow to ask.** The stall limit is about writes. Clients that connect and say
    ///   nothing are ended by the deadline; before that it is for the server to limit how long a
    ///   request's head may take.
    ///
    /// # Panics
    ///
    /// It has to be polled in a Tokio runtime with its timer enabled.
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
    /// What the client keeps waiting, and since when.
    waiting: Option<(Op, Instant)>,
    failed: Option<GuardError>,
}

/// What can wait for a client that takes nothing.
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

    /// The connection inside. What is read or written by this way is not seen.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.io
    }

    /// The connection inside, which nothing ends any more.
    pub fn into_inner(self) -> T {
        self.io
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

    /// Takes what an operation of the write side came to.
    fn wrote<R>(
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
            Poll::Ready(Err(error)) => Poll::Ready(Err(seen(error))),
        }
    }

    /// Takes note that nothing is left to be written. A server may wait for something else than the
    /// connection now, without a read, and is to hear of the deadline all the same.
    fn flushed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.writes.register(cx);
        match self.drain.hard_deadline() {
            Some(deadline) if self.writes.sleep_until(deadline, cx).is_ready() => {
                Err(self.fail(GuardError::deadline(), cx))
            }
            None if self.waiting.is_none() => {
                self.writes.rest();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: GuardError, cx: &Context<'_>) -> io::Error {
        self.failed = Some(error);
        for side in [&mut self.reads, &mut self.writes] {
            side.rest();
            side.wake_other(cx);
        }
        record_connection_failure(now());
        error.into()
    }
}

/// Takes note of an error of the connection inside.
fn seen(error: io::Error) -> io::Error {
    // By `TCP_USER_TIMEOUT`: the system, too, gives up a client that takes nothing.
    if error.kind() == io::ErrorKind::TimedOut {
        record_connection_failure(now());
    }
    error
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
            Poll::Ready(done) => Poll::Ready(done.map_err(seen)),
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
        this.guard.wrote(Op::Write, polled, |&written| written > 0, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.guard.check(cx)?;
        let polled = this.io.poll_write_vectored(cx, bufs);
        this.guard.wrote(Op::Write, polled, |&written| written > 0, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.guard.check(cx)?;
        let polled = this.io.poll_flush(cx);
        this.guard.wrote(Op::Flush, polled, |()| true, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        this.guard.check(cx)?;
        let polled = this.io.poll_shutdown(cx);
        this.guard.wrote(Op::Shutdown, polled, |()| true, cx)
    }
}
