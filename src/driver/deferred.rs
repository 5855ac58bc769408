//! Calls whose answer may be a stream, or may be one message.

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use super::{Stream, StreamLink};
use crate::engine::{Framing, Output, Protocol, Scanner, Status};

/// An answer that passes as it is until it turns out to be a stream.
///
/// Unary calls have the content type of streams. An answer is a stream as soon as it has to be
/// waited for, or when a second message begins. Until then nothing is done for it, so a unary call
/// is not registered, does not count against limits, and is not ended.
pub(crate) struct Deferred {
    link: Arc<StreamLink>,
    protocol: Protocol,
    answer: Answer,
    begin: Option<Box<Begin>>,
}

type Begin = dyn FnOnce(Scanner) -> Begun + Send + Sync;

/// The stream, or the status with which it is refused.
pub(crate) type Begun = Result<Stream, Status>;

impl Deferred {
    /// `begin` makes the stream. It gets what was read of the body.
    pub(crate) fn new<F>(link: Arc<StreamLink>, protocol: Protocol, begin: F) -> Self
    where
        F: FnOnce(Scanner) -> Begun + Send + Sync + 'static,
    {
        let answer = Answer::new(protocol);
        Self { link, protocol, answer, begin: Some(Box::new(begin)) }
    }

    pub(crate) fn link(&self) -> &Arc<StreamLink> {
        &self.link
    }

    /// Makes the stream if the answer is one, as what was polled tells. The stream gets what was
    /// polled. If it is refused, gives what the answer ends with, where there is a place for it.
    pub(crate) fn begin<E>(
        &mut self,
        polled: &Poll<Option<Result<Frame<Bytes>, E>>>,
    ) -> Option<Result<Stream, Option<Output>>> {
        let is_stream = match polled {
            // A whole answer has not to be waited for.
            Poll::Pending => !self.answer.is_over(),
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().is_some_and(|data| self.read(data)),
            Poll::Ready(Some(Err(_)) | None) => false,
        };
        let begin = self.begin.take_if(|_| is_stream)?;
        let scanner = self.answer.scanner.clone();
        let on_boundary = scanner.on_boundary();
        Some(begin(scanner).map_err(|status| Output::last(status, self.protocol, on_boundary)))
    }

    /// Reads the next bytes, unless they show that the answer is a stream.
    fn read(&mut self, data: &Bytes) -> bool {
        let before = self.answer.clone();
        let is_stream = self.answer.read(data);
        if is_stream {
            self.answer = before;
        }
        is_stream
    }
}

/// What was read of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    scanner: Scanner,
    messages: usize,
}

impl Answer {
    pub(crate) fn new(protocol: Protocol) -> Self {
        Self { scanner: Scanner::new(Framing::Calls(protocol)), messages: 0 }
    }

    /// Reads the next bytes. True if a second message has begun.
    pub(crate) fn read(&mut self, data: &Bytes) -> bool {
        self.messages = self.messages.saturating_add(self.scanner.read(data));
        self.messages + usize::from(self.scanner.in_message()) > 1
    }

    /// Whether the message that holds the status has come.
    pub(crate) fn is_over(&self) -> bool {
        self.scanner.is_over()
    }
}

/// The trailers that tell this status.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(3);
    for (name, value) in status.trailers() {
        // They are encoded so that they are values.
        if let Ok(value) = HeaderValue::try_from(value) {
            trailers.insert(HeaderName::from_static(name), value);
        }
    }
    trailers
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("answer", &self.answer).finish_non_exhaustive()
    }
}
