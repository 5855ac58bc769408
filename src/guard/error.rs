//! The error of a connection that was given up.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a [guarded](crate::Shutdown::guard) connection was given up.
///
/// It is inside an [`io::Error`] of the kind [`TimedOut`](io::ErrorKind::TimedOut), which servers
/// wrap in errors of their own.
///
/// # Examples
///
/// ```
/// use std::error::Error;
/// use tower_sse::GuardError;
///
/// /// Whether a server's error about a connection has this cause.
/// fn is_stalled(mut error: &(dyn Error + 'static)) -> bool {
///     loop {
///         // The source of an `io::Error` is not the error inside it, but the source of that.
///         let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
///         if let Some(cause) = held.and_then(|held| held.downcast_ref::<GuardError>()) {
///             return cause.is_stalled();
///         }
///         match error.source() {
///             Some(source) => error = source,
///             None => return false,
///         }
///     }
/// }
/// # assert!(!is_stalled(&std::io::Error::other("another")));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardError(Cause);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Stalled(Duration),
    Deadline,
}

impl GuardError {
    pub(super) const fn stalled(limit: Duration) -> Self {
        Self(Cause::Stalled(limit))
    }

    pub(super) const fn deadline() -> Self {
        Self(Cause::Deadline)
    }

    /// Whether the client took nothing for the
    /// [stall limit](crate::ShutdownBuilder::stall_limit).
    #[must_use]
    pub const fn is_stalled(&self) -> bool {
        matches!(self.0, Cause::Stalled(_))
    }

    /// Whether the [deadline](crate::ShutdownBuilder::deadline) of a drain had passed.
    #[must_use]
    pub const fn is_deadline(&self) -> bool {
        matches!(self.0, Cause::Deadline)
    }
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cause::Stalled(limit) => write!(f, "the client took nothing for {limit:?}"),
            Cause::Deadline => f.write_str("the deadline of the shutdown has passed"),
        }
    }
}

impl Error for GuardError {}

impl From<GuardError> for io::Error {
    fn from(error: GuardError) -> Self {
        Self::new(io::ErrorKind::TimedOut, error)
    }
}
