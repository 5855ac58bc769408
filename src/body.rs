//! The body of responses that went through the layers.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::driver::{BodyEnd, Claim, PassOn, Stream, StreamLink};
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
        // Dropped when it ends: some bodies panic when they are polled after their end.
        #[pin]
        inner: Option<B>,
        mode: Mode<B::Error>,
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

/// How an inner body ended.
#[derive(Debug)]
enum End<E> {
    Clean,
    Trailers(Frame<Bytes>),
    Failed(E),
    /// What is still to be sent after the engine has handled the end of the body.
    Last(Result<Frame<Bytes>, E>),
}

#[derive(Debug)]
enum Mode<E> {
    /// The inner body as it is.
    Plain,
    /// The inner body as it is, without its size.
    Unsized,
    /// The inner body as it is, with a link for outer layers or the permit of a limit.
    Linked(Box<Linked>),
    /// The inner body as it is, which its head claims to be an event stream that is looked after.
    Claimed(Box<Claim>),
    /// An event stream that the driver works on.
    Driven(Pin<Box<Stream>>),
    /// An event stream whose inner body has ended.
    Ending(Box<Ending<E>>),
    /// The whole of an event stream of this crate.
    Once(Box<(Bytes, Arc<StreamLink>)>),
    Ended,
}

/// What is kept for an event stream whose inner body has ended.
#[derive(Debug)]
struct Ending<E> {
    stream: Pin<Box<Stream>>,
    /// How the body ended, until everything that came before its end is sent.
    end: Option<End<E>>,
}

/// What is kept for a body that passes as it is.
#[derive(Debug)]
struct Linked {
    link: Arc<StreamLink>,
    permit: Option<Permit>,
    is_unsized: bool,
}

impl<B: Body> SseBody<B> {
    /// The inner body as it is, with a link if it is a stream that has no other.
    pub(crate) fn plain(body: B, link: Option<Arc<StreamLink>>) -> Self {
        Self::passing(body, Mode::Plain, link)
    }

    /// The inner body as it is, without its size.
    pub(crate) fn unsized_stream(body: B, link: Option<Arc<StreamLink>>) -> Self {
        Self::passing(body, Mode::Unsized, link)
    }

    /// The inner body as it is, with the permit of a limit.
    pub(crate) fn counted(body: B, permit: Permit, link: Arc<StreamLink>) -> Self {
        let linked = Linked { link, permit: Some(permit), is_unsized: false };
        Self::new(Some(body), Mode::Linked(Box::new(linked)))
    }

    fn new(inner: Option<B>, mode: Mode<B::Error>) -> Self {
        Self { inner, mode }
    }

    fn passing(body: B, mode: Mode<B::Error>, link: Option<Arc<StreamLink>>) -> Self {
        let is_unsized = matches!(mode, Mode::Unsized);
        let linked = link.map(|link| Linked { link, permit: None, is_unsized });
        let mode = linked.map_or(mode, |linked| Mode::Linked(Box::new(linked)));
        Self::new(Some(body), mode)
    }

    /// This body, with a claim to check if it passes as it is.
    pub(crate) fn with_claim(mut self, claim: impl FnOnce() -> Claim) -> Self {
        if let Mode::Plain | Mode::Unsized = self.mode {
            self.mode = Mode::Claimed(Box::new(claim()));
        }
        self
    }

    /// An event stream that the driver works on.
    pub(crate) fn driven(body: B, stream: Stream) -> Self {
        Self::new(Some(body), Mode::Driven(Box::pin(stream)))
    }

    /// An event stream of these bytes.
    pub(crate) fn stream_of(bytes: Bytes, link: Arc<StreamLink>) -> Self {
        Self::new(None, Mode::Once(Box::new((bytes, link))))
    }

    /// No bytes.
    pub(crate) fn empty() -> Self {
        Self::new(None, Mode::Ended)
    }

    /// The link that outer layers share with this body.
    fn link(&self) -> Option<Arc<StreamLink>> {
        match &self.mode {
            Mode::Driven(stream) => stream.link().cloned(),
            Mode::Ending(ending) => ending.stream.link().cloned(),
            Mode::Linked(linked) => Some(Arc::clone(&linked.link)),
            Mode::Claimed(claim) => claim.link(),
            Mode::Once(once) => Some(Arc::clone(&once.1)),
            Mode::Plain | Mode::Unsized | Mode::Ended => None,
        }
    }

