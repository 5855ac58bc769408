//! Bodies that follow a script, and readers that note when each frame came.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// What a [`Script`] does next.
#[derive(Debug)]
pub enum Step {
    Data(&'static str),
    Wait(Duration),
    Trailers(HeaderMap),
    Fail(&'static str),
    Panic,
    /// The same chunk for ever, always at once.
    Flood(&'static str),
    /// Nothing for ever.
    Hang,
}

/// The error of a [`Script`], by which tests see that it is passed on as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

/// A body that does one step after the other, and panics when it is polled behind its end.
#[derive(Debug)]
pub struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    ended: bool,
    exact: Option<u64>,
    dropped: Arc<AtomicBool>,
}

impl Script {
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            sleep: None,
            ended: false,
            exact: None,
            dropped: Arc::default(),
        }
    }

    /// Says that the body has exactly so many bytes.
    pub fn exact(mut self, len: u64) -> Self {
        self.exact = Some(len);
        self
    }

    /// Becomes true when the body is dropped.
    pub fn drop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.dropped)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.dropped.store(true, Ordering::SeqCst);
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        assert!(!self.ended, "polled behind its end");
        loop {
            if let Some(sleep) = &mut self.sleep {
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.sleep = None;
            }
            let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
            return Poll::Ready(match self.steps.pop_front() {
                Some(Step::Data(text)) => Some(Ok(data(text))),
                Some(Step::Wait(time)) => {
                    self.sleep = Some(Box::pin(sleep(time)));
                    continue;
                }
                Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Step::Fail(why)) => {
                    self.ended = true;
                    Some(Err(Broken(why)))
                }
                Some(Step::Panic) => panic!("as scripted"),
                Some(Step::Flood(text)) => {
                    self.steps.push_front(Step::Flood(text));
                    Some(Ok(data(text)))
                }
                Some(Step::Hang) => {
                    self.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                None => {
                    self.ended = true;
                    None
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exact == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.exact.map(SizeHint::with_exact).unwrap_or_default()
    }
}

/// All that a body gave until its end or the time was over.
#[derive(Debug)]
pub struct Read<E> {
    /// Chunks, and how many milliseconds after the first poll they came.
    pub chunks: Vec<(u128, String)>,
    pub trailers: Option<HeaderMap>,
    pub error: Option<E>,
    /// The body said that it was over.
    pub ended: bool,
}

impl<E> Read<E> {
    /// The chunks as one text.
    pub fn text(&self) -> String {
        self.chunks.iter().map(|(_, text)| text.as_str()).collect()
    }
}

/// Reads a body until its end, or for so long.
pub async fn read<B>(body: &mut B, limit: Duration) -> Read<B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let began = Instant::now();
    let mut read = Read { chunks: Vec::new(), trailers: None, error: None, ended: false };
    loop {
        let next = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let Ok(next) = tokio::time::timeout_at(began + limit, next).await else {
            return read;
        };
        match next.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => {
                let text = String::from_utf8(data.to_vec()).unwrap();
                read.chunks.push((began.elapsed().as_millis(), text));
            }
            Some(Ok(Err(frame))) => read.trailers = frame.into_trailers().ok(),
            Some(Err(error)) => read.error = Some(error),
            None => {
                read.ended = true;
                return read;
            }
        }
    }
}
