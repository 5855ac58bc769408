//! [`Start`]: the position at which a follower starts, and how a request states it.

use std::borrow::Cow;

use http::{HeaderMap, Uri};

use super::gap::MAX_ID_LEN;
use crate::wire::EventId;

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
        match id {
            "" => Self::Live,
            "earliest" => Self::Earliest,
            id if id.len() > MAX_ID_LEN => Self::Unknown,
            id => EventId::new(id).map_or(Self::Unknown, Self::After),
        }
    }

    /// The start that a request asks for with its `Last-Event-ID`, or else with `last_event_id` in
    /// its query, since a page cannot set headers for an `EventSource`.
    ///
    /// The header wins: a browser that reconnects sends both, and its query is the older one.
    #[must_use]
    pub fn of_request(headers: &HeaderMap, uri: &Uri) -> Self {
        let header = headers.get("last-event-id").map(|id| Cow::Borrowed(id.as_bytes()));
        let id = header.filter(|id| !id.is_empty()).or_else(|| in_query(uri.query()?));
        match id.as_deref().map(std::str::from_utf8) {
            None => Self::Live,
            Some(Ok(id)) => Self::requested(id),
            Some(Err(_)) => Self::Unknown,
        }
    }
}

/// The decoded value of `last_event_id` in a query.
fn in_query(query: &str) -> Option<Cow<'_, [u8]>> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("last_event_id="))?;
    if !value.contains(['%', '+']) {
        return Some(Cow::Borrowed(value.as_bytes()));
    }
    let (mut decoded, mut rest) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let digit = |at: usize| tail.get(at).and_then(|it| char::from(*it).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &tail[2..];
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
    }
    Some(Cow::Owned(decoded))
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
            // header           query                        start
            (None,              "/",                         Start::Live),
            (Some(b""),         "/",                         Start::Live),
            (Some(b"7-1"),      "/",                         after("7-1")),
            (Some(b"7-1"),      "/?last_event_id=7-9",       after("7-1")),
            (Some(b""),         "/?last_event_id=7-9",       after("7-9")),
            (None,              "/?a=b&last_event_id=7-9&c", after("7-9")),
            (None,              "/?last_event_id=",          Start::Live),
            (None,              "/?xlast_event_id=7",        Start::Live),
            (None,              "/?last_event_id=a%2Fb+%c3%A9%", after("a/b \u{e9}%")),
            (None,              "/?last_event_id=%00",       Start::Unknown),
            (None,              "/?last_event_id=7%0A-1",    Start::Unknown),
            (None,              "/?last_event_id=%ff",       Start::Unknown),
            (Some(b"earliest"), "/",                         Start::Earliest),
            (Some(b"\xff"),     "/",                         Start::Unknown),
            (Some(long.as_bytes()), "/",                     Start::Unknown),
        ];
        for (header, uri, expected) in table {
            let mut headers = HeaderMap::new();
            if let Some(id) = header {
                headers.insert("last-event-id", http::HeaderValue::from_bytes(id).unwrap());
            }
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(Start::of_request(&headers, &uri), *expected, "{header:?} {uri}");
        }
    }
}
