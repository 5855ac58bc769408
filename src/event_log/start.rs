//! [`Start`], the position at which a follower starts, and [`Gap`], the events after it that cannot
//! be replayed.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri};

use super::finish::{len_without_mark, to_be_told_again};
use crate::wire::{Event, EventId, LastEventId, json_string};

/// The position at which a follower starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the events that are appended from now on.
    #[default]
    Live,
    /// As [`Live`](Self::Live), because the client asked for it. A subscription then sends nothing
    /// of what it sends to a client that names no position, such as the
    /// [last events](crate::hub::Subscription::last).
    Now,
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
    /// value `earliest` is [`Earliest`](Self::Earliest), and `now` is [`Now`](Self::Now). A text
    /// that cannot be an id of a log is [`Unknown`](Self::Unknown).
    #[must_use]
    pub fn requested(id: &str) -> Self {
        Self::after(LastEventId::parse(id.as_bytes()), MAX_ID_LEN)
    }

    /// The start that a request asks for with its `Last-Event-ID`, or else with `last_event_id` in
    /// its query, since a page cannot set headers for an `EventSource`.
    ///
    /// The header wins: a browser that reconnects sends both, and its query is the older one.
    #[must_use]
    pub fn of_request(headers: &HeaderMap, uri: &Uri) -> Self {
        Self::of_request_up_to(headers, uri, MAX_ID_LEN)
    }

    /// The same for ids of a log that clients know with a name of so many bytes before them.
    #[cfg(feature = "resume")]
    pub(crate) fn of_request_with_names(headers: &HeaderMap, uri: &Uri, name_len: usize) -> Self {
        Self::of_request_up_to(headers, uri, MAX_ID_LEN + name_len)
    }

    fn of_request_up_to(headers: &HeaderMap, uri: &Uri, max_len: usize) -> Self {
        let header = headers.get(LastEventId::HEADER).map(HeaderValue::as_bytes);
        let start = match (header.map_or(LastEventId::None, LastEventId::parse), uri.query()) {
            (LastEventId::None, Some(query)) => Self::after(LastEventId::in_query(query), max_len),
            (id, _) => Self::after(id, max_len),
        };
        match start {
            // htmx 4, which takes a 204 for a stream that broke.
            Self::After(id) if headers.get("hx-request").is_some_and(|it| it == "true") => {
                Self::After(to_be_told_again(id))
            }
            start => start,
        }
    }

    /// Whether it is with the events that are appended from now on.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Live | Self::Now)
    }

    fn after(id: LastEventId, max_len: usize) -> Self {
        match id {
            LastEventId::None => Self::Live,
            LastEventId::Id(id) if id.as_str() == "earliest" => Self::Earliest,
            LastEventId::Id(id) if id.as_str() == "now" => Self::Now,
            LastEventId::Id(id) if len_without_mark(id.as_str()) <= max_len => Self::After(id),
            LastEventId::Id(_) | LastEventId::Invalid => Self::Unknown,
        }
    }
}

/// Events that a follower asked for and that cannot be replayed: they were trimmed, or the
/// requested id is unknown, of another start of the log, or newer than the last event.
///
/// A stream never skips a gap silently. It sends an event with the name `gap`:
///
/// ```text
/// event: gap
/// data: {"requested":"7-3","earliest":"7-9","latest":"7-20","reason":"expired"}
/// id: 7-8
/// ```
///
/// The ids are ids of the topics that are followed, and of no other topics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The id that was requested; `None` if the request named none, or one longer than 64 bytes.
    pub requested: Option<EventId>,
    /// The first event that can be replayed; `None` if there is no event.
    pub earliest: Option<EventId>,
    /// The last event of the followed topics; `None` if there is no event.
    pub latest: Option<EventId>,
    /// The position after which the follower goes on. It is before `earliest`, and a client can
    /// resume from it.
    pub position: EventId,
    /// Why the events cannot be replayed.
    pub reason: GapReason,
}

/// Why events cannot be replayed.
///
/// A page that shows a state fetches it again after any gap. If it tells its user of a loss, it
/// does so for [`Expired`](Self::Expired) alone: after the others nothing may have been lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapReason {
    /// The id is one of another log, such as one in memory before its server was restarted, or a
    /// broker's that has lost everything. Nobody knows whether there were events since.
    Restarted,
    /// There were events after the position, and the log does not have all of them any more; or it
    /// does not know whether there were.
    Expired,
    /// The request named no position that the log knows: no id, or one of no event.
    #[default]
    Unknown,
}

impl GapReason {
    /// The word in the event `gap`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
        }
    }

    /// The reason for a start of which the log with this epoch knows no position.
    pub(super) fn of_unknown(start: &Start, epoch: u64) -> Self {
        let Start::After(id) = start else {
            return Self::Unknown;
        };
        // An id may end in a letter, and this form is that of all logs.
        let id = id.as_str().trim_end_matches(|char: char| char.is_ascii_lowercase());
        match super::ids::parse_id(id) {
            Some((of, _)) if of != epoch => Self::Restarted,
            _ => Self::Unknown,
        }
    }
}

