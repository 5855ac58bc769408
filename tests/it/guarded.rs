//! A guarded connection fails when nothing is taken for the stall limit, and at the deadline.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, DuplexStream, ReadBuf, duplex,
    split,
};
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;
use tower_sse::{EndReason, GuardError, Guarded, Registry, RegistryLayer, Shutdown};

use crate::harness::SECOND;
use crate::harness::rig::{Handler, open};
use crate::harness::wakes::Wakes;

/// A shutdown with a stall limit of 30 s and a deadline of 10.
fn shutdown() -> Shutdown {
    let shutdown = Shutdown::builder().window(SECOND).deadline(10 * SECOND);
    shutdown.stall_limit(30 * SECOND).build().unwrap()
}

/// A guarded connection that holds so many bytes for its client, and the client.
fn connect(shutdown: &Shutdown, room: usize) -> (Guarded<DuplexStream>, DuplexStream) {
    let (server, client) = duplex(room);
    (shutdown.guard(server), client)
}

fn cause(error: &io::Error) -> GuardError {
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    *error.get_ref().unwrap().downcast_ref().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_write_that_makes_no_progress_fails_at_the_limit() {
    let (mut server, _client) = connect(&shutdown(), 16);
    let began = Instant::now();
    let error = server.write_all(&[0; 17]).await.unwrap_err();
    assert_eq!(began.elapsed(), 30 * SECOND);
    assert!(cause(&error).is_stalled() && !cause(&error).is_deadline());
    assert_eq!(error.to_string(), "the client took nothing for 30s");
    // And so does all that follows, at once.
    assert!(cause(&server.read_u8().await.unwrap_err()).is_stalled());
    assert!(cause(&server.flush().await.unwrap_err()).is_stalled());
    assert!(cause(&server.shutdown().await.unwrap_err()).is_stalled());
    assert_eq!(began.elapsed(), 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_byte_now_and_then_is_not_stalled() {
    let (mut server, mut client) = connect(&shutdown(), 16);
    let writes = tokio::spawn(async move { server.write_all(&[0; 26]).await });
    let began = Instant::now();
    for _ in 0..10 {
        sleep(29 * SECOND).await;
        client.read_u8().await.unwrap();
    }
    writes.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), 290 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_limit_counts_from_the_last_progress() {
    let (mut server, mut client) = connect(&shutdown(), 16);
    let began = Instant::now();
    let writes = tokio::spawn(async move { server.write_all(&[0; 32]).await });
    sleep(20 * SECOND).await;
    client.read_u8().await.unwrap();
    assert!(cause(&writes.await.unwrap().unwrap_err()).is_stalled());
    assert_eq!(began.elapsed(), 50 * SECOND);
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_flush_and_a_shutdown_can_stall_too() {
    for shuts_down in [false, true] {
        let began = Instant::now();
        let mut server = BufWriter::new(shutdown().guard(Stuck));
        let done = match shuts_down {
            false => server.flush().await,
            true => server.get_mut().shutdown().await,
        };
        assert!(cause(&done.unwrap_err()).is_stalled());
        assert_eq!(began.elapsed(), 30 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_with_nothing_to_do_does_not_hide_a_write_that_waits() {
    let (mut server, _client) = connect(&shutdown(), 16);
    let began = Instant::now();
    server.write_all(&[0; 16]).await.unwrap();
    let error = poll_fn(|cx| {
        let written = Pin::new(&mut server).poll_write(cx, b"x");
        if written.is_pending() {
            // With nothing of its own to flush it is ready at once, whatever waits.
            assert!(Pin::new(&mut server).poll_flush(cx).is_ready());
        }
        written
    });
    assert!(cause(&error.await.unwrap_err()).is_stalled());
    assert_eq!(began.elapsed(), 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_stall_limit_of_zero_is_no_limit() {
    let shutdown = Shutdown::builder().stall_limit(Duration::ZERO).build().unwrap();
    let (mut server, _client) = connect(&shutdown, 16);
    assert!(timeout(1_000_000 * SECOND, server.write_all(&[0; 17])).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_reads_and_writes_fail_in_one_task_or_two() {
    for in_two in [false, true] {
        let shutdown = shutdown();
        let (server, client) = connect(&shutdown, 16);
        let (mut read, mut write) = split(server);
        let reads = async move { read.read_u8().await.unwrap_err() };
        let writes = async move { write.write_all(&[0; 17]).await.unwrap_err() };
        let both = if in_two {
            let (reads, writes) = (tokio::spawn(reads), tokio::spawn(writes));
            tokio::spawn(async { (reads.await.unwrap(), writes.await.unwrap()) })
        } else {
            tokio::spawn(async { tokio::join!(reads, writes) })
        };
        sleep(SECOND).await;
        let began = Instant::now();
        shutdown.trigger();
        let (read, write) = both.await.unwrap();
        assert!(cause(&read).is_deadline() && cause(&write).is_deadline());
        assert_eq!(began.elapsed(), 10 * SECOND);
        assert_eq!(read.to_string(), "the deadline of the shutdown has passed");
        drop(client);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_hears_that_the_writer_has_failed() {
    let (server, _client) = connect(&shutdown(), 16);
    let (mut read, mut write) = split(server);
    let reads = tokio::spawn(async move { read.read_u8().await.unwrap_err() });
    let began = Instant::now();
    assert!(cause(&write.write_all(&[0; 17]).await.unwrap_err()).is_stalled());
    assert!(cause(&reads.await.unwrap()).is_stalled());
    assert_eq!(began.elapsed(), 30 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn up_to_the_deadline_all_goes_on_and_then_nothing() {
    let shutdown = shutdown();
    let (mut server, mut client) = connect(&shutdown, 16);
    shutdown.trigger();
    for _ in 0..9 {
        sleep(SECOND).await;
        client.write_u8(1).await.unwrap();
        server.write_u8(server.get_ref().is_write_vectored().into()).await.unwrap();
        server.read_u8().await.unwrap();
    }
    sleep(SECOND).await;
    // Even though there is something to read, and room to write.
    client.write_u8(1).await.unwrap();
    assert!(cause(&server.read_u8().await.unwrap_err()).is_deadline());
    assert!(cause(&server.write_u8(1).await.unwrap_err()).is_deadline());
    assert!(cause(&server.flush().await.unwrap_err()).is_deadline());
    // One that comes later fares no better.
    let (mut server, _client) = connect(&shutdown, 16);
    assert!(cause(&server.read_u8().await.unwrap_err()).is_deadline());
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_something_else_after_a_flush_is_woken_at_the_deadline() {
    let shutdown = shutdown();
    let (mut server, _client) = connect(&shutdown, 16);
    shutdown.trigger();
    let began = Instant::now();
    // As a server does that has a request to read already, and waits for its handler.
    let error = poll_fn(|cx| match Pin::new(&mut server).poll_flush(cx) {
        Poll::Ready(Ok(())) => Poll::Pending,
        done => done,
    });
    assert!(cause(&error.await.unwrap_err()).is_deadline());
    assert_eq!(began.elapsed(), 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_woken_by_nothing_but_the_trigger() {
    let shutdown = shutdown();
    let (mut server, mut client) = connect(&shutdown, 16);
    let wakes = Arc::new(Wakes::default());
    let count = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&count);
    // It has to wait once, so there is a timer.
    assert!(Pin::new(&mut server).poll_write(&mut cx, &[0; 16]).is_ready());
    assert!(Pin::new(&mut server).poll_write(&mut cx, &[0; 4]).is_pending());
    client.read_exact(&mut [0; 16]).await.unwrap();
    assert!(Pin::new(&mut server).poll_write(&mut cx, &[0; 4]).is_ready());
    assert!(Pin::new(&mut server).poll_flush(&mut cx).is_ready());
    for _ in 0..3 {
        let (read, mut byte) = (Pin::new(&mut server), [0]);
        assert!(read.poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_pending());
    }
    let before = wakes.count();
    sleep(3600 * SECOND).await;
    assert_eq!(wakes.count(), before);
    shutdown.trigger();
    assert!(wakes.count() > before);
}

#[tokio::test(start_paused = true)]
async fn vectored_writes_are_passed_on() {
    let shutdown = shutdown();
    let (mut server, mut client) = connect(&shutdown, 16);
    assert!(server.is_write_vectored());
    let parts = [IoSlice::new(b"one "), IoSlice::new(b"two")];
    assert_eq!(server.write_vectored(&parts).await.unwrap(), 7);
    let mut seen = [0; 7];
    client.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"one two");
    let (mut server, _client) = connect(&shutdown, 1);
    server.write_all(b"x").await.unwrap();
    assert!(cause(&server.write_vectored(&parts).await.unwrap_err()).is_stalled());
}

/// Takes what is written, and never gets it out.
struct Stuck;

impl AsyncRead for Stuck {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

/// A connection whose reads fail with an error of the kind `TimedOut`.
#[derive(Debug)]
struct TimesOut(fn() -> io::Error);

impl AsyncRead for TimesOut {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err((self.0)()))
    }
}

impl AsyncWrite for TimesOut {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err((self.0)()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What `TCP_USER_TIMEOUT` makes of a connection whose client takes nothing.
#[cfg(target_os = "linux")]
fn system() -> io::Error {
    io::Error::from_raw_os_error(110)
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn of_errors_of_the_connection_inside_only_the_systems_is_a_stall() {
    let own = || io::Error::new(ErrorKind::TimedOut, "a read timeout of the application's own");
    let bare = || ErrorKind::TimedOut.into();
    let table: [(fn() -> io::Error, EndReason); 3] =
        [(own, EndReason::ClientGone), (bare, EndReason::ClientGone), (system, EndReason::Stalled)];
    for (error, reason) in table {
        for writes in [false, true] {
            let ended = Arc::<Mutex<Option<EndReason>>>::default();
            let told = Arc::clone(&ended);
            let registry = Registry::builder();
            let registry = registry.on_close(move |_, reason| *told.lock().unwrap() = Some(reason));
            let layer = RegistryLayer::new(registry.build().unwrap());
            // The task of the connection also has the stream, as with HTTP/1.
            let task = tokio::spawn(async move {
                let stream = open(&mut layer.layer(Handler));
                let mut connection = shutdown().guard(TimesOut(error));
                let failed = match writes {
                    true => connection.write_all(b"x").await.unwrap_err(),
                    false => connection.read_u8().await.unwrap_err(),
                };
                assert_eq!(failed.kind(), ErrorKind::TimedOut);
                drop(stream);
            });
            task.await.unwrap();
            assert_eq!(*ended.lock().unwrap(), Some(reason), "{:?}", error());
        }
    }
}
