//! The body of responses that went through the layers.

mod ending;
mod passing;

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::driver::{Claim, Deferred, FastPath, Output, Stream, StreamLink, trailers};
use crate::state::Permit;
use crate::sync::{catch_panic, drop_foreign};
use ending::{End, Ending};
pub(crate) use passing::Whole;
use passing::{Linked, Size};

pin_project! {
    /// The body of a response that went through the layers.
    ///
    /// For an event stream it is the inner body with what the layers add. Any other body passes
    /// through, with its exact size and its trailers.
    ///
    /// # Panics
    ///
    /// An event stream with a keepalive, under a drain or with an end to its age has to be polled
    /// in a Tokio runtime with its timer enabled.
    #[derive(Debug)]
    pub struct SseBody<B>
    where
        B: Body,
    {
        // Dropped when it ends: some bodies panic when they are polled after their end.
        #[pin]
        inner: Option<B>,
        mode: Mode<B::Error>,
    }

    impl<B> PinnedDrop for SseBody<B>
    where
        B: Body,
    {
        fn drop(mut this: Pin<&mut Self>) {
            // Most bodies have ended by then, and have nothing left.
            if !matches!(this.mode, Mode::Ended) {
                drop_foreign(|| this.as_mut().end());
            }
        }
    }
}

#[derive(Debug)]
enum Mode<E> {
    /// A stream that the driver works on.
    Driven(Pin<Box<Stream>>),
    /// The inner body as it is.
    Plain(Size),
    /// The inner body as it is, with a link for outer layers or the permit of a limit.
    Linked(Box<Linked>),
    /// The inner body as it is, which its head claims to be an event stream that is looked after.
    Claimed(Box<Claim>),
    /// A stream whose inner body has ended.
    Ending(Box<Ending<E>>),
    /// An answer that passes as it is until it turns out to be a stream.
    Deferred(Box<Deferred>),
    /// An answer that was there at once.
    Whole(Box<Whole<E>>),
    /// The whole of an event stream of this crate.
    Once(Box<(Bytes, Arc<StreamLink>)>),
    Ended,
}

impl<B: Body> SseBody<B> {
    /// The inner body as it is, with a link if it is a stream that has no other.
    pub(crate) fn plain(body: B, link: Option<Arc<StreamLink>>) -> Self {
        Self::passing(body, Size::Told, link)
    }

    /// The inner body as it is, without its size.
    pub(crate) fn unsized_stream(body: B, link: Option<Arc<StreamLink>>) -> Self {
        Self::passing(body, Size::Untold, link)
    }

    /// The inner body as it is, with the permit of a limit.
    pub(crate) fn counted(body: B, permit: Permit, link: Arc<StreamLink>) -> Self {
        let linked = Linked { link, permit: Some(permit), size: Size::Told };
        Self::new(Some(body), Mode::Linked(Box::new(linked)))
    }

    fn new(inner: Option<B>, mode: Mode<B::Error>) -> Self {
        Self { inner, mode }
    }

    fn passing(body: B, size: Size, link: Option<Arc<StreamLink>>) -> Self {
        let mode = match link {
            Some(link) => Mode::Linked(Box::new(Linked { link, permit: None, size })),
            None => Mode::Plain(size),
        };
        Self::new(Some(body), mode)
    }

    /// This body, with a claim to check if it passes as it is.
    pub(crate) fn with_claim(mut self, claim: impl FnOnce() -> Claim) -> Self {
        if let Mode::Plain(_) = self.mode {
            self.mode = Mode::Claimed(Box::new(claim()));
        }
        self
    }

    /// A stream that the driver works on.
    pub(crate) fn driven(body: B, stream: Stream) -> Self {
        Self::new(Some(body), Mode::Driven(Box::pin(stream)))
    }

    /// An event stream of these bytes.
    pub(crate) fn stream_of(bytes: Bytes, link: Arc<StreamLink>) -> Self {
        Self::new(None, Mode::Once(Box::new((bytes, link))))
    }

    /// The inner body as it is, until it turns out to be a stream.
    pub(crate) fn deferred(body: B, deferred: Deferred) -> Self {
        Self::new(Some(body), Mode::Deferred(Box::new(deferred)))
    }

