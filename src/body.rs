//! The body of responses that went through the layers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::stream::Stream;

pin_project! {
    /// The body of a response that went through the layers.
    ///
    /// Of an event stream it is the inner body with what the layers add. Any other body passes
    /// through, with its exact size and its trailers.
    ///
    /// # Panics
    ///
    /// An event stream with a keepalive or under a drain has to be polled in a Tokio runtime with
    /// its timer enabled.
    #[derive(Debug)]
    pub struct SseBody<B> {
        // Dropped at its end: some bodies panic when they are polled once more.
        #[pin]
        inner: Option<B>,
        mode: Mode,
    }
}

#[derive(Debug)]
enum Mode {
    /// The inner body as it is.
    Plain,
    /// The same, of a size that is not told.
    Unsized,
    /// A stream that is looked after.
    Driven(Pin<Box<Stream>>),
    /// These bytes, and the end.
    Only(Bytes),
    Ended,
}

impl<B> SseBody<B> {
    pub(crate) fn plain(inner: B) -> Self {
        Self {
            inner: Some(inner),
            mode: Mode::Plain,
        }
    }

    pub(crate) fn unsized_stream(inner: B) -> Self {
        Self {
            inner: Some(inner),
            mode: Mode::Unsized,
        }
    }

    pub(crate) fn driven(inner: B, stream: Stream) -> Self {
        Self {
            inner: Some(inner),
            mode: Mode::Driven(Box::pin(stream)),
        }
    }

    pub(crate) fn only(bytes: Bytes) -> Self {
        Self {
            inner: None,
            mode: Mode::Only(bytes),
        }
    }
}

impl<B> Body for SseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let stream = match this.mode {
            Mode::Driven(stream) => stream,
            Mode::Plain | Mode::Unsized => {
                let Some(inner) = this.inner.as_mut().as_pin_mut() else {
                    return Poll::Ready(None);
                };
                let frame = ready!(inner.poll_frame(cx));
                if frame.is_none() {
                    this.inner.set(None);
                }
                return Poll::Ready(frame);
            }
            Mode::Only(bytes) => {
                let bytes = std::mem::take(bytes);
                *this.mode = Mode::Ended;
                let frame = (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)));
                return Poll::Ready(frame);
            }
            Mode::Ended => return Poll::Ready(None),
        };

        for _ in 0..ROUNDS {
            if let Some(bytes) = stream.as_mut().poll_ready() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if stream.ended().is_some() {
                this.inner.set(None);
                // With the stream its places on the lists are given up, whoever keeps the body.
                *this.mode = Mode::Ended;
                return Poll::Ready(None);
            }
            let Some(inner) = this.inner.as_mut().as_pin_mut() else {
                stream.as_mut().end();
                continue;
            };
            // Data before the timer: a stream that has something to say is alive.
            match inner.poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => {
                        if let Some(bytes) = stream.as_mut().data(chunk) {
                            return Poll::Ready(Some(Ok(Frame::data(bytes))));
                        }
                    }
                    Err(trailers) => {
                        stream.as_mut().end();
                        // A farewell in place of the failed end leaves no room for them.
                        if stream.ended().is_some() {
                            return Poll::Ready(Some(Ok(trailers)));
                        }
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    this.inner.set(None);
                    if !stream.as_mut().fail() {
                        *this.mode = Mode::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Poll::Ready(None) => this.inner.set(None),
                Poll::Pending => {
                    if let Some(bytes) = ready!(stream.as_mut().poll_wait(cx)) {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
            }
        }
        // A body that is always ready with chunks of which nothing can be sent yet: others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        match (&self.mode, &self.inner) {
            (Mode::Plain | Mode::Unsized, Some(inner)) => inner.is_end_stream(),
            // Too early, and what was still to be sent would be lost.
            (Mode::Driven(stream), _) => stream.ended().is_some(),
            (Mode::Only(bytes), _) => bytes.is_empty(),
            (Mode::Plain | Mode::Unsized, None) | (Mode::Ended, _) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.mode, &self.inner) {
            (Mode::Plain, Some(inner)) => inner.size_hint(),
            (Mode::Only(bytes), _) => SizeHint::with_exact(bytes.len() as u64),
            (Mode::Plain, None) | (Mode::Ended, _) => SizeHint::with_exact(0),
            // An exact hint becomes a `Content-Length`, which would cut what is added.
            (Mode::Unsized | Mode::Driven(_), _) => SizeHint::default(),
        }
    }
}

/// How many chunks of which nothing can be sent are taken in one poll.
const ROUNDS: usize = 32;
