//! The body of responses that went through the layers.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::driver::{BodyEnd, PassOn, Stream, StreamLink};
use crate::state::Permit;

pin_project! {
    /// The body of a response that went through the layers.
    ///
    /// For an event stream it is the inner body with what the layers add. Any other body passes
    /// through, with its exact size and its trailers.
    ///
    /// # Panics
    ///
    /// An event stream with a keepalive, under a drain or with an end to its age has to be polled in
    /// a Tokio runtime with its timer enabled.
    #[derive(Debug)]
    pub struct SseBody<B>
    where
        B: Body,
    {
        #[pin]
        source: Source<B, B::Error>,
        mode: Mode,
    }

    impl<B> PinnedDrop for SseBody<B>
    where
        B: Body,
    {
        fn drop(this: Pin<&mut Self>) {
            this.end();
        }
    }
}

pin_project! {
    /// Where the frames of a body come from.
    #[project = SourceProjection]
    #[derive(Debug)]
    enum Source<B, E> {
        Body {
            #[pin]
            body: B,
        },
        /// The inner body is over and has been dropped: some bodies panic when they are polled once
        /// more. Its end waits until everything that came before it is sent.
        Over { end: Box<End<E>> },
        Gone,
    }
}

/// How an inner body ended.
#[derive(Debug)]
enum End<E> {
    Clean,
    Trailers(Frame<Bytes>),
    Failed(E),
    /// What is left to give out when the stream has been told of its end.
    Last(Result<Frame<Bytes>, E>),
}

#[derive(Debug)]
enum Mode {
    /// The inner body as it is, with a link if it is a stream that has no other.
    Plain(Option<Arc<StreamLink>>),
    /// The inner body as it is, without its size.
    Unsized(Option<Arc<StreamLink>>),
    /// The inner body as it is, with the permit of a limit.
    Counted(Box<(Permit, Arc<StreamLink>)>),
    /// An event stream that is looked after.
    Driven(Pin<Box<Stream>>),
    /// The whole of an event stream of this crate.
    Once(Box<(Bytes, Arc<StreamLink>)>),
    Ended,
}

impl<B: Body> SseBody<B> {
    /// The inner body as it is.
    pub(crate) fn plain(body: B, link: Option<Arc<StreamLink>>) -> Self {
        Self { source: Source::Body { body }, mode: Mode::Plain(link) }
    }

    /// The inner body as it is, with the permit of a limit.
    pub(crate) fn counted(body: B, permit: Permit, link: Arc<StreamLink>) -> Self {
        Self { source: Source::Body { body }, mode: Mode::Counted(Box::new((permit, link))) }
    }

    /// The inner body as it is, without its size.
    pub(crate) fn unsized_stream(body: B, link: Option<Arc<StreamLink>>) -> Self {
        Self { source: Source::Body { body }, mode: Mode::Unsized(link) }
    }

    /// An event stream that is looked after.
    pub(crate) fn driven(body: B, stream: Stream) -> Self {
        Self { source: Source::Body { body }, mode: Mode::Driven(Box::pin(stream)) }
    }

    /// An event stream of these bytes.
    pub(crate) fn stream_of(bytes: Bytes, link: Arc<StreamLink>) -> Self {
        Self { source: Source::Gone, mode: Mode::Once(Box::new((bytes, link))) }
    }

    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self { source: Source::Gone, mode: Mode::Ended }
    }

    /// What layers further out share with this body.
    fn link(&self) -> Option<&Arc<StreamLink>> {
        match &self.mode {
            Mode::Plain(link) | Mode::Unsized(link) => link.as_ref(),
            Mode::Counted(counted) => Some(&counted.1),
            Mode::Driven(stream) => stream.link(),
            Mode::Once(once) => Some(&once.1),
            Mode::Ended => None,
        }
    }

    /// Drops the inner body, and then the stream, which ends with an error if the body panics.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Mode::Driven(stream) = this.mode {
            let guard = AbortOnPanic(stream);
            this.source.set(Source::Gone);
            mem::forget(guard);
        } else {
            this.source.set(Source::Gone);
        }
        *this.mode = Mode::Ended;
    }
}

type Polled<B> = Poll<Option<Result<Frame<Bytes>, <B as Body>::Error>>>;

