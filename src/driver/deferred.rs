//! Calls of gRPC whose answer may be a stream, or may be one message.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Stream, StreamLink};
use crate::engine::{Framing, Scanner, Status};

/// An answer that passes as it is until it turns out to be a stream.
///
/// Unary calls have the content type of streams. An answer is a stream as soon as it has to be
/// waited for, or when a second message begins. Until then nothing is done for it, so a unary call
/// is not registered, does not count against limits, and is not ended.
pub(crate) struct Deferred {
    link: Arc<StreamLink>,
    answer: Answer,
    begin: Option<Box<Begin>>,
}

type Begin = dyn FnOnce(Scanner) -> Begun + Send + Sync;

/// The stream, or the status with which it is refused.
pub(crate) type Begun = Result<Stream, Status>;

impl Deferred {
    /// `begin` makes the stream. It gets what was read of the body.
    pub(crate) fn new<F>(link: Arc<StreamLink>, begin: F) -> Self
    where
        F: FnOnce(Scanner) -> Begun + Send + Sync + 'static,
    {
        Self { link, answer: Answer::default(), begin: Some(Box::new(begin)) }
    }

    pub(crate) fn link(&self) -> &Arc<StreamLink> {
        &self.link
    }

    /// Reads the next bytes. True if the answer is a stream, which gets these bytes then.
    pub(crate) fn read(&mut self, data: &Bytes) -> bool {
        let before = self.answer.clone();
        let is_stream = self.answer.read(data);
        if is_stream {
            self.answer = before;
        }
        is_stream
    }

    /// Makes the stream, for what comes after the bytes that have passed.
    pub(crate) fn begin(&mut self) -> Option<Begun> {
        let scanner = std::mem::take(&mut self.answer).scanner;
        self.begin.take().map(|begin| begin(scanner))
    }
}

/// What was read of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    scanner: Scanner,
    messages: usize,
}

impl Answer {
    /// Reads the next bytes. True if a second message has begun.
    pub(crate) fn read(&mut self, data: &Bytes) -> bool {
        self.messages = self.messages.saturating_add(self.scanner.read(data));
        self.messages > usize::from(self.scanner.on_boundary())
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self { scanner: Scanner::new(Framing::Grpc), messages: 0 }
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
