//! The body of responses that went through the layers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::driver::{Stream, StreamLink};
use crate::state::Permit;

pin_project! {
    /// The body of a response that went through the layers.
    ///
    /// Of an event stream it is the inner body with what the layers add. Any other body passes
    /// through, with its exact size and its trailers.
    ///
    /// # Panics
    ///
    /// An event stream with a keepalive, under a drain or with an end to its age has to be polled in a Tokio runtime with
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
    /// The inner body as it is, with a link if it is a stream that no other link is for.
    Plain(Option<Arc<StreamLink>>),
    /// The same, of a size that is not told.
    Unsized(Option<Arc<StreamLink>>),
    /// The inner body as it is, with the permit of a limit.
    Counted(Box<(Permit, Arc<StreamLink>)>),
    /// A stream that is looked after.
    Driven(Pin<Box<Stream>>),
    Ended,
}

impl<B> SseBody<B> {
    /// The inner body as it is.
    pub(crate) fn plain(inner: B, link: Option<Arc<StreamLink>>) -> Self {
        Self { inner: Some(inner), mode: Mode::Plain(link) }
    }

    /// The inner body as it is, with the permit of a limit.
    pub(crate) fn counted(inner: B, permit: Permit, link: Arc<StreamLink>) -> Self {
        Self { inner: Some(inner), mode: Mode::Counted(Box::new((permit, link))) }
    }

    /// The inner body as it is, of a size that is not told.
    pub(crate) fn unsized_stream(inner: B, link: Option<Arc<StreamLink>>) -> Self {
        Self { inner: Some(inner), mode: Mode::Unsized(link) }
    }

    pub(crate) fn driven(inner: B, stream: Stream) -> Self {
        Self { inner: Some(inner), mode: Mode::Driven(Box::pin(stream)) }
    }

    /// A stream of these bytes.
    pub(crate) fn stream_of(bytes: Bytes, link: Arc<StreamLink>) -> Self {
        Self { inner: None, mode: Mode::Driven(Box::pin(Stream::of(bytes, link))) }
    }

    pub(crate) fn empty() -> Self {
        Self { inner: None, mode: Mode::Ended }
    }
}

impl<B> Body for SseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B> {
        let this = self.as_mut().project();
        // The mode by itself: the two together are told apart by more instructions.
        let polled = match this.mode {
            // The usual case by itself: no more is done for it than must be.
            Mode::Driven(stream) if stream.is_calm() => match this.inner.as_pin_mut() {
                Some(inner) => match poll_guarded(inner, stream, cx) {
                    Poll::Pending if stream.waits(cx.waker()) => return Poll::Pending,
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) if stream.as_mut().passes(&data) => {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                        Ok(data) => Some(Poll::Ready(Some(Ok(Frame::data(data))))),
                        Err(other) => Some(Poll::Ready(Some(Ok(other)))),
                    },
                    other => Some(other),
                },
                None => None,
            },
            Mode::Plain(_) | Mode::Unsized(_) => match this.inner.as_pin_mut() {
                Some(inner) => {
                    let polled = inner.poll_frame(cx);
                    if let Poll::Ready(None) = polled {
                        self.project().inner.set(None);
                    }
                    return polled;
                }
                None => None,
            },
            _ => None,
        };
        self.drive(cx, polled)
    }

    fn is_end_stream(&self) -> bool {
        match (&self.mode, &self.inner) {
            (Mode::Plain(_) | Mode::Unsized(_) | Mode::Counted(_), Some(inner)) => {
                inner.is_end_stream()
            }
            // Too early, and what was still to be sent would be lost.
            (Mode::Driven(stream), _) => stream.ended().is_some(),
            (Mode::Plain(_) | Mode::Unsized(_) | Mode::Counted(_), None) | (Mode::Ended, _) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if StreamLink::answer_search(self.link()) {
            // A layer further out asks, and not for the size.
            return self
                .inner
                .as_ref()
                .filter(|_| self.link().is_none())
                .map_or_else(SizeHint::default, B::size_hint);
        }
        match (&self.mode, &self.inner) {
            (Mode::Plain(_) | Mode::Counted(_), Some(inner)) => inner.size_hint(),
            (Mode::Plain(_) | Mode::Counted(_), None) | (Mode::Ended, _) => SizeHint::with_exact(0),
            // An exact hint becomes a `Content-Length`, which would cut what is added.
            (Mode::Unsized(_) | Mode::Driven(_), _) => SizeHint::default(),
        }
    }
}

