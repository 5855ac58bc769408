//! The body of a response, and the stream out of the log that most of them are.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::caught::{CaughtFollower, LogAway};
use super::ending::failure;
use super::passing::CutOff;
use super::reader::ReaderHandle;
use super::record::{Record, RecordKind, StreamSource, encode_event, encode_gap};
use super::remote::RemoteReader;
use crate::event_log::{EventLog, Gap, MemoryLog, Start, Step};
use crate::sync::Foreign;

pin_project! {
    /// The body of a response of a [`ResumeLayer`](crate::ResumeLayer): a stream out of the log, or
    /// the body of the service inside.
    ///
    /// If the body of a stream is dropped before its end, the stream goes on and waits for its
    /// client.
    pub struct ResumeBody<B, L: EventLog = MemoryLog> {
        #[pin]
        kind: ResumeBodyKind<B, L>,
    }
}

pin_project! {
    #[project = ResumeBodyKindProj]
    enum ResumeBodyKind<B, L: EventLog> {
        Plain { #[pin] body: Foreign<B> },
        Resumable { stream: ResumeStream<L> },
        Fixed { bytes: Bytes },
    }
}

impl<B, L: EventLog> ResumeBody<B, L> {
    /// The body of the service inside.
    pub(super) fn plain(body: B) -> Self {
        Self { kind: ResumeBodyKind::Plain { body: Foreign::new(body) } }
    }

    pub(super) fn resumable(stream: ResumeStream<L>) -> Self {
        Self { kind: ResumeBodyKind::Resumable { stream } }
    }

    pub(super) fn fixed(bytes: Bytes) -> Self {
        Self { kind: ResumeBodyKind::Fixed { bytes } }
    }
}

impl<B, L> Body for ResumeBody<B, L>
where
    B: Body<Data = Bytes>,
    L: EventLog,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            ResumeBodyKindProj::Plain { body } => {
                body.as_pin_mut().map_or(Poll::Ready(None), |body| body.poll_frame(cx))
            }
            ResumeBodyKindProj::Resumable { stream } => {
                stream.poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            ResumeBodyKindProj::Fixed { bytes } => {
                let bytes = mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            ResumeBodyKind::Plain { body } => body.get().is_none_or(Body::is_end_stream),
            ResumeBodyKind::Resumable { stream } => stream.has_ended(),
            ResumeBodyKind::Fixed { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            ResumeBodyKind::Plain { body } => body.get().map(Body::size_hint).unwrap_or_default(),
            ResumeBodyKind::Resumable { .. } => SizeHint::default(),
            ResumeBodyKind::Fixed { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl<B, L: EventLog> fmt::Debug for ResumeBody<B, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            ResumeBodyKind::Plain { .. } => "plain",
            ResumeBodyKind::Resumable { .. } => "resumable",
            ResumeBodyKind::Fixed { .. } => "fixed",
        };
        f.debug_struct("ResumeBody").field("kind", &kind).finish_non_exhaustive()
    }
}

/// The stream of a client, out of the log of a session.
pub(super) struct ResumeStream<L: EventLog> {
    source: StreamSource<L>,
    /// Dropped at the end, so that the log has one follower less.
    follower: Option<CaughtFollower<L::Follower>>,
    /// A step that was polled before the stream was made.
    first: Option<Step>,
    /// None for a session of another node.
    reader: Option<ReaderHandle<L>>,
    /// For a session of another node.
    remote: Option<RemoteReader<L>>,
    /// Whether the client is to have the session's first event, and has had none yet.
    expects_first: bool,
    /// Whether the rest is passed beside the log.
    is_passed: bool,
    /// The number of the last event that was sent.
    sent: u64,
    /// A gap after which the log of an ended session had nothing, while the log is asked again.
    pending_gap: Option<Gap>,
}

impl<L: EventLog> ResumeStream<L> {
    /// The events of a session of this process, from a position on.
    pub(super) fn new(source: StreamSource<L>, from: Start, reader: ReaderHandle<L>) -> Self {
        Self { reader: Some(reader), ..Self::of(source, from) }
    }

    /// The events of a session of another node, from a position on.
    pub(super) fn elsewhere(source: StreamSource<L>, from: Start, reader: RemoteReader<L>) -> Self {
        Self { remote: Some(reader), ..Self::of(source, from) }
    }

    fn of(source: StreamSource<L>, from: Start) -> Self {
        let expects_first = from == Start::Earliest;
        let follower = Some(source.follow(from));
        Self {
            source,
            follower,
            first: None,
            reader: None,
            remote: None,
            expects_first,
            is_passed: false,
            sent: 0,
            pending_gap: None,
        }
    }

    /// The first step, which the stream goes on to return, if the log has it at once.
    pub(super) fn peek(&mut self) -> Option<&Step> {
        if let (None, Some(follower)) = (&self.first, &mut self.follower) {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(Ok(step)) = follower.poll_next(&mut cx) {
                self.first = step;
            }
        }
        self.first.as_ref()
    }

    /// Whether the log has not panicked.
    pub(super) fn has_follower(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| !follower.is_over())
    }

    fn has_ended(&self) -> bool {
        self.follower.is_none()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_passed {
            return self.poll_passed(cx);
        }
        for _ in 0..MAX_SKIPPED_PER_POLL {
            let Some(follower) = &mut self.follower else {
                return Poll::Ready(None);
            };
            let next = match self.first.take() {
                Some(step) => Poll::Ready(Ok(Some(step))),
                None => follower.poll_next(cx),
            };
            match next {
                Poll::Ready(Ok(Some(Step::Event(event)))) => {
                    let Some((Record { kind, progress }, rest)) = Record::split(&event) else {
                        // Another writer's event.
                        continue;
                    };
                    match kind {
                        // Stored twice.
                        RecordKind::Event if progress.events <= self.sent => {}
                        RecordKind::Event if self.expects_first && progress.events > 1 => {
                            // The log has lost the beginning, which is to be said.
                            self.expects_first = false;
                            self.follower = Some(self.source.follow(Start::Unknown));
                        }
                        RecordKind::Event => {
                            self.expects_first = false;
                            self.sent = progress.events;
                            if let Some(reader) = &self.reader {
                                reader.took(progress);
                            }
                            if let Some(reader) = &mut self.remote {
                                reader.took(progress, event.id());
                            }
                            return Poll::Ready(Some(encode_event(
                                &event,
                                &rest,
                                &self.source.token,
                            )));
                        }
                        RecordKind::Abandoned if self.is_passed() => return self.poll_passed(cx),
                        RecordKind::Abandoned => return self.fail(),
                        kind if kind.is_end() => return self.end(None),
                        _ => {}
                    }
                }
                Poll::Ready(Ok(Some(Step::Gap(gap)))) => {
                    if let Some(sent) = self.pass_gap(gap) {
                        return sent;
                    }
                }
                Poll::Ready(Ok(None)) => return self.end(None),
                Poll::Ready(Err(LogAway)) => return self.fail(),
                Poll::Pending => {
                    if let Some(reader) = &self.reader {
                        reader.found_nothing();
                    }
                    let is_lost =
                        self.reader.as_ref().is_some_and(|reader| reader.is_lost(cx.waker()));
                    let has_died =
                        self.remote.as_mut().is_some_and(|reader| reader.poll_died(cx).is_ready());
                    if is_lost || has_died {
                        return self.fail();
                    }
                    // After the waker was registered.
                    return if self.is_passed() { self.poll_passed(cx) } else { Poll::Pending };
                }
            }
        }
        // More events may be ready: other tasks have their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the reader has all of the log, and what follows is passed beside it.
    fn is_passed(&self) -> bool {
        self.reader.as_ref().is_some_and(ReaderHandle::is_passed)
    }

    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.is_passed = true;
        let Some(reader) = &self.reader else {
            return self.end(None);
        };
        match ready!(reader.poll_passed(cx)) {
            Some(Ok(chunk)) => Poll::Ready(Some(chunk)),
            Some(Err(CutOff)) => self.fail(),
            None => self.end(None),
        }
    }

    /// Returns the event `gap`, or None if the log has to be asked again first.
    ///
    /// If the log has nothing after the gap, it may have lost the end of the session. The end is
    /// never written again, so the stream must not wait for it. But the end may also be written
    /// between the gap and this call. So the log is asked again, and if it still has nothing, the
    /// end is lost.
    fn pass_gap(&mut self, mut gap: Gap) -> Option<Poll<Option<Bytes>>> {
        let pending = self.pending_gap.take();
        if let Some(reader) = self.reader.as_ref().filter(|_| gap.earliest.is_none()) {
            reader.found_empty();
            let last_id = reader.session.last_id_of_ended();
            if let (None, Some(_)) = (&pending, &last_id) {
                self.follower = Some(self.source.follow(Start::Unknown));
                self.pending_gap = Some(gap);
                return None;
            }
            if let (Some(pending), Some(last_id)) = (&pending, last_id) {
                (gap.requested, gap.position) = (pending.requested.clone(), last_id);
                return Some(self.end(Some(encode_gap(gap, &self.source.token))));
            }
        }
        if let Some(pending) = pending {
            gap.requested = pending.requested;
        }
        Some(Poll::Ready(Some(encode_gap(gap, &self.source.token))))
    }

    fn fail(&mut self) -> Poll<Option<Bytes>> {
        let last = failure(&self.source.dialect);
        self.end(Some(last))
    }

    fn end(&mut self, last: Option<Bytes>) -> Poll<Option<Bytes>> {
        (self.follower, self.reader, self.remote) = (None, None, None);
        Poll::Ready(last)
    }
}

/// Events that are not for the client must not keep the thread.
const MAX_SKIPPED_PER_POLL: u32 = 64;
