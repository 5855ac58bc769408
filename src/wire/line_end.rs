//! The three ways in which a line may end.

/// How the lines of a stream end.
///
/// [The format] allows all three, mixed. Lines that are added to a stream end the way its own
/// lines do, since some clients split on `\n\n` or `\r\n\r\n` instead of reading lines.
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
    /// Every kind, in the order of its discriminant: tables by line end are indexed with it.
    pub(crate) const ALL: [Self; 3] = [Self::Lf, Self::CrLf, Self::Cr];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
            Self::Cr => "\r",
        }
    }
}
