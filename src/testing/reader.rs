//! A client that reads a stream.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::task::unconstrained;

use crate::wire::{Decoder, Framing, MessageEvent, Scanner};

/// Reads a stream as a browser does.
///
/// It keeps all that it has read, and expects the end of streams that end: it is for tests.
#[derive(Debug)]
pub struct Reader<B: Body> {
    /// None once it has ended.
    body: Option<Pin<Box<B>>>,
    decoder: Decoder,
    scanner: Scanner,
    events: VecDeque<MessageEvent>,
    bytes: Vec<u8>,
    partial_frames: usize,
    end: Option<End<B::Error>>,
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End<E> {
    /// The body came to its end.
    Clean,
    /// The body failed, which cuts the connection.
    Failed(E),
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes>,
{
    /// A client that reads this body.
    pub fn new(body: B) -> Self {
        Self {
            body: Some(Box::pin(body)),
            decoder: Decoder::new(),
            scanner: Scanner::new(Framing::Sse),
            events: VecDeque::new(),
            bytes: Vec::new(),
            partial_frames: 0,
            end: None,
        }
    }

    /// A client that reads the body of this response.
    pub fn of(response: Response<B>) -> Self {
        Self::new(response.into_body())
    }

    /// The next event, whenever it comes. None at the end of the stream.
    ///
    /// # Cancellation safety
    ///
    /// No event is lost if it is dropped.
    pub async fn next(&mut self) -> Option<MessageEvent> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The events that are there without waiting.
    ///
    /// # Cancellation safety
    ///
    /// It never waits.
    pub async fn ready(&mut self) -> Vec<MessageEvent> {
        let mut events = Vec::new();
        // Constrained, a test that never waits would be told to wait after a while.
        unconstrained(poll_fn(|cx| {
            while let Poll::Ready(Some(event)) = self.poll_next(cx) {
                events.push(event);
            }
            Poll::Ready(())
        }))
        .await;
        events
    }

    /// All events up to the end of the stream, whenever it comes.
    pub async fn rest(&mut self) -> Vec<MessageEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// How the stream ended, if it has.
    pub fn end(&self) -> Option<&End<B::Error>> {
        self.end.as_ref()
    }

    /// The bytes that were read so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many lines of comments were read so far. A keepalive is one, and the opening of a
    /// stream.
    pub fn comments(&self) -> usize {
        let lines = self.bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
        lines.filter(|line| line.starts_with(b":")).count()
    }

    /// How many frames ended in the middle of an event. Under the layers these are only frames of
    /// events that are longer than the [hold limit](crate::SseLayer::hold_limit).
    pub fn partial_frames(&self) -> usize {
        self.partial_frames
    }

    /// The id of the last event that had one, which a browser sends when it comes back. Empty if
    /// there was none.
    pub fn last_event_id(&self) -> &str {
        self.decoder.last_event_id()
    }

    /// The last `retry` since the last call.
    pub fn retry(&mut self) -> Option<Duration> {
        self.decoder.take_retry()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<MessageEvent>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            let end = match body.as_mut().poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(chunk) = frame.into_data() {
                        self.read(&chunk);
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => End::Failed(error),
                Poll::Ready(None) => End::Clean,
            };
            (self.body, self.end) = (None, Some(end));
        }
    }

    fn read(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        self.scanner.read(chunk);
        self.partial_frames += usize::from(!self.scanner.on_boundary());
        self.events.extend(self.decoder.decode(chunk));
    }
}