    /// Drops the inner body, and then the stream, which ends with an error if the body panics.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Mode::Driven(stream) = this.mode {
            let guard = AbortOnPanic(stream.as_mut());
            this.inner.set(None);
            mem::forget(guard);
        } else {
            this.inner.set(None);
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
        let polled = match this.mode {
            // The fast path stands apart, so that the usual frame costs as little as possible.
            Mode::Driven(stream) => {
                let mut stream = stream.as_mut();
                match this.inner.as_pin_mut() {
                    Some(body) if stream.is_on_fast_path() => {
                        match poll_guarded(body, stream.as_mut(), cx) {
                            Poll::Pending if stream.waits(cx.waker()) => return Poll::Pending,
                            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                                Ok(data) if stream.pass(&data) => {
                                    return Poll::Ready(Some(Ok(Frame::data(data))));
                                }
                                Ok(data) => Some(Poll::Ready(Some(Ok(Frame::data(data))))),
                                Err(other) => Some(Poll::Ready(Some(Ok(other)))),
                            },
                            other => Some(other),
                        }
                    }
                    _ => None,
                }
            }
            Mode::Plain | Mode::Unsized => match this.inner.as_pin_mut() {
                Some(body) => {
                    let polled = body.poll_frame(cx);
                    if let Poll::Ready(None) = polled {
                        self.end();
                    }
                    return polled;
                }
                None => None,
            },
            _ => None,
        };
        self.poll_closely(cx, polled)
    }

    fn is_end_stream(&self) -> bool {
        match (&self.mode, &self.inner) {
            (Mode::Plain | Mode::Unsized | Mode::Linked(_) | Mode::Claimed(_), Some(body)) => {
                body.is_end_stream()
            }
            // Too early, and what was still to be sent would be lost.
            (Mode::Driven(stream), _) => stream.ended().is_some(),
            (Mode::Ending(ending), _) => ending.stream.ended().is_some() && ending.end.is_none(),
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
                Mode::Unsized
                | Mode::Claimed(_)
                | Mode::Driven(_)
                | Mode::Ending(_)
                | Mode::Once(_),
                _,
            ) => SizeHint::default(),
            (Mode::Linked(linked), _) if linked.is_unsized => SizeHint::default(),
            (Mode::Plain | Mode::Linked(_), Some(body)) => body.size_hint(),
            (Mode::Plain | Mode::Linked(_) | Mode::Ended, _) => SizeHint::with_exact(0),
        }
    }
}

