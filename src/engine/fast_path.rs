//! How the next chunk of a stream is taken.

use crate::wire::Scanner;

/// What has to be done before the body is polled, or how much work its next chunk needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastPath {
    /// Nothing waits, and a chunk of whole messages passes: `Engine::pass` is enough.
    Messages,
    /// The same for whole lines of JSON.
    Lines,
    /// The same for whole events, as the blank line at the end of a chunk tells.
    Events,
    /// Like `Events`, but a timeout may be due, or each frame is counted.
    WatchedEvents,
    /// Like `Messages` or `Lines`, but a timeout may be due, or each frame is counted.
    Watched,
    /// Events are given ids.
    Numbered,
    /// Every byte is scanned.
    Scan,
    /// Frames wait for `Engine::poll_output`.
    Queued,
    /// A farewell has waited for the boundary on which the stream is now: once all output is sent,
    /// a timeout is due.
    Due,
    /// The stream is over, once all output is sent.
    Over,
}

/// What has to be looked at beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    Nothing,
    /// Each frame, or the time at which it comes.
    Frames,
}

impl FastPath {
    /// How chunks pass that are whole, where nothing else needs a look at their bytes.
    pub(super) fn of(scanner: &Scanner, watch: Watch) -> Self {
        match (scanner, watch) {
            (Scanner::Events(_), Watch::Nothing) => Self::Events,
            (Scanner::Events(_), Watch::Frames) => Self::WatchedEvents,
            (Scanner::Lines(_), Watch::Nothing) => Self::Lines,
            (Scanner::Messages(..), Watch::Nothing) => Self::Messages,
            (Scanner::Lines(_) | Scanner::Messages(..), Watch::Frames) => Self::Watched,
            // Where a chunk of these ends, its last bytes do not tell.
            (Scanner::Records(_) | Scanner::Text(_), _) => Self::Scan,
        }
    }

    /// Whether nothing has to be sent or done before the body is polled.
    #[inline]
    pub(crate) fn is_quiet(self) -> bool {
        match self {
            Self::Messages
            | Self::Lines
            | Self::Events
            | Self::WatchedEvents
            | Self::Watched
            | Self::Numbered
            | Self::Scan => true,
            Self::Queued | Self::Due | Self::Over => false,
        }
    }
}
