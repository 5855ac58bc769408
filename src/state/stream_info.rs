//! One open stream, as a registry shows it.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use super::Label;
use crate::roster::RosterId;
use crate::wire::EventId;

/// Which stream: given once in a registry's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(crate) RosterId);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_u64().fmt(f)
    }
}

impl FromStr for StreamId {
    type Err = ParseIntError;

    /// Reads what `Display` wrote. Any number is an id, though mostly of no stream.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(RosterId::from_u64).map(Self)
    }
}

/// One open stream at the moment when a registry was asked.
///
/// # As JSON
///
/// With the feature `serde` it serialises as below. Moments are told as the seconds since them, by
/// the clock at the moment when it is serialised. The id is a text, as it may have more bits than
/// a JavaScript number; [`StreamId`] reads it. `last_event_id`, `events`, `last_sent_secs_ago`
/// and `last_polled_secs_ago` are null where there is none.
///
/// ```json
/// {
///   "id": "5712306503680",
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
    /// Which stream this is.
    pub id: StreamId,
    /// What the application calls it; empty if it does not.
    pub label: Label,
    /// The method of its request.
    pub method: Method,
    /// The path of its request, as the outermost layer saw it, without the query.
    pub path: Arc<str>,
    /// When its response began.
    pub started: Instant,
    /// The id that the client would come back with, as far as it is known: ids are read if they
    /// are asked for ([`EventIdLayer`](crate::EventIdLayer), event counts), or if the stream's
    /// first events have some.
    pub last_event_id: Option<EventId>,
    /// Bytes handed to the server, comments and farewell included.
    pub bytes: u64,
    /// Comments written because the stream was silent.
    pub keepalives: u32,
    /// Events handed to the server, if [counting](crate::RegistryBuilder::count_events) was asked for.
    pub events: Option<u64>,
    /// When bytes were last handed to the server. In a burst it is brought up to date every few frames.
    pub last_sent: Option<Instant>,
    /// When the server last asked for bytes. It stops asking while the client does not read.
    pub last_polled: Option<Instant>,
    /// How it is, and what is to become of it.
    pub state: StreamState,
}

/// How a stream is, and what is to become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamState {
    /// It goes on.
    Open,
    /// It was asked to close and has not ended yet.
    Closing,
    /// It has something to give, or was told something, and the server has not asked for it
    /// [for a time](crate::RegistryBuilder::stalled_after): its client does not read.
    ///
    /// A stream that was asked to close and cannot is shown as this, too: that it is stuck is what
    /// somebody has to know.
    Stalled,
}

impl StreamState {
    /// The word for it in logs and metrics.
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