impl<B> Body for SseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B> {
        let this = self.as_mut().project();
        let polled = match (this.mode, this.source.project()) {
            // The usual case by itself: no more is done for it than must be.
            (Mode::Driven(stream), SourceProjection::Body { body }) if stream.is_on_fast_path() => {
                match poll_guarded(body, stream, cx) {
                    Poll::Pending if stream.waits(cx.waker()) => return Poll::Pending,
                    Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) if stream.as_mut().pass(&data) => {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                        Ok(data) => Some(Poll::Ready(Some(Ok(Frame::data(data))))),
                        Err(other) => Some(Poll::Ready(Some(Ok(other)))),
                    },
                    other => Some(other),
                }
            }
            (Mode::Plain(_) | Mode::Unsized(_), SourceProjection::Body { body }) => {
                let polled = body.poll_frame(cx);
                if let Poll::Ready(None) = polled {
                    self.end();
                }
                return polled;
            }
            _ => None,
        };
        self.poll_closely(cx, polled)
    }

    fn is_end_stream(&self) -> bool {
        match (&self.mode, &self.source) {
            (Mode::Plain(_) | Mode::Unsized(_) | Mode::Counted(_), Source::Body { body }) => {
                body.is_end_stream()
            }
            // Too early, and what was still to be sent would be lost.
            (Mode::Driven(_) | Mode::Once(_), _) => false,
            _ => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if StreamLink::answer_search(self.link()) {
            // A layer further out asks, and not for the size.
            return match (&self.source, self.link()) {
                (Source::Body { body }, None) => body.size_hint(),
                _ => SizeHint::default(),
            };
        }
        match (&self.mode, &self.source) {
            (Mode::Plain(_) | Mode::Counted(_), Source::Body { body }) => body.size_hint(),
            // An exact hint becomes a `Content-Length`, which would cut what is added.
            (Mode::Unsized(_) | Mode::Driven(_) | Mode::Once(_), _) => SizeHint::default(),
            (Mode::Plain(_) | Mode::Counted(_) | Mode::Ended, _) => SizeHint::with_exact(0),
        }
    }
}

