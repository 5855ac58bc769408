//! The body of short responses that the crate makes itself.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a short response of this crate's own: that of [`Readiness`](crate::Readiness), of
/// [`PreStop`](crate::PreStop) and of the scripts of [`client`](crate::client).
#[derive(Debug)]
pub struct StaticBody(Bytes);

impl StaticBody {
    /// Text that is part of the program.
    pub(crate) fn of(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }
}

impl From<String> for StaticBody {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Body for StaticBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = std::mem::take(&mut self.0);
        Poll::Ready((!text.is_empty()).then(|| Ok(Frame::data(text))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
