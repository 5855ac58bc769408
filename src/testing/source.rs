//! A body that a test feeds.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body::{Body, Frame};
use tokio::sync::mpsc;

/// Feeds a [`SourceBody`].
///
/// The body ends when all clones of its source are dropped. What is sent to a body that is dropped
/// is lost.
#[derive(Clone, Debug)]
pub struct Source(mpsc::UnboundedSender<Result<Bytes, SourceError>>);

/// A body that gives what its [`Source`] sends, in the same chunks.
#[derive(Debug)]
pub struct SourceBody(mpsc::UnboundedReceiver<Result<Bytes, SourceError>>);

/// The error of a body whose source [fails](Source::fail).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourceError;

impl Source {
    /// A source and its body.
    #[must_use]
    pub fn new() -> (Self, SourceBody) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), SourceBody(receiver))
    }

    /// Has the body give these bytes as one chunk.
    pub fn send(&self, chunk: impl Into<Bytes>) {
        let _ = self.0.send(Ok(chunk.into()));
    }

    /// Has the body fail, after what was sent before.
    pub fn fail(&self) {
        let _ = self.0.send(Err(SourceError));
    }

    /// Whether the body was dropped.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.0.is_closed()
    }
}

impl SourceBody {
    /// A response of the type `text/event-stream` with this body.
    #[must_use]
    pub fn into_response(self) -> Response<Self> {
        let mut response = Response::new(self);
        let content_type = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

impl Body for SourceBody {
    type Data = Bytes;
    type Error = SourceError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, SourceError>>> {
        self.0.poll_recv(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the source of the body failed")
    }
}

impl Error for SourceError {}
