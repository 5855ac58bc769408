//! The body of short responses that the crate makes itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a response whose text is part of the program: that of [`Readiness`](crate::Readiness)
/// and of the scripts of [`client`](crate::client).
#[derive(Debug)]
pub struct StaticBody(pub(crate) &'static str);

impl Body for StaticBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = std::mem::take(&mut self.0);
        let frame = Frame::data(Bytes::from_static(text.as_bytes()));
        Poll::Ready((!text.is_empty()).then_some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
