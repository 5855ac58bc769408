//! What is said when events cannot be replayed.

use std::fmt::Write as _;

use bytes::Bytes;

use super::Start;
use crate::wire::{Event, EventId, end_with_id};

/// Events that a follower asked for and that cannot be had: trimmed, unknown, of another start of
/// the log, or not there yet.
///
/// It is said in the stream, as an event `gap`, and never passed over in silence:
///
/// ```text
/// event: gap
/// data: {"requested":"7-3","earliest":"7-9","latest":"7-20"}
/// id: 7-8
/// ```
///
/// The ids are those of the topics that are followed, and of no others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// The place that was asked for, if it can be repeated: at most 64 bytes.
    pub requested: Option<EventId>,
    /// The first event that comes now if the window is replayed; none if there is none.
    pub earliest: Option<EventId>,
    /// The last event of the followed topics; none if there is none.
    pub latest: Option<EventId>,
    /// The place behind which the follower goes on: before `earliest`, and a valid one to resume
    /// from.
    pub place: EventId,
}

/// What a stream does when events that it asked for cannot be had. It says so in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GapPolicy {
    /// Goes on with what there is, from the earliest event that was not sent yet. It is the
    /// default, because it loses nothing that can still be had.
    #[default]
    Replay,
    /// Goes on behind the latest event, for pages that fetch the state anew when they see a gap.
    Live,
    /// Ends the stream behind the event `gap`, which has the latest place as its id.
    End,
}

impl Gap {
    /// A gap behind which a follower goes on at `place`, and in which there is nothing.
    #[must_use]
    pub fn new(place: EventId) -> Self {
        Self { requested: None, earliest: None, latest: None, place }
    }

    /// Sets which place was asked for; one that is longer than 64 bytes is not repeated.
    #[must_use]
    pub fn requested(mut self, start: &Start) -> Self {
        self.requested = match start {
            Start::After(id) if id.as_str().len() <= LONGEST_ID => Some(id.clone()),
            _ => None,
        };
        self
    }

    /// Sets the first and the last event that there are.
    #[must_use]
    pub fn between(mut self, earliest: EventId, latest: EventId) -> Self {
        (self.earliest, self.latest) = (Some(earliest), Some(latest));
        self
    }

    /// The place that a client is at behind the event.
    #[must_use]
    pub fn place_after(&self, policy: GapPolicy) -> &EventId {
        match (policy, &self.latest) {
            (GapPolicy::Live | GapPolicy::End, Some(latest)) => latest,
            _ => &self.place,
        }
    }

    /// The event `gap`. Its id, on the last line, is the place that the client is at behind it.
    #[must_use]
    pub fn encode(&self, policy: GapPolicy) -> Bytes {
        let mut json = String::from("{");
        let ids = [&self.requested, &self.earliest, &self.latest];
        for (name, id) in ["requested", "earliest", "latest"].into_iter().zip(ids) {
            let comma = if json.len() > 1 { "," } else { "" };
            let _ = write!(json, "{comma}\"{name}\":");
            write_json(&mut json, id.as_ref().map(EventId::as_str));
        }
        json.push('}');
        let id = self.place_after(policy).as_str();
        let event = Event::new().named("gap").data(json);
        let mut bytes = event.encode_unended("id: \n\n".len() + id.len()).unwrap_or_default();
        end_with_id(&mut bytes, &[id]);
        bytes.into()
    }
}

/// Writes a text, or `null`.
fn write_json(json: &mut String, text: Option<&str>) {
    let Some(text) = text else {
        return json.push_str("null");
    };
    json.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => json.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(json, "\\u{:04x}", u32::from(char));
            }
            char => json.push(char),
        }
    }
    json.push('"');
}

/// No log's ids are longer, so nothing is lost by not repeating what is.
pub(super) const LONGEST_ID: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        EventId::new(text).unwrap()
    }

    #[test]
    fn the_event_says_what_there_is_and_where_the_client_is() {
        let gap = Gap::new(id("7-8")).between(id("7-9"), id("7-20"));
        let gap = gap.requested(&Start::After(id("a\"\\\t\u{7f}é")));
        let data = "event: gap\ndata: {\"requested\":\"a\\\"\\\\\\u0009\\u007fé\",\
                    \"earliest\":\"7-9\",\"latest\":\"7-20\"}\n";
        for (policy, place) in
            [(GapPolicy::Replay, "7-8"), (GapPolicy::Live, "7-20"), (GapPolicy::End, "7-20")]
        {
            assert_eq!(gap.encode(policy), format!("{data}id: {place}\n\n"));
        }

        let empty = Gap::new(id("7-0")).requested(&Start::After(id(&"x".repeat(65))));
        let text = "event: gap\ndata: {\"requested\":null,\"earliest\":null,\"latest\":null}\n\
                    id: 7-0\n\n";
        assert_eq!(empty.encode(GapPolicy::Live), text);
    }
}
