//! A stream whose inner body has ended, until everything is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::{PolledFrame, guarded, send, tell};
use crate::driver::{BodyEnd, Output, PassOn, Stream};

/// How an inner body ended.
#[derive(Debug)]
pub(super) enum End<E> {
    Clean,
    Trailers(Frame<Bytes>),
    Failed(E),
    /// The engine has handled the end. This is to be passed on after all frames.
    Last(Result<Frame<Bytes>, E>),
}

/// A stream whose inner body has ended.
#[derive(Debug)]
pub(super) struct Ending<E> {
    stream: Pin<Box<Stream>>,
    /// How the body ended, until everything that came before its end is sent.
    end: Option<End<E>>,
}

impl<E> Ending<E> {
    pub(super) fn new(stream: Pin<Box<Stream>>, end: End<E>) -> Self {
        Self { stream, end: Some(end) }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Whether nothing is left to send.
    pub(super) fn is_over(&self) -> bool {
        self.stream.ended().is_some() && self.end.is_none()
    }

    /// The frames that are left, then the trailers or the error if they have to be passed on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> PolledFrame<E> {
        let Self { stream, end } = self;
        let mut output = guarded(stream.as_mut(), |stream| stream.poll_output(cx));
        if output.is_none() && stream.ended().is_none() {
            // Everything that came before the end is sent.
            let bytes = guarded(stream.as_mut(), |stream| take_end(stream, end));
            output = match bytes {
                Some(bytes) => Some(Output::Frame(bytes)),
                None => guarded(stream.as_mut(), |stream| stream.poll_output(cx)),
            };
        }
        match output {
            Some(Output::Frame(bytes)) => send(stream.as_mut(), bytes),
            Some(last @ Output::Status(_)) => tell(last),
            None => match end.take() {
                Some(End::Last(last)) => Poll::Ready(Some(last)),
                Some(End::Clean | End::Trailers(_) | End::Failed(_)) | None => Poll::Ready(None),
            },
        }
    }
}

/// Has the engine handle the end of the inner body, and leaves in `end` what is to be passed on.
fn take_end<E>(stream: Pin<&mut Stream>, end: &mut Option<End<E>>) -> Option<Bytes> {
    let (how, last) = match end.take()? {
        End::Clean => (BodyEnd::Clean, None),
        End::Trailers(trailers) => (BodyEnd::Clean, Some(Ok(trailers))),
        End::Failed(error) => (BodyEnd::Failed, Some(Err(error))),
        End::Last(last) => {
            *end = Some(End::Last(last));
            return None;
        }
    };
    let (bytes, pass_on) = stream.handle_end(how);
    *end = last.filter(|_| pass_on == PassOn::Yes).map(End::Last);
    bytes
}
