//! Errors of rejected input: settings that cannot work, and text that breaks a rule.

use std::error::Error;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The error of a setting that cannot work. It names the setting and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSetting {
    setting: &'static str,
    why: &'static str,
}

impl InvalidSetting {
    pub(crate) const fn new(setting: &'static str, why: &'static str) -> Self {
        Self { setting, why }
    }

    /// The name of the setting.
    #[must_use]
    pub const fn setting(&self) -> &str {
        self.setting
    }
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid setting `{}`: {}", self.setting, self.why)
    }
}

impl Error for InvalidSetting {}

/// Checks a range of how long clients are told to wait, for builders.
pub(crate) fn check_retry(retry: &RangeInclusive<Duration>) -> Result<(), InvalidSetting> {
    if retry.is_empty() {
        return Err(InvalidSetting::new("retry", "the range is empty"));
    }
    if *retry.start() < SHORTEST_RETRY {
        let why = "less than a millisecond brings clients back without a pause";
        return Err(InvalidSetting::new("retry", why));
    }
    Ok(())
}

/// Makes such a range valid, for layers: it begins with a millisecond at least, and does not end
/// before it begins.
pub(crate) fn clamp_retry(retry: RangeInclusive<Duration>) -> RangeInclusive<Duration> {
    let (start, end) = retry.into_inner();
    let start = start.max(SHORTEST_RETRY);
    start..=end.max(start)
}

/// With a `retry` of zero a client comes back without a pause.
const SHORTEST_RETRY: Duration = Duration::from_millis(1);

/// The error of text that breaks the rule of its type: an id, a name, a comment, a label or a
/// topic.
///
/// It names the kind of text, the rule, and the place. It does not repeat the text, so it is safe
/// to log.
///
/// # Examples
///
/// ```
/// use tower_sse::EventName;
///
/// let error = EventName::new("order\ndata: forged").unwrap_err();
/// assert_eq!(error.to_string(), "event name has a NUL, CR or LF at byte 5");
/// assert_eq!((error.kind(), error.at()), ("event name", Some(5)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidText {
    kind: &'static str,
    /// A sentence that begins with the kind.
    problem: &'static str,
    /// In bytes.
    at: Option<usize>,
}

impl InvalidText {
    /// `problem` is a sentence that begins with `kind`: a `const fn` that panics can show it, and
    /// cannot join texts.
    pub(crate) const fn new(kind: &'static str, problem: &'static str, at: Option<usize>) -> Self {
        Self { kind, problem, at }
    }

    /// The kind of text, such as `event name`.
    #[must_use]
    pub const fn kind(&self) -> &str {
        self.kind
    }

    /// The byte at which the text breaks the rule; `None` if the text as a whole does, because it
    /// is too long for example.
    #[must_use]
    pub const fn at(&self) -> Option<usize> {
        self.at
    }

    /// What is wrong, without the place.
    pub(crate) const fn problem(&self) -> &'static str {
        self.problem
    }
}

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.problem)?;
        match self.at {
            Some(at) => write!(f, " at byte {at}"),
            None => Ok(()),
        }
    }
}

impl Error for InvalidText {}
