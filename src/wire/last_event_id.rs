//! [`LastEventId`]: the id that a client sends to resume a stream, and the one rule by which it is
//! read.

use super::EventId;
#[cfg(feature = "hub")]
use super::percent_decode;

/// The id of the last event that a client has, as its request states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LastEventId {
    /// The client has no id. An empty value counts as none: some clients send it after a stream
    /// without ids.
    None,
    Id(EventId),
    /// The client sent a value that cannot be an id.
    Invalid,
}

impl LastEventId {
    /// The name of the header.
    pub(crate) const HEADER: &str = "last-event-id";

    /// Reads the value of the header.
    pub(crate) fn parse(value: &[u8]) -> Self {
        match std::str::from_utf8(value) {
            Ok("") => Self::None,
            Ok(id) => EventId::new(id).map_or(Self::Invalid, Self::Id),
            Err(_) => Self::Invalid,
        }
    }

    /// Reads `last_event_id` in the query of a URI, for pages: they cannot set headers for an
    /// `EventSource`.
    #[cfg(feature = "hub")]
    pub(crate) fn in_query(query: &str) -> Self {
        let value = query.split('&').find_map(|pair| pair.strip_prefix("last_event_id="));
        value.map_or(Self::None, |value| Self::parse(&percent_decode(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> LastEventId {
        LastEventId::Id(EventId::new(text).unwrap())
    }

    #[test]
    fn an_empty_value_is_none_and_what_cannot_be_an_id_is_invalid() {
        assert_eq!(LastEventId::parse(b""), LastEventId::None);
        assert_eq!(LastEventId::parse(b"7-1"), id("7-1"));
        assert_eq!(LastEventId::parse("\u{e9}".as_bytes()), id("\u{e9}"));
        for value in [&b"a\0b"[..], b"a\nb", b"a\rb", b"\xff"] {
            assert_eq!(LastEventId::parse(value), LastEventId::Invalid, "{value:?}");
        }
    }

    #[cfg(feature = "hub")]
    #[test]
    fn a_query_is_decoded() {
        #[rustfmt::skip]
        let table = [
            ("",                                  LastEventId::None),
            ("last_event_id=",                    LastEventId::None),
            ("xlast_event_id=7",                  LastEventId::None),
            ("a=b&last_event_id=7-9&c",           id("7-9")),
            ("last_event_id=a%2Fb+%c3%A9%",       id("a/b \u{e9}%")),
            ("last_event_id=%00",                 LastEventId::Invalid),
            ("last_event_id=7%0A-1",              LastEventId::Invalid),
            ("last_event_id=%ff",                 LastEventId::Invalid),
        ];
        for (query, expected) in table {
            assert_eq!(LastEventId::in_query(query), expected, "{query}");
        }
    }
}
