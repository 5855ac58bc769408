//! The framing of a body, by its content type, and the line ends of its text.

use std::sync::OnceLock;

/// How events are found in the bytes of a body.
///
/// The only list of content types that are streams. A new framing needs a variant here and a
/// scanner; the callers of the engine stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// [Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
    Sse,
}

impl Framing {
    /// The framing of a body with this `Content-Type`. None if the body is no stream.
    pub(crate) fn of(content_type: &[u8]) -> Option<Self> {
        let essence = content_type.split(|&byte| byte == b';').next()?;
        essence.trim_ascii().eq_ignore_ascii_case(Self::SSE).then_some(Self::Sse)
    }

    /// The content type of event streams, without parameters.
    pub(crate) const SSE: &[u8] = b"text/event-stream";
}

/// How the lines of a stream end.
///
/// [The format] allows all three, mixed. Lines that are added to a stream end as the stream's own
/// lines do, because some clients split on `\n\n` or `\r\n\r\n` instead of reading lines.
///
/// [The format]: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LineEnd {
    #[default]
    Lf,
    CrLf,
    Cr,
}

impl LineEnd {
    /// Each line end at the index that its discriminant is: tables by line end are indexed with it.
    pub(crate) const ALL: [Self; 3] = [Self::Lf, Self::CrLf, Self::Cr];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
            Self::Cr => "\r",
        }
    }
}

/// A value for each line end, made when it is first needed.
#[derive(Debug)]
pub(crate) struct ByLineEnd<T>([OnceLock<T>; LineEnd::ALL.len()]);

impl<T> ByLineEnd<T> {
    pub(crate) fn get(&self, end: LineEnd, make: impl FnOnce() -> T) -> &T {
        self.0[end as usize].get_or_init(make)
    }
}

impl<T> Default for ByLineEnd<T> {
    fn default() -> Self {
        Self([OnceLock::new(), OnceLock::new(), OnceLock::new()])
    }
}