impl<B> SseBody<B>
where
    B: Body<Data = Bytes>,
{
    /// Polls a body in all that may happen to it. `polled` is what the inner body gave already.
    #[inline(never)]
    fn poll_closely(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut polled: Option<Polled<B>>,
    ) -> Polled<B> {
        let this = self.as_mut().project();
        match this.mode {
            Mode::Driven(_) => {}
            Mode::Counted(_) => {
                let polled = match this.source.project() {
                    SourceProjection::Body { body } => body.poll_frame(cx),
                    _ => Poll::Ready(None),
                };
                if let Poll::Ready(None) = polled {
                    self.end();
                }
                return polled;
            }
            Mode::Once(once) => {
                let bytes = mem::take(&mut once.0);
                self.end();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Mode::Plain(_) | Mode::Unsized(_) | Mode::Ended => return Poll::Ready(None),
        }
        for _ in 0..ROUNDS {
            if let Some(poll) = self.as_mut().poll_once(cx, polled.take()) {
                return poll;
            }
        }
        // A body that is always ready with chunks of which nothing can be sent yet: others first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Asks the stream, and then the inner body. None if there is more to ask.
    fn poll_once(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        polled: Option<Polled<B>>,
    ) -> Option<Polled<B>> {
        let this = self.as_mut().project();
        let Mode::Driven(stream) = this.mode else {
            return Some(Poll::Ready(None));
        };
        let guard = AbortOnPanic(stream);
        let step = next_step(guard.0, this.source, cx, polled);
        mem::forget(guard);
        match step {
            Step::Send(bytes) => Some(self.send(bytes)),
            Step::Again => None,
            Step::Wait => Some(Poll::Pending),
            Step::TakeEnd => self.take_end(),
            Step::Finish => Some(self.finish()),
        }
    }

    /// Tells the stream of the end of its body, once everything that came before it is sent.
    fn take_end(mut self: Pin<&mut Self>) -> Option<Polled<B>> {
        let mut this = self.as_mut().project();
        let (Mode::Driven(stream), SourceProjection::Over { end }) =
            (this.mode, this.source.as_mut().project())
        else {
            return Some(self.finish());
        };
        let (bytes, last) = match mem::replace(&mut **end, End::Clean) {
            End::Clean => (stream.as_mut().handle_end(BodyEnd::Clean).0, None),
            End::Trailers(trailers) => {
                let (bytes, _) = stream.as_mut().handle_end(BodyEnd::Clean);
                // A farewell in place of a failed end leaves no room for trailers.
                let kept = bytes.is_none() || stream.is_finished();
                (bytes, kept.then_some(Ok(trailers)))
            }
            End::Failed(error) => {
                let (bytes, pass_on) = stream.as_mut().handle_end(BodyEnd::Failed);
                (bytes, (pass_on == PassOn::Yes).then_some(Err(error)))
            }
            End::Last(last) => {
                **end = End::Last(last);
                return Some(self.finish());
            }
        };
        match last {
            Some(last) => **end = End::Last(last),
            None => this.source.set(Source::Gone),
        }
        bytes.map(|bytes| self.send(bytes))
    }

    /// Sends bytes of a driven stream. With the last of them its places on the lists are given up:
    /// a client that learns of the end from them may come back before the body is dropped.
    fn send(mut self: Pin<&mut Self>, bytes: Bytes) -> Polled<B> {
        let this = self.as_mut().project();
        if let Mode::Driven(stream) = this.mode {
            stream.as_mut().sent(bytes.len());
            let more_follows = match &*this.source {
                Source::Over { end } => matches!(**end, End::Last(_)),
                Source::Body { .. } | Source::Gone => false,
            };
            if stream.ended().is_some() && !more_follows {
                self.end();
            }
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// The end of a driven stream, after its trailers or its error if there are any.
    fn finish(mut self: Pin<&mut Self>) -> Polled<B> {
        let last = match self.as_mut().project().source.project() {
            SourceProjection::Over { end } => match mem::replace(&mut **end, End::Clean) {
                End::Last(last) => Some(last),
                End::Clean | End::Trailers(_) | End::Failed(_) => None,
            },
            SourceProjection::Body { .. } | SourceProjection::Gone => None,
        };
        self.end();
        Poll::Ready(last)
    }
}

impl<B, E> Source<B, E> {
    fn over(end: End<E>) -> Self {
        Self::Over { end: Box::new(end) }
    }
}

/// What is to be done next for a driven body.
#[derive(Debug)]
enum Step {
    Send(Bytes),
    Again,
    Wait,
    /// The stream is to be told of the end of its body.
    TakeEnd,
    Finish,
}

fn next_step<B>(
    stream: &mut Pin<Box<Stream>>,
    mut source: Pin<&mut Source<B, B::Error>>,
    cx: &mut Context<'_>,
    polled: Option<Polled<B>>,
) -> Step
where
    B: Body<Data = Bytes>,
{
    let polled = if let Some(polled) = polled {
        polled
    } else {
        if let Some(bytes) = stream.as_mut().poll_output(cx) {
            return Step::Send(bytes);
        }
        if stream.ended().is_some() {
            return Step::Finish;
        }
        match source.as_mut().project() {
            SourceProjection::Body { body } => body.poll_frame(cx),
            SourceProjection::Over { .. } | SourceProjection::Gone => return Step::TakeEnd,
        }
    };
    let bytes = match polled {
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(chunk) => stream.as_mut().handle_data(chunk),
            Err(trailers) => {
                source.set(Source::over(End::Trailers(trailers)));
                None
            }
        },
        Poll::Ready(Some(Err(error))) => {
            source.set(Source::over(End::Failed(error)));
            None
        }
        Poll::Ready(None) => {
            source.set(Source::over(End::Clean));
            None
        }
        Poll::Pending => match stream.as_mut().poll_wait(cx) {
            Poll::Ready(bytes) => bytes,
            Poll::Pending => return Step::Wait,
        },
    };
    bytes.map_or(Step::Again, Step::Send)
}

/// Polls the inner body, and has the stream end with an error if that panics.
#[inline]
fn poll_guarded<B>(
    body: Pin<&mut B>,
    stream: &mut Pin<Box<Stream>>,
    cx: &mut Context<'_>,
) -> Polled<B>
where
    B: Body<Data = Bytes>,
{
    let guard = AbortOnPanic(stream);
    let polled = body.poll_frame(cx);
    mem::forget(guard);
    polled
}

/// Has a stream end with an error if foreign code panics: an inner body, or a function that makes
/// ids. It is dropped by unwinding only.
struct AbortOnPanic<'a>(&'a mut Pin<Box<Stream>>);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        self.0.as_mut().abort();
    }
}

/// How many chunks of which nothing can be sent are taken in one poll.
const ROUNDS: usize = 32;