impl<B> SseBody<B> {
    /// What layers further out share with this body.
    fn link(&self) -> Option<&Arc<StreamLink>> {
        match &self.mode {
            Mode::Plain(link) | Mode::Unsized(link) => link.as_ref(),
            Mode::Counted(counted) => Some(&counted.1),
            Mode::Driven(stream) => stream.link(),
            Mode::Ended => None,
        }
    }
}

type Polled<B> = Poll<Option<Result<Frame<Bytes>, <B as Body>::Error>>>;

impl<B> SseBody<B>
where
    B: Body<Data = Bytes>,
{
    /// Polls a stream in all that may happen to it; `polled` is what its body gave already.
    #[inline(never)]
    fn drive(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut polled: Option<Polled<B>>,
    ) -> Polled<B> {
        let this = self.project();
        let (mut inner, mode) = (this.inner, this.mode);
        let stream = match mode {
            Mode::Driven(stream) => stream,
            // Here, since all others would pay for it there.
            Mode::Counted(_) => {
                let polled = inner.as_mut().as_pin_mut().map(|inner| inner.poll_frame(cx));
                let polled = polled.unwrap_or(Poll::Ready(None));
                if let Poll::Ready(None) = polled {
                    inner.set(None);
                    *mode = Mode::Ended;
                }
                return polled;
            }
            Mode::Plain(_) | Mode::Unsized(_) | Mode::Ended => return Poll::Ready(None),
        };
        // Nearly as short a way for a stream whose end is planned.
        if let (None, Some(body), true) =
            (&polled, inner.as_mut().as_pin_mut(), stream.is_calm_so_far())
        {
            polled = Some(match poll_guarded(body, stream, cx) {
                Poll::Pending if stream.waits(cx.waker()) => return Poll::Pending,
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if stream.as_mut().passes(&data) => {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                    Err(other) => Poll::Ready(Some(Ok(other))),
                },
                other => other,
            });
        }
        for _ in 0..ROUNDS {
            let polled = match polled.take() {
                Some(polled) => polled,
                None if stream.ended().is_some() => {
                    inner.set(None);
                    // With the stream its places on the lists are given up, whoever keeps the body.
                    *mode = Mode::Ended;
                    return Poll::Ready(None);
                }
                None => match (stream.as_mut().poll_ready(), inner.as_mut().as_pin_mut()) {
                    (Some(bytes), _) => return send(stream, bytes),
                    // A farewell of no bytes: nothing is sent, and it is over.
                    (None, _) if stream.ended().is_some() => continue,
                    // Data before the timer: a stream that has something to say is alive.
                    (None, Some(inner)) => poll_guarded(inner, stream, cx),
                    (None, None) => Poll::Ready(None),
                },
            };
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => {
                        if let Some(bytes) = stream.as_mut().data(chunk) {
                            return send(stream, bytes);
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
                    inner.set(None);
                    if !stream.as_mut().fail() {
                        *mode = Mode::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Poll::Ready(None) => {
                    let was_there = inner.is_some();
                    inner.set(None);
                    // Mail that came before its end goes before it, once more.
                    if !(was_there && stream.is_signalled()) {
                        stream.as_mut().end();
                    }
                }
                Poll::Pending => {
                    if let Some(bytes) = ready!(stream.as_mut().poll_wait(cx)) {
                        return send(stream, bytes);
                    }
                }
            }
        }
        // A body that is always ready with chunks of which nothing can be sent yet: others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls the inner body, and has the stream end with an error if that panics.
#[inline]
fn poll_guarded<B>(
    inner: Pin<&mut B>,
    stream: &mut Pin<Box<Stream>>,
    cx: &mut Context<'_>,
) -> Polled<B>
where
    B: Body<Data = Bytes>,
{
    struct Guard<'a>(&'a mut Pin<Box<Stream>>);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.as_mut().panicked();
        }
    }
    let guard = Guard(stream);
    let polled = inner.poll_frame(cx);
    // Dropped by unwinding only.
    std::mem::forget(guard);
    polled
}

fn send<E>(stream: &mut Pin<Box<Stream>>, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, E>>> {
    stream.as_mut().note(bytes.len());
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

/// How many chunks of which nothing can be sent are taken in one poll.
const ROUNDS: usize = 32;