impl<B> SseBody<B>
where
    B: Body<Data = Bytes>,
{
    /// Polls off the fast path. `polled` is what the inner body has returned already, if anything.
    #[inline(never)]
    fn poll_closely(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut polled: Option<Polled<B>>,
    ) -> Polled<B> {
        let mut this = self.as_mut().project();
        match this.mode {
            Mode::Driven(_) | Mode::Ending(_) => {}
            Mode::Linked(linked) => {
                // Once no outer layer can ask for the link any more, its memory is released.
                if linked.permit.is_none() && Arc::weak_count(&linked.link) == 0 {
                    *this.mode = if linked.is_unsized { Mode::Unsized } else { Mode::Plain };
                }
                let polled = match this.inner.as_pin_mut() {
                    Some(body) => body.poll_frame(cx),
                    None => Poll::Ready(None),
                };
                if let Poll::Ready(None) = polled {
                    self.end();
                }
                return polled;
            }
            Mode::Claimed(claim) => {
                let replacement = if let Some(replacement) = claim.replacement() {
                    replacement
                } else {
                    let polled = match this.inner.as_mut().as_pin_mut() {
                        Some(body) => claim.check(|| body.poll_frame(cx)),
                        None => Poll::Ready(None),
                    };
                    if let Poll::Ready(None) = polled {
                        self.end();
                        return polled;
                    }
                    // A frame leaves first.
                    let replacement = polled.is_pending().then(|| claim.replacement()).flatten();
                    match replacement {
                        Some(replacement) => replacement,
                        None => return polled,
                    }
                };
                *this.mode = match replacement {
                    Ok(stream) => Mode::Driven(Box::pin(stream)),
                    Err(refusal) => {
                        this.inner.set(None);
                        Mode::Once(Box::new(refusal))
                    }
                };
                return self.poll_closely(cx, None);
            }
            Mode::Once(once) => {
                let bytes = mem::take(&mut once.0);
                once.1.open();
                self.end();
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            Mode::Plain | Mode::Unsized | Mode::Ended => {
                self.end();
                return Poll::Ready(None);
            }
        }
        for _ in 0..ROUNDS {
            if let Some(poll) = self.as_mut().poll_once(cx, polled.take()) {
                return poll;
            }
        }
        // The body is always ready, but nothing of it can be sent yet: let other tasks run.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls the stream, and then the inner body. `None` if both have to be polled again.
    #[inline]
    fn poll_once(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        polled: Option<Polled<B>>,
    ) -> Option<Polled<B>> {
        let this = self.as_mut().project();
        let stream = match this.mode {
            Mode::Driven(stream) => stream.as_mut(),
            Mode::Ending(ending) => ending.stream.as_mut(),
            _ => return Some(Poll::Ready(None)),
        };
        let mut guard = AbortOnPanic(stream);
        let step = next_step(guard.0.as_mut(), this.inner, cx, polled);
        mem::forget(guard);
        match step {
            Step::Send(bytes) => Some(self.send(bytes)),
            Step::Again => None,
            Step::KeepEnd(end) => {
                let mode = self.project().mode;
                if let Mode::Driven(stream) = mem::replace(mode, Mode::Ended) {
                    *mode = Mode::Ending(Box::new(Ending { stream, end: Some(end) }));
                }
                None
            }
            Step::Wait => Some(Poll::Pending),
            Step::TakeEnd => self.take_end(),
            Step::Finish => Some(self.finish()),
        }
    }

    /// Handles the end of the inner body, once everything before it is sent.
    fn take_end(mut self: Pin<&mut Self>) -> Option<Polled<B>> {
        let this = self.as_mut().project();
        let Mode::Ending(ending) = this.mode else {
            return Some(self.finish());
        };
        let stream = &mut ending.stream;
        let Some(end) = ending.end.take() else {
            return Some(self.finish());
        };
        let (bytes, last) = match end {
            End::Clean => (stream.as_mut().handle_end(BodyEnd::Clean).0, None),
            End::Trailers(trailers) => {
                let (bytes, pass_on) = stream.as_mut().handle_end(BodyEnd::Clean);
                (bytes, (pass_on == PassOn::Yes).then_some(Ok(trailers)))
            }
            End::Failed(error) => {
                let (bytes, pass_on) = stream.as_mut().handle_end(BodyEnd::Failed);
                (bytes, (pass_on == PassOn::Yes).then_some(Err(error)))
            }
            End::Last(last) => (None, Some(last)),
        };
        ending.end = last.map(End::Last);
        bytes.map(|bytes| self.send(bytes))
    }

    /// Sends bytes of a driven stream.
    #[inline]
    fn send(self: Pin<&mut Self>, bytes: Bytes) -> Polled<B> {
        match self.project().mode {
            Mode::Driven(stream) => stream.as_mut().sent(bytes.len()),
            Mode::Ending(ending) => ending.stream.as_mut().sent(bytes.len()),
            _ => {}
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// The end of a driven stream, after its trailers or its error if there are any.
    fn finish(mut self: Pin<&mut Self>) -> Polled<B> {
        let last = match self.as_mut().project().mode {
            Mode::Ending(ending) => ending.end.take(),
            _ => None,
        };
        let last = match last {
            Some(End::Last(last)) => Some(last),
            Some(End::Clean | End::Trailers(_) | End::Failed(_)) | None => None,
        };
        self.end();
        Poll::Ready(last)
    }
}

/// What is to be done next for a driven body.
#[derive(Debug)]
enum Step<E> {
    Send(Bytes),
    Again,
    /// The inner body has ended. Its end waits until everything that came before it is sent.
    KeepEnd(End<E>),
    Wait,
    /// The engine has to handle the end of the body.
    TakeEnd,
    Finish,
}

#[inline]
fn next_step<B>(
    mut stream: Pin<&mut Stream>,
    mut inner: Pin<&mut Option<B>>,
    cx: &mut Context<'_>,
    polled: Option<Polled<B>>,
) -> Step<B::Error>
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
        match inner.as_mut().as_pin_mut() {
            Some(body) => body.poll_frame(cx),
            None => return Step::TakeEnd,
        }
    };
    let end = match polled {
        Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
            Ok(chunk) => {
                return stream.as_mut().handle_data(chunk).map_or(Step::Again, Step::Send);
            }
            Err(trailers) => End::Trailers(trailers),
        },
        Poll::Ready(Some(Err(error))) => End::Failed(error),
        Poll::Ready(None) => End::Clean,
        Poll::Pending => {
            return match stream.as_mut().poll_wait(cx) {
                Poll::Ready(bytes) => bytes.map_or(Step::Again, Step::Send),
                Poll::Pending => Step::Wait,
            };
        }
    };
    inner.set(None);
    Step::KeepEnd(end)
}

/// Polls the inner body, and has the stream end with an error if that panics.
#[inline]
fn poll_guarded<B>(body: Pin<&mut B>, stream: Pin<&mut Stream>, cx: &mut Context<'_>) -> Polled<B>
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
struct AbortOnPanic<'a>(Pin<&'a mut Stream>);

impl Drop for AbortOnPanic<'_> {
    fn drop(&mut self) {
        self.0.as_mut().abort();
    }
}

/// How many chunks one poll takes if nothing of them can be sent.
const ROUNDS: usize = 32;
