//! Which stream a request is for, and who asks.

/// Which stream a request is for, and who asks.
///
/// Both are part of every look-up: a client gets nothing but what was made for the same stream and
/// the same principal. The principal is what the application knows of who asks, such as the user of
/// the session; where nobody is known, take what only this client has. With one principal for all,
/// an id alone opens a stream, to whoever has seen it.
///
/// A stream's name may come from the request, such as its path. Together they may have 160 bytes; a
/// request with a longer key gets a stream that it cannot come back to.
///
/// # Examples
///
/// ```
/// use tower_sse::resume::ResumeKey;
///
/// let key = ResumeKey::new("answers/42", "user-7");
/// let same: ResumeKey = ("answers/42", "user-7").into();
/// assert_eq!(key, same);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ResumeKey(Box<str>);

impl ResumeKey {
    /// The key of a stream and a principal.
    #[must_use]
    pub fn new(stream: impl AsRef<str>, principal: impl AsRef<str>) -> Self {
        let (stream, principal) = (stream.as_ref(), principal.as_ref());
        // With its length, so that no two pairs are written alike.
        Self(format!("{}:{principal}{stream}", principal.len()).into())
    }

    /// As one text, if it is short enough.
    pub(super) fn into_text(self) -> Option<Box<str>> {
        Some(self.0).filter(|text| text.len() <= LONGEST)
    }
}

impl<S: AsRef<str>, P: AsRef<str>> From<(S, P)> for ResumeKey {
    fn from((stream, principal): (S, P)) -> Self {
        Self::new(stream, principal)
    }
}

/// Principals stay out of logs.
impl std::fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResumeKey").finish_non_exhaustive()
    }
}

/// It is kept for each stream, and its encoding has to fit into the name of a topic. The last four
/// are for the length in front.
const LONGEST: usize = 160 + "160:".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_pairs_have_the_same_key() {
        let pairs =
            [("a", "bc"), ("ab", "c"), ("", "abc"), ("abc", ""), ("b1:", "x"), ("", "xb1:")];
        for (at, one) in pairs.iter().enumerate() {
            for other in &pairs[at + 1..] {
                assert_ne!(ResumeKey::from(*one), ResumeKey::from(*other));
            }
        }
    }

    #[test]
    fn keys_are_bounded() {
        assert!(ResumeKey::new("x".repeat(100), "y".repeat(60)).into_text().is_some());
        assert!(ResumeKey::new("x".repeat(200), "").into_text().is_none());
    }
}
