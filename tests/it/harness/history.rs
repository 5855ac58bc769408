//! A log in memory beside a list of everything that was ever appended to it.

use std::task::Poll;

use bytes::Bytes;
use http_body::Body;
use tower_sse::EventId;
use tower_sse::event_log::{MemoryLog, Topics};
use tower_sse::wire::{Decoder, MessageEvent};

use super::hub::{chunk, data, topic};

pub const NAMES: [&str; 4] = ["a", "b", "c.1", "c.2"];

/// What clients follow: by one name, by several, and by patterns.
pub const SETS: [&[&str]; 5] = [&["a"], &["a", "b"], &["c.*"], &["a", "c.>"], &["a", "*", "c.1"]];

/// Everything that was ever appended: its topic and its id. The data of an event is its number.
pub struct History {
    pub log: MemoryLog,
    pub all: Vec<(usize, EventId)>,
    kept: usize,
}

impl History {
    /// Of a log that keeps few events of a topic.
    pub fn new() -> Self {
        Self::keeping(4)
    }

    /// Of a log that keeps so many events of a topic.
    pub fn keeping(kept: usize) -> Self {
        let log = MemoryLog::builder().events(kept).build().unwrap();
        Self { log, all: Vec::new(), kept }
    }

    pub fn append(&mut self, name: usize) {
        let text = self.all.len().to_string();
        let id = self.log.append_now(&topic(NAMES[name]), data(text)).unwrap();
        self.all.push((name, id));
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// The events of a set from a number on.
    pub fn of<'a>(&'a self, set: &'a Topics, from: usize) -> impl Iterator<Item = usize> + 'a {
        (from..self.len()).filter(|at| set.matches(&topic(NAMES[self.all[*at].0])))
    }

    pub fn is_kept(&self, at: usize) -> bool {
        let same = |it: &&(usize, EventId)| it.0 == self.all[at].0;
        self.all[at + 1..].iter().filter(same).count() < self.kept
    }
}

/// The events of the next chunk of a body, if there is one.
pub fn events<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Option<Vec<MessageEvent>> {
    match chunk(body) {
        Poll::Ready(Some(bytes)) => Some(Decoder::new().decode(&bytes)),
        Poll::Ready(None) | Poll::Pending => None,
    }
}

/// The events of all chunks that there are.
pub fn all_events<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Vec<MessageEvent> {
    std::iter::from_fn(|| events(body)).flatten().collect()
}

/// The data of the events in `text`, and the names of those that have one.
pub fn said(text: &str) -> Vec<String> {
    let events = Decoder::new().decode(text.as_bytes()).into_iter();
    events.map(|it| if it.event == "message" { it.data } else { it.event }).collect()
}
