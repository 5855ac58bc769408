//! The framing of a body, by its content type, and how text is written into it.

use std::sync::OnceLock;

use super::Protocol;

/// How events are found in the bytes of a body.
///
/// The only list of content types that are streams. A new framing needs a variant here and a
/// scanner; the callers of the engine stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// [Server-Sent Events](https://html.spec.whatwg.org/multipage/server-sent-events.html).
    Sse,
    /// A JSON value on each line: [NDJSON](https://github.com/ndjson/ndjson-spec), which is
    /// [JSON Lines](https://jsonlines.org) by another name.
    JsonLines,
    /// [JSON text sequences](https://www.rfc-editor.org/rfc/rfc7464): each value begins with a
    /// record separator and ends with a line end.
    JsonSequence,
    /// Messages with their length before them, and a status at the end.
    Calls(Protocol),
}

impl Framing {
    /// The framing of a body with this `Content-Type`. None if the body is no stream.
    pub(crate) fn of(content_type: &[u8]) -> Option<Self> {
        let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
        let essence = content_type[..end].trim_ascii();
        let known = |(name, _): &&(&[u8], Self)| essence.eq_ignore_ascii_case(name);
        let framing = CONTENT_TYPES.iter().find(known).map(|(_, framing)| *framing);
        framing.or_else(|| Protocol::of(essence).map(Self::Calls))
    }
}

#[rustfmt::skip]
const CONTENT_TYPES: &[(&[u8], Framing)] = &[
    (b"text/event-stream",         Framing::Sse),
    (b"application/x-ndjson",      Framing::JsonLines),
    (b"application/ndjson",        Framing::JsonLines),
    (b"application/jsonl",         Framing::JsonLines),
    (b"application/x-jsonl",       Framing::JsonLines),
    (b"application/jsonlines",     Framing::JsonLines),
    (b"application/x-jsonlines",   Framing::JsonLines),
    (b"application/stream+json",   Framing::JsonLines),
    (b"application/json-seq",      Framing::JsonSequence),
];

/// How the text of the server is written into a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    /// As events and comments, with lines that end so.
    Events(LineEnd),
    /// As JSON values, one a line.
    Lines,
    /// As JSON values, each after a record separator.
    Records,
    /// Not at all: only the status at the end is the server's to give.
    Status(Protocol),
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