    /// An answer that was there at once.
    pub(crate) fn whole(answer: Whole<B::Error>) -> Self {
        Self::new(None, Mode::Whole(Box::new(answer)))
    }

    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self::new(None, Mode::Ended)
    }

    /// The link that outer layers share with this body.
    fn link(&self) -> Option<Arc<StreamLink>> {
        match &self.mode {
            Mode::Driven(stream) => stream.link().cloned(),
            Mode::Ending(ending) => ending.stream().link().cloned(),
            Mode::Linked(linked) => Some(Arc::clone(&linked.link)),
            Mode::Claimed(claim) => claim.link(),
            Mode::Deferred(deferred) => Some(Arc::clone(deferred.link())),
            Mode::Once(once) => Some(Arc::clone(&once.1)),
            Mode::Plain(_) | Mode::Whole(_) | Mode::Ended => None,
        }
    }

    /// Drops the inner body, and then the stream, which ends with an error if the body panics.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Mode::Driven(stream) = this.mode {
            guarded(stream.as_mut(), |_| this.inner.set(None));
        } else {
            this.inner.set(None);
        }
        *this.mode = Mode::Ended;
    }
}

/// Polls the inner body of a stream that is on this path, and returns what can be returned as it
/// is. Gives what else the body returned. A function in its place costs a fifth more.
macro_rules! poll_fast {
    ($path:expr, $stream:ident, $body:ident, $cx:ident) => {
        match guarded($stream.as_mut(), |_| $body.poll_frame($cx)) {
            // The first question, since most are.
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => match frame.into_data() {
                Ok(data) if $stream.as_mut().pass($path, &data) => {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(data) => Some(Poll::Ready(Some(Ok(Frame::data(data))))),
                Err(other) => Some(Poll::Ready(Some(Ok(other)))),
            },
            Poll::Pending if $stream.waits($cx.waker()) => return Poll::Pending,
            other => Some(other),
        }
    };
}

type Polled<B> = PolledFrame<<B as Body>::Error>;
type PolledFrame<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

impl<B> Body for SseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B> {
        let this = self.as_mut().project();
        let polled = match (this.inner.as_pin_mut(), this.mode) {
            // The fast path stands apart, so that the usual frame costs as little as possible. It
            // is another one for each framing, which is asked for once.
            (Some(body), Mode::Driven(stream)) => {
                let mut stream = stream.as_mut();
                match stream.fast_path() {
                    FastPath::Messages => poll_fast!(FastPath::Messages, stream, body, cx),
                    FastPath::Lines => poll_fast!(FastPath::Lines, stream, body, cx),
                    FastPath::Events => poll_fast!(FastPath::Events, stream, body, cx),
                    _ => None,
                }
            }
            (Some(body), Mode::Plain(_)) => {
                return match body.poll_frame(cx) {
                    // Nothing but the data is copied.
                    Poll::Ready(Some(Ok(frame))) if frame.is_data() => match frame.into_data() {
                        Ok(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                        Err(other) => Poll::Ready(Some(Ok(other))),
                    },
                    Poll::Ready(None) => {
                        self.end();
                        Poll::Ready(None)
                    }
                    other => other,
                };
            }
            _ => None,
        };
        self.poll_closely(cx, polled)
    }

    fn is_end_stream(&self) -> bool {
        match (&self.mode, &self.inner) {
            (
                Mode::Plain(_) | Mode::Linked(_) | Mode::Claimed(_) | Mode::Deferred(_),
                Some(body),
            ) => body.is_end_stream(),
            (Mode::Whole(whole), _) => whole.frames.is_empty(),
            // Too early, and what was still to be sent would be lost.
            (Mode::Driven(stream), _) => stream.ended().is_some(),
            (Mode::Ending(ending), _) => ending.is_over(),
            (Mode::Once(_), _) => false,
            _ => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        if StreamLink::is_searched() {
            // An outer layer is searching for the link, and does not ask for the size.
            match (self.link(), &self.inner) {
                (Some(link), _) => link.answer_search(),
                (None, Some(body)) => return body.size_hint(),
                (None, None) => {}
            }
            return SizeHint::default();
        }
        match (&self.mode, &self.inner) {
            // An exact hint becomes a `Content-Length`, which would cut what is added.
            (
                Mode::Plain(Size::Untold)
                | Mode::Claimed(_)
                | Mode::Driven(_)
                | Mode::Ending(_)
                | Mode::Once(_),
                _,
            ) => SizeHint::default(),
            (Mode::Linked(linked), _) if linked.size == Size::Untold => SizeHint::default(),
            // As the answer of a unary call has it.
            (Mode::Plain(_) | Mode::Linked(_) | Mode::Deferred(_), Some(body)) => body.size_hint(),
            (Mode::Whole(whole), _) => whole.size_hint(),
            (Mode::Plain(_) | Mode::Linked(_) | Mode::Deferred(_) | Mode::Ended, _) => {
                SizeHint::with_exact(0)
            }
        }
    }
}

impl<B> SseBody<B>
where
    B: Body<Data = Bytes>,
{
    /// Polls a stream that the driver works on, off the fast path. `polled` is what the inner body
    /// has returned already, if anything.
    #[inline(never)]
    fn poll_closely(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut polled: Option<Polled<B>>,
    ) -> Polled<B> {
        let this = self.as_mut().project();
        let mut inner = this.inner;
        let Mode::Driven(stream) = &mut *this.mode else {
            return self.poll_rarely(cx);
        };
        for _ in 0..ROUNDS {
            let polled = if let Some(polled) = polled.take() {
                polled
            } else {
                if !stream.is_quiet() {
                    match guarded(stream.as_mut(), |stream| stream.poll_output(cx)) {
                        Some(Output::Frame(bytes)) => return send(stream.as_mut(), bytes),
                        Some(last @ Output::Status(_)) => {
                            self.end();
                            return tell(last);
                        }
                        None => {}
                    }
                    if stream.ended().is_some() {
                        self.end();
                        return Poll::Ready(None);
                    }
                }
                match inner.as_mut().as_pin_mut() {
                    Some(body) => guarded(stream.as_mut(), |_| body.poll_frame(cx)),
                    None => Poll::Ready(None),
                }
            };
            let end = match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(chunk) => {
                        match guarded(stream.as_mut(), |stream| stream.handle_data(chunk)) {
                            Some(bytes) => return send(stream.as_mut(), bytes),
                            None => continue,
                        }
                    }
                    Err(trailers) => End::Trailers(trailers),
                },
                Poll::Ready(Some(Err(error))) => End::Failed(error),
                Poll::Ready(None) => End::Clean,
                Poll::Pending => match guarded(stream.as_mut(), |stream| stream.poll_wait(cx)) {
                    Poll::Ready(Some(bytes)) => return send(stream.as_mut(), bytes),
                    Poll::Ready(None) => continue,
                    Poll::Pending => return Poll::Pending,
                },
            };
            guarded(stream.as_mut(), |_| inner.set(None));
            let mode = self.as_mut().project().mode;
            if let Mode::Driven(stream) = mem::replace(mode, Mode::Ended) {
                *mode = Mode::Ending(Box::new(Ending::new(stream, end)));
            }
            return self.poll_rarely(cx);
        }
        // The body is always ready, but nothing of it can be sent yet: let other tasks run.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Sends bytes of a stream.
#[inline]
fn send<E>(stream: Pin<&mut Stream>, bytes: Bytes) -> PolledFrame<E> {
    stream.sent(bytes.len());
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

/// Ends a stream with this.
fn tell<E>(last: Output) -> PolledFrame<E> {
    Poll::Ready(Some(Ok(match last {
        Output::Frame(message) => Frame::data(message),
        Output::Status(status) => Frame::trailers(trailers(&status)),
    })))
}

/// Has the stream end with an error if foreign code panics: an inner body, or a function that makes
/// ids.
#[inline]
fn guarded<R>(stream: Pin<&mut Stream>, act: impl FnOnce(Pin<&mut Stream>) -> R) -> R {
    /// It is dropped by unwinding only.
    struct AbortOnPanic<'a>(Pin<&'a mut Stream>);
    impl Drop for AbortOnPanic<'_> {
        fn drop(&mut self) {
            // What it drops may be foreign, and a second panic would abort the process.
            catch_panic(|| self.0.as_mut().abort());
        }
    }
    let mut guard = AbortOnPanic(stream);
    let result = act(guard.0.as_mut());
    mem::forget(guard);
    result
}

/// How many chunks one poll takes if nothing of them can be sent.
const ROUNDS: usize = 32;
