//! The reasons that streams end for, in the words that their clients get.

use std::fmt;

use bytes::Bytes;

use super::Event;

/// Why a stream ends or is refused, in the word that its client gets.
///
/// The close event of an `EventSource` has it as JSON: `{"reason":"shutdown"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The server shuts down.
    Shutdown,
    /// The application closed the stream with [`Registry::close`](crate::Registry::close).
    Kicked,
    /// A newer stream of the same key has [its place](crate::LimitBuilder::replace_oldest).
    Replaced,
    /// The stream has reached its [`max_age`](crate::RotationLayer::max_age).
    Rotated,
    /// The credential of the request [has expired](crate::Expiry).
    Expired,
    /// The stream had no event of its own [for too long](crate::RotationLayer::idle).
    Idle,
    /// The stream's own body failed, or ended in the middle of an event.
    Error,
    /// The stream's own body came to its end.
    Finished,
    /// The stream is refused, since a [`Limit`](crate::Limit) is reached.
    Limit,
    /// The stream is refused, since the server shuts down.
    Draining,
    /// The stream's own body [gave nothing](crate::KeepAliveLayer::give_up_after) for too long.
    Timeout,
    /// The application stopped the answer that clients can come back to, with `ResumeHandle::stop`.
    Stopped,
}

/// Pairs each reason with its word, which clients read, and its message, which people read.
macro_rules! reasons {
    ($($reason:ident: $word:literal, $message:literal;)*) => {
        impl CloseReason {
            /// The word for this reason, as clients get it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $word,)*
                }
            }

            /// The reason as JSON: clients read the same shape in each event that gives one.
            pub(crate) const fn json(self) -> &'static str {
                match self {
                    $(Self::$reason => concat!(r#"{"reason":""#, $word, r#""}"#),)*
                }
            }

            /// The reason in plain English.
            pub(crate) const fn message(self) -> &'static str {
                match self {
                    $(Self::$reason => $message,)*
                }
            }
        }
    };
}

reasons! {
    Shutdown: "shutdown", "the server shuts down";
    Kicked: "kicked", "the server closed the stream";
    Replaced: "replaced", "a newer stream took its place";
    Rotated: "rotated", "the stream has reached its age";
    Expired: "expired", "the credential has expired";
    Idle: "idle", "the stream was idle for too long";
    Error: "error", "the stream failed";
    Finished: "finished", "the stream is complete";
    Limit: "limit", "too many streams are open";
    Draining: "draining", "the server shuts down";
    Timeout: "timeout", "the stream gave nothing for too long";
    Stopped: "stopped", "the stream was stopped";
}

impl CloseReason {
    /// The line of JSON that tells the client this reason, with the name that the farewell has.
    pub(crate) fn json_line(self, name: &str) -> Bytes {
        Bytes::from(format!("{{\"type\":\"{name}\",\"reason\":\"{}\"}}\n", self.as_str()))
    }

    /// The event that tells the client this reason, under the name that the farewell has.
    pub(crate) fn event(self, name: &'static str) -> Event {
        Event::new().named(name).static_data(self.json())
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
