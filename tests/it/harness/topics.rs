//! Short names for what tests of logs and hubs write and read.

use tower_sse::Event;
use tower_sse::event_log::{Topic, Topics};

pub fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

pub fn topics(names: &[&str]) -> Topics {
    Topics::new(names).unwrap()
}

pub fn data(text: impl Into<String>) -> Event {
    Event::new().data(text)
}

/// The first line of the data of the event in `bytes`.
pub fn data_of(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes).unwrap();
    text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap().to_owned()
}
