//! [`Start`]: the position at which a follower starts, and how a request states it.

use http::{HeaderMap, HeaderValue, Uri};

use super::gap::MAX_ID_LEN;
use crate::wire::{EventId, LastEventId};

/// The position at which a follower starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the events that are appended from now on.
    #[default]
    Live,
    /// After the event with this id.
    After(EventId),
    /// With the first event that the log has.
    Earliest,
    /// With a gap, and then the first event that the log has: the client sent a text that cannot be
    /// an id.
    Unknown,
}

impl Start {
    /// The start that a client requests with the value of a `Last-Event-ID`.
    ///
    /// An empty value is [`Live`](Self::Live): some clients send it after a stream without ids. The
    /// value `earliest` is [`Earliest`](Self::Earliest). A text that cannot be an id of a log is
    /// [`Unknown`](Self::Unknown).
    #[must_use]
    pub fn requested(id: &str) -> Self {
        Self::after(LastEventId::parse(id.as_bytes()))
    }

    /// The start that a request asks for with its `Last-Event-ID`, or else with `last_event_id` in
    /// its query, since a page cannot set headers for an `EventSource`.
    ///
    /// The header wins: a browser that reconnects sends both, and its query is the older one.
    #[must_use]
    pub fn of_request(headers: &HeaderMap, uri: &Uri) -> Self {
        let header = headers.get(LastEventId::HEADER).map(HeaderValue::as_bytes);
        match (header.map_or(LastEventId::None, LastEventId::parse), uri.query()) {
            (LastEventId::None, Some(query)) => Self::after(LastEventId::in_query(query)),
            (id, _) => Self::after(id),
        }
    }

    fn after(id: LastEventId) -> Self {
        match id {
            LastEventId::None => Self::Live,
            LastEventId::Id(id) if id.as_str() == "earliest" => Self::Earliest,
            LastEventId::Id(id) if id.as_str().len() <= MAX_ID_LEN => Self::After(id),
            LastEventId::Id(_) | LastEventId::Invalid => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_wins_and_an_empty_id_is_none() {
        let after = |id: &str| Start::After(EventId::new(id).unwrap());
        let long = "x".repeat(65);
        #[rustfmt::skip]
        let table: &[(Option<&[u8]>, &str, Start)] = &[
            // header               query                        start
            (None,                  "/",                         Start::Live),
            (Some(b""),             "/",                         Start::Live),
            (Some(b"7-1"),          "/",                         after("7-1")),
            (Some(b"7-1"),          "/?last_event_id=7-9",       after("7-1")),
            (Some(b""),             "/?last_event_id=7-9",       after("7-9")),
            (None,                  "/?a=b&last_event_id=7-9&c", after("7-9")),
            (None,                  "/?last_event_id=",          Start::Live),
            (None,                  "/?last_event_id=%ff",       Start::Unknown),
            (Some(b"earliest"),     "/",                         Start::Earliest),
            (Some(b"\xff"),         "/?last_event_id=7-9",       Start::Unknown),
            (Some(long.as_bytes()), "/",                         Start::Unknown),
        ];
        for (header, uri, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(id) = header {
                headers.insert("last-event-id", HeaderValue::from_bytes(id).unwrap());
            }
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(Start::of_request(&headers, &uri), *expected, "{header:?} {uri}");
        }
    }
}
