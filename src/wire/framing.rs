//! Which framing a body has, told by its content type.

/// How events are found in the bytes of a body.
///
/// The one place that knows which content types are streams. A further framing is a variant here
/// and a scanner behind it; who calls the engine does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// [Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
    Sse,
}

impl Framing {
    /// The framing of a body with this `Content-Type`, if it is a stream's.
    pub(crate) fn of(content_type: &[u8]) -> Option<Self> {
        let essence = content_type.split(|&byte| byte == b';').next()?;
        essence.trim_ascii().eq_ignore_ascii_case(Self::SSE).then_some(Self::Sse)
    }

    /// The content type of event streams, without parameters.
    pub(crate) const SSE: &[u8] = b"text/event-stream";
}
