//! A head's claim that a body carries a stream of this crate.

use std::fmt;
use std::sync::{Arc, Weak};
use std::task::Poll;

use bytes::Bytes;
use http_body::Frame;

use super::{Stream, StreamLink};
use crate::engine::{Framing, Scanner, blank_at_end};

/// A head's claim that a body carries a stream of this crate, where the body does not tell.
///
/// Middleware that wraps a body keeps its head, and so may a handler that puts another body under
/// it. The claim holds while the stream is polled with the body. It is wrong if the body goes on
/// without the stream: then another stream has to look after the rest, from the next boundary on.
pub(crate) struct Claim {
    link: Weak<StreamLink>,
    replace: Option<Box<Replace>>,
    /// The body went on without the stream.
    is_wrong: bool,
    /// How many bytes may still come of what the body held back of a stream that is over.
    held_back: usize,
    /// Bytes have passed.
    passed: bool,
    /// They ended with a whole event or a comment.
    on_boundary: bool,
    /// Reads what passes, where the last bytes of a chunk do not tell.
    scanner: Option<Scanner>,
}

type Replace = dyn FnOnce(bool) -> Replacement + Send + Sync;

type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

/// The stream for the rest of a body, or the whole of the rest if the stream is refused.
pub(crate) type Replacement = Result<Stream, (Bytes, Arc<StreamLink>)>;

/// What comes of a poll.
#[derive(Debug)]
pub(crate) enum ClaimedPoll<E> {
    /// What the body gives.
    Body(Polled<E>),
    /// The claim is wrong, and this takes its place.
    Replaced(Replacement),
}

impl Claim {
    /// `replace` makes the other stream. It gets whether bytes have passed.
    pub(crate) fn new<F>(link: &Arc<StreamLink>, framing: Framing, replace: F) -> Self
    where
        F: FnOnce(bool) -> Replacement + Send + Sync + 'static,
    {
        Self {
            link: Arc::downgrade(link),
            replace: Some(Box::new(replace)),
            is_wrong: false,
            held_back: 0,
            passed: false,
            on_boundary: true,
            scanner: (framing != Framing::Sse).then(|| Scanner::new(framing)),
        }
    }

    /// The link of the stream, if that is not over.
    pub(crate) fn link(&self) -> Option<Arc<StreamLink>> {
        self.link.upgrade()
    }

    /// Polls the body and checks the claim.
    pub(crate) fn poll<E>(&mut self, poll: impl FnOnce() -> Polled<E>) -> ClaimedPoll<E> {
        if let Some(replacement) = self.replacement() {
            return ClaimedPoll::Replaced(replacement);
        }
        let polled = self.check(poll);
        // A frame leaves first.
        match polled.is_pending().then(|| self.replacement()).flatten() {
            Some(replacement) => ClaimedPoll::Replaced(replacement),
            None => ClaimedPoll::Body(polled),
        }
    }

    fn check<E>(&mut self, poll: impl FnOnce() -> Polled<E>) -> Polled<E> {
        let was_over = self.link().is_none();
        let polled = poll();
        let is_unopened = self.link().map(|link| link.is_unopened());
        match (is_unopened, was_over) {
            // With its last frame the stream may be over.
            (Some(false), _) | (None, false) => self.held_back = MAX_HELD_BACK,
            (Some(true), _) | (None, true) => {}
        }
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                self.is_wrong = is_unopened.unwrap_or(was_over && self.is_another(len));
                self.note(frame.data_ref());
            }
            Poll::Ready(_) => self.is_wrong = false,
            Poll::Pending => self.is_wrong = is_unopened != Some(false),
        }
        polled
    }

    /// Whether so many bytes more are those of another stream.
    fn is_another(&mut self, len: usize) -> bool {
        let left = self.held_back.checked_sub(len.max(1));
        self.held_back = left.unwrap_or_default();
        left.is_none()
    }

    fn note(&mut self, data: Option<&Bytes>) {
        let Some(data) = data.filter(|data| !data.is_empty()) else {
            return;
        };
        self.passed = true;
        if let Some(scanner) = &mut self.scanner {
            scanner.read(data);
            self.on_boundary = scanner.on_boundary();
            return;
        }
        let is_comment = self.on_boundary && is_comment(data);
        self.on_boundary = is_comment || blank_at_end(data).is_some();
    }

    /// Makes the other stream, if the claim is wrong and the body is on a boundary.
    fn replacement(&mut self) -> Option<Replacement> {
        let replace = self.replace.take_if(|_| self.is_wrong && self.on_boundary)?;
        Some(replace(self.passed))
    }
}

/// Whether these bytes are one comment.
fn is_comment(data: &[u8]) -> bool {
    let line = data.strip_suffix(b"\n").filter(|line| line.starts_with(b":"));
    let line = line.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    line.is_some_and(|line| memchr::memchr2(b'\n', b'\r', line).is_none())
}

/// Middleware that cuts frames in pieces holds the last ones back when the stream is over. This is
/// as much as it has at a time, and far less than another stream has that never waits.
const MAX_HELD_BACK: usize = 1024 * 1024;

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").finish_non_exhaustive()
    }
}
