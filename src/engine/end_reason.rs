//! Why a stream ended.

use std::fmt;

use crate::wire::CloseReason;

/// Why a stream ended. Each stream has one reason. Hooks, reports, metrics and logs use these
/// words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The stream's own body ended, after a whole event.
    Finished,
    /// The body was dropped before its end: the client went away.
    ClientGone,
    /// A drain ended it, with its farewell.
    Closed,
    /// The application ended it with [`Registry::close`](crate::Registry::close) or
    /// [`close_where`](crate::Registry::close_where), or a newer stream
    /// [took its place](crate::LimitBuilder::replace_oldest).
    Kicked,
    /// A [`RotationLayer`](crate::RotationLayer) ended it: it was too old or idle, or its
    /// [`Expiry`](crate::Expiry) had passed. The farewell says which.
    Rotated,
    /// Its client did not take what was sent, for the
    /// [stall limit](crate::ShutdownBuilder::stall_limit) or until a drain's deadline, and the
    /// connection was given up.
    Stalled,
    /// Its own body failed, panicked, ended in the middle of an event, or gave nothing
    /// [for too long](crate::KeepAliveLayer::give_up_after).
    Error,
    /// It ended in the middle of an event that was too long to hold, so without a farewell.
    Cut,
}

impl EndReason {
    /// Every reason, in the order of [`index`](Self::index).
    pub(crate) const ALL: [Self; 8] = [
        Self::Finished,
        Self::ClientGone,
        Self::Closed,
        Self::Kicked,
        Self::Rotated,
        Self::Stalled,
        Self::Error,
        Self::Cut,
    ];

    /// The index of this reason in a table with one entry for each reason.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// The word for this reason in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientGone => "client_gone",
            Self::Closed => "closed",
            Self::Kicked => "kicked",
            Self::Rotated => "rotated",
            Self::Stalled => "stalled",
            Self::Error => "error",
            Self::Cut => "cut",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl CloseReason {
    /// The reason under which a stream is counted that was closed for this reason.
    pub(crate) const fn end_reason(self) -> EndReason {
        match self {
            // The last two refuse a stream, which then does not begin.
            Self::Shutdown | Self::Limit | Self::Draining => EndReason::Closed,
            // The last ends what a stream is read from, which is no stream of an engine.
            Self::Kicked | Self::Replaced | Self::Stopped => EndReason::Kicked,
            Self::Rotated | Self::Expired | Self::Idle => EndReason::Rotated,
            Self::Error | Self::Timeout => EndReason::Error,
            Self::Finished => EndReason::Finished,
        }
    }
}
