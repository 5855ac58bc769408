//! The information about one open stream that a registry shows.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use super::Label;
use crate::roster::RosterId;
use crate::wire::EventId;

/// The number of a stream among all streams of its registry so far, from 1 on.
///
/// It is short enough to be read and typed by people. A number is not given again in the life of a
/// registry, so an old id never finds another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) RosterId);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_u64().fmt(f)
    }
}

impl FromStr for StreamId {
    type Err = ParseIntError;

    /// Reads what `Display` writes. Any number is an id, mostly of no stream.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(RosterId::from_u64).map(Self)
    }
}

/// One open stream, at the time when a registry was asked.
///
/// # As JSON
///
/// With the feature `serde` it serialises as below. Times become the seconds since them, by the clock
/// at the time of serialising. The id is a text, which [`StreamId`] parses. `last_event_id`, `events`,
/// `last_sent_secs_ago` and `last_polled_secs_ago` are null where there is no value.
///
/// ```json
/// {
///   "id": "17",
///   "label": "user 7",
///   "method": "GET",
///   "path": "/events",
///   "age_secs": 62.5,
///   "last_event_id": "42",
///   "bytes": 1210,
///   "keepalives": 3,
///   "events": 42,
///   "last_sent_secs_ago": 0.25,
///   "last_polled_secs_ago": 0.25,
///   "state": "open"
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The number of the stream.
    pub id: StreamId,
    /// What the application calls the stream. Empty if it gives no label.
    pub label: Label,
    /// The method of its request.
    pub method: Method,
    /// The path of its request, as the outermost layer saw it, without the query.
    pub path: Arc<str>,
    /// When the response began.
    pub started: Instant,
    /// The id that the client would come back with, as far as it is known. Ids are read if a layer asks
    /// for it ([`EventIdLayer`](crate::EventIdLayer), event counts), or if the first events of the
    /// stream have ids.
    pub last_event_id: Option<EventId>,
    /// Bytes handed to the server, with comments and the farewell.
    pub bytes: u64,
    /// Comments written because the stream was silent.
    pub keepalives: u32,
    /// Events handed to the server, if the registry [counts](crate::RegistryBuilder::count_events) them.
    pub events: Option<u64>,
    /// When bytes were last handed to the server. In a burst it is updated every 16 frames.
    pub last_sent: Option<Instant>,
    /// When the server last polled the body. It does not poll while the client does not read. In a
    /// burst it is updated every 16 frames.
    pub last_polled: Option<Instant>,
    /// Whether the stream goes on, ends, or is stuck.
    pub state: StreamState,
}

/// Whether a stream goes on, ends, or is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamState {
    /// The stream goes on.
    Open,
    /// The stream was asked to close and has not ended yet.
    Closing,
    /// The stream has something to send, or was asked to close, and the server has not polled it
    /// [for some time](crate::RegistryBuilder::stalled_after): its client does not read.
    ///
    /// This is also the state of a stream that was asked to close and cannot, because that it is stuck
    /// is what an operator has to know.
    Stalled,
}

impl StreamState {
    /// The word for the state in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Stalled => "stalled",
        }
    }
}

impl fmt::Display for StreamState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
