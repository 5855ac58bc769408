//! Connections of clients that read slowly, or not at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How a client reads from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All that comes.
    Full,
    /// So many bytes, then a pause.
    Slow(u16, Duration),
    /// Nothing any more, with the window full.
    Stop,
}

/// A client's connection that reads at a pace of its own once [`Brake`] is drawn.
#[derive(Debug)]
pub struct Braked {
    stream: TcpStream,
    pace: Pace,
    drawn: Arc<AtomicU8>,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Draws the brake of a connection.
#[derive(Clone, Debug)]
pub struct Brake(Arc<AtomicU8>);

impl Brake {
    pub fn draw(&self) {
        self.0.store(1, Ordering::Relaxed);
    }
}

impl Braked {
    pub fn new(stream: TcpStream, pace: Pace) -> (Self, Brake) {
        let drawn = Arc::new(AtomicU8::new(0));
        let brake = Brake(Arc::clone(&drawn));
        (Self { stream, pace, drawn, pause: None }, brake)
    }
}

impl AsyncRead for Braked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pace = if self.drawn.load(Ordering::Relaxed) == 0 { Pace::Full } else { self.pace };
        match pace {
            Pace::Full => Pin::new(&mut self.stream).poll_read(cx, buf),
            Pace::Stop => Poll::Pending,
            Pace::Slow(bytes, pause) => {
                let resting = self.pause.get_or_insert_with(|| Box::pin(sleep(pause)));
                if resting.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let mut few = vec![0; usize::from(bytes).min(buf.remaining())];
                let mut few = ReadBuf::new(&mut few);
                let polled = Pin::new(&mut self.stream).poll_read(cx, &mut few);
                buf.put_slice(few.filled());
                if polled.is_ready() {
                    self.pause = None;
                }
                polled
            }
        }
    }
}

impl AsyncWrite for Braked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