/// A start that cannot be replayed, until the gap is returned that says so.
#[derive(Clone, Debug)]
pub(super) struct Unreplayable {
    pub(super) requested: Start,
    pub(super) reason: GapReason,
}

impl Unreplayable {
    /// After this position events were lost.
    pub(super) fn expired(requested: Start) -> Self {
        Self { requested, reason: GapReason::Expired }
    }

    pub(super) fn explain(&self, gap: Gap) -> Gap {
        gap.requested(&self.requested).because(self.reason)
    }
}

/// What a stream does after a gap. It sends the event `gap` with each policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapPolicy {
    /// Goes on with the earliest event that was not sent yet. The default, because it loses no
    /// event that can still be replayed.
    #[default]
    Replay,
    /// Goes on after the latest event, for pages that fetch the state again after a gap.
    Live,
    /// Ends the stream after the event `gap`, whose id is the latest position.
    End,
}

impl Gap {
    /// Creates a gap after which a follower goes on at `position`, and after which there is no
    /// event yet.
    #[must_use]
    pub fn new(position: EventId) -> Self {
        let reason = GapReason::default();
        Self { requested: None, earliest: None, latest: None, position, reason }
    }

    /// Sets the id that was requested, unless it is longer than 64 bytes.
    #[must_use]
    pub fn requested(mut self, start: &Start) -> Self {
        self.requested = match start {
            Start::After(id) if id.as_str().len() <= MAX_ID_LEN => Some(id.clone()),
            _ => None,
        };
        self
    }

    /// Sets why the events cannot be replayed. The default is [`GapReason::Unknown`].
    #[must_use]
    pub fn because(mut self, reason: GapReason) -> Self {
        self.reason = reason;
        self
    }

    /// Sets the first and the last event that can be replayed.
    #[must_use]
    pub fn between(mut self, earliest: EventId, latest: EventId) -> Self {
        (self.earliest, self.latest) = (Some(earliest), Some(latest));
        self
    }

    /// The position of a client that has received the event `gap`.
    #[must_use]
    pub fn position_after(&self, policy: GapPolicy) -> &EventId {
        match (policy, &self.latest) {
            (GapPolicy::Live | GapPolicy::End, Some(latest)) => latest,
            _ => &self.position,
        }
    }

    /// Encodes the event `gap`. Its id, on the last line, is the position that a client then has.
    #[must_use]
    pub fn encode(&self, policy: GapPolicy) -> Bytes {
        let mut json = String::from("{");
        let ids = [&self.requested, &self.earliest, &self.latest];
        for (name, id) in ["requested", "earliest", "latest"].into_iter().zip(ids) {
            let comma = if json.len() > 1 { "," } else { "" };
            let id = id.as_ref().map_or_else(|| "null".to_owned(), |id| json_string(id.as_str()));
            let _ = write!(json, "{comma}\"{name}\":{id}");
        }
        let _ = write!(json, ",\"reason\":\"{}\"}}", self.reason.as_str());
        let id = self.position_after(policy).as_str();
        let event = Event::new().named("gap").data(json);
        event.encode_with_last_id(id).unwrap_or_default()
    }
}

/// Ids of logs are not longer, so a longer text is not the id of an event.
const MAX_ID_LEN: usize = 64;

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
            (None,                  "/?last_event_id=now",       Start::Now),
            (Some(b"7-1"),          "/?last_event_id=now",       after("7-1")),
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

    fn id(text: &str) -> EventId {
        EventId::new(text).unwrap()
    }

    #[test]
    fn the_event_names_what_can_be_replayed_and_the_position_of_the_client() {
        let gap = Gap::new(id("7-8")).between(id("7-9"), id("7-20"));
        let gap = gap.requested(&Start::After(id("a\"\\\t\u{7f}é"))).because(GapReason::Expired);
        let data = "event: gap\ndata: {\"requested\":\"a\\\"\\\\\\u0009\\u007fé\",\
                    \"earliest\":\"7-9\",\"latest\":\"7-20\",\"reason\":\"expired\"}\n";
        for (policy, position) in
            [(GapPolicy::Replay, "7-8"), (GapPolicy::Live, "7-20"), (GapPolicy::End, "7-20")]
        {
            assert_eq!(gap.encode(policy), format!("{data}id: {position}\n\n"));
        }

        let empty = Gap::new(id("7-0")).requested(&Start::After(id(&"x".repeat(65))));
        let text = "event: gap\ndata: {\"requested\":null,\"earliest\":null,\"latest\":null,\
                    \"reason\":\"unknown\"}\nid: 7-0\n\n";
        assert_eq!(empty.encode(GapPolicy::Live), text);
    }
}
