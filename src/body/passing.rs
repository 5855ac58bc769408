//! Polls bodies that pass as they are, some of which turn out to need a stream.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Mode, Polled, SseBody, guarded, tell};
use crate::driver::{ClaimedPoll, StreamLink};
use crate::state::Permit;

/// What is kept for a body that passes as it is.
#[derive(Debug)]
pub(super) struct Linked {
    pub(super) link: Arc<StreamLink>,
    pub(super) permit: Option<Permit>,
    pub(super) size: Size,
}

/// Whether a body that passes as it is tells its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Told,
    Untold,
}

/// An answer that was there at once.
#[derive(Debug)]
pub(crate) struct Whole<E> {
    pub(crate) frames: VecDeque<Result<Frame<Bytes>, E>>,
    /// Whether the body that it was told its size.
    pub(crate) tells_size: bool,
}

impl<E> Whole<E> {
    /// As the body had it. One that tells no size may have trailers, and HTTP/1.1 has none after a
    /// body of a known length.
    pub(super) fn size_hint(&self) -> SizeHint {
        let data = self.frames.iter().flatten().filter_map(Frame::data_ref);
        match self.tells_size || self.frames.is_empty() {
            true => SizeHint::with_exact(data.map(|data| data.len() as u64).sum()),
            false => SizeHint::default(),
        }
    }
}

impl<B> SseBody<B>
where
    B: Body<Data = Bytes>,
{
    /// Polls what is not, or not any more, an inner body that the driver works on.
    pub(super) fn poll_rarely(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled<B> {
        let mut this = self.as_mut().project();
        match this.mode {
            Mode::Driven(_) => self.poll_closely(cx, None),
            Mode::Ending(ending) => {
                let polled = ending.poll(cx);
                if !matches!(polled, Poll::Ready(Some(Ok(ref frame))) if frame.is_data()) {
                    self.end();
                }
                polled
            }
            Mode::Linked(linked) => {
                // Once no outer layer can ask for the link any more, its memory is released.
                if linked.permit.is_none() && Arc::weak_count(&linked.link) == 0 {
                    *this.mode = Mode::Plain(linked.size);
                }
                let polled = poll_inner(this.inner, cx);
                if let Poll::Ready(None) = polled {
                    self.end();
                }
                polled
            }
            Mode::Claimed(claim) => match claim.poll(|| poll_inner(this.inner.as_mut(), cx)) {
                ClaimedPoll::Body(polled) => {
                    if let Poll::Ready(None) = polled {
                        self.end();
                    }
                    polled
                }
                ClaimedPoll::Replaced(Ok(stream)) => {
                    *this.mode = Mode::Driven(Box::pin(stream));
                    self.poll_closely(cx, None)
                }
                ClaimedPoll::Replaced(Err(refusal)) => {
                    this.inner.set(None);
                    *this.mode = Mode::Once(Box::new(refusal));
                    self.poll_rarely(cx)
                }
            },
            Mode::Deferred(deferred) => {
                let polled = poll_inner(this.inner, cx);
                match deferred.begin(&polled) {
                    None => {
                        if let Poll::Ready(Some(Err(_)) | None) = polled {
                            self.end();
                        }
                        polled
                    }
                    Some(Ok(stream)) => {
                        let mut stream = Box::pin(stream);
                        // It opens before it takes what was polled. No message is sent for that,
                        // but its credential may have expired.
                        let opening = guarded(stream.as_mut(), |stream| stream.poll_output(cx));
                        *this.mode = Mode::Driven(stream);
                        if let Some(last) = opening {
                            self.end();
                            return tell(last);
                        }
                        self.poll_closely(cx, Some(polled).filter(Poll::is_ready))
                    }
                    Some(Err(last)) => {
                        self.end();
                        last.map_or(Poll::Ready(None), tell)
                    }
                }
            }
            Mode::Whole(whole) => Poll::Ready(whole.frames.pop_front()),
            Mode::Once(once) => {
                let bytes = mem::take(&mut once.0);
                once.1.open();
                self.end();
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Mode::Plain(_) | Mode::Ended => {
                self.end();
                Poll::Ready(None)
            }
        }
    }
}

fn poll_inner<B>(inner: Pin<&mut Option<B>>, cx: &mut Context<'_>) -> Polled<B>
where
    B: Body<Data = Bytes>,
{
    match inner.as_pin_mut() {
        Some(body) => body.poll_frame(cx),
        None => Poll::Ready(None),
    }
}
