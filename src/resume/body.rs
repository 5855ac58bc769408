//! The body of what a layer answers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::reader::Reader;
use crate::event_log::{EventLog, MemoryLog};

pin_project! {
    /// The body of what a [`ResumeLayer`](super::ResumeLayer) answers: a stream out of the log, or
    /// what the service inside answered.
    ///
    /// When a stream's body is dropped before its end the stream goes on, and waits for its client.
    pub struct ResumeBody<B, L: EventLog = MemoryLog> {
        #[pin]
        kind: Kind<B, L>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B, L: EventLog> {
        Plain { #[pin] body: B },
        Read { reader: Reader<L> },
        Said { bytes: Bytes },
    }
}

impl<B, L: EventLog> ResumeBody<B, L> {
    pub(super) fn plain(body: B) -> Self {
        Self { kind: Kind::Plain { body } }
    }

    pub(super) fn read(reader: Reader<L>) -> Self {
        Self { kind: Kind::Read { reader } }
    }

    pub(super) fn said(bytes: Bytes) -> Self {
        Self { kind: Kind::Said { bytes } }
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
            KindProj::Plain { body } => body.poll_frame(cx),
            KindProj::Read { reader } => {
                reader.poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
            }
            KindProj::Said { bytes } => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Plain { body } => body.is_end_stream(),
            Kind::Read { reader } => reader.is_over(),
            Kind::Said { bytes } => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Plain { body } => body.size_hint(),
            Kind::Read { .. } => SizeHint::default(),
            Kind::Said { bytes } => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

impl<B, L: EventLog> fmt::Debug for ResumeBody<B, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Plain { .. } => "plain",
            Kind::Read { .. } => "resumable",
            Kind::Said { .. } => "said",
        };
        f.debug_struct("ResumeBody").field("kind", &kind).finish_non_exhaustive()
    }
}
