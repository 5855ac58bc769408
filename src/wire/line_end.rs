//! The three ways in which a line may end.

use std::sync::OnceLock;

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

/// What is made once for each line end, when it is first asked for.
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
