//! What a client is told of why the server ends its stream.

use super::EndReason;
use crate::wire::Event;

/// Why the server ends a stream, as its client is told; finer than the stream's [`EndReason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    Shutdown,
    Kicked,
    /// A newer stream of the same key has its slot.
    Replaced,
    Rotated,
    Expired,
    Idle,
    Error,
    /// The stream's body came to its own end.
    #[allow(dead_code)]
    Finished,
}

impl CloseReason {
    /// The reason under which the stream is counted.
    pub(crate) const fn end_reason(self) -> EndReason {
        match self {
            Self::Shutdown => EndReason::Closed,
            Self::Kicked | Self::Replaced => EndReason::Kicked,
            Self::Rotated | Self::Expired | Self::Idle => EndReason::Rotated,
            Self::Error => EndReason::Error,
            Self::Finished => EndReason::Finished,
        }
    }

    /// The event of this name that says so.
    pub(super) fn event(self, name: &'static str) -> Event {
        Event::new().named(name).said(match self {
            Self::Shutdown => r#"{"reason":"shutdown"}"#,
            Self::Kicked => r#"{"reason":"kicked"}"#,
            Self::Replaced => r#"{"reason":"replaced"}"#,
            Self::Rotated => r#"{"reason":"rotated"}"#,
            Self::Expired => r#"{"reason":"expired"}"#,
            Self::Idle => r#"{"reason":"idle"}"#,
            Self::Error => r#"{"reason":"error"}"#,
            Self::Finished => r#"{"reason":"finished"}"#,
        })
    }
}
