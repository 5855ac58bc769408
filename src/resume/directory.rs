//! The directory: which streams of a principal run, at which node, in a log that nodes share.
//!
//! Each principal has a topic in which a node writes when a stream begins and ends, and for a
//! stream that runs for long from time to time again, so that the log may drop old events.

use std::time::{Duration, SystemTime};

use super::key::ResumeKey;
use super::nodes::PAGE;
use super::record::{LogProgress, Record, RecordKind};
use super::session::Session;
use super::token::{SessionToken, principal_topic};
use crate::event_log::{EventLog, Logged, Start};
use crate::wire::{Decoder, Event, EventId};

/// A stream in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DirectoryEntry {
    pub(super) token: SessionToken,
    pub(super) node: SessionToken,
    pub(super) since: SystemTime,
    pub(super) key: ResumeKey,
}

impl DirectoryEntry {
    pub(super) fn of<L: EventLog>(session: &Session<L>, node: SessionToken) -> Self {
        let (token, key) = (session.token, session.key.clone());
        Self { token, node, since: session.since, key }
    }

    /// The event that says that the stream runs.
    pub(super) fn began(&self) -> Event {
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (token, node) = (self.token.as_str(), self.node.as_str());
        let text = format!("{token} {node} {} {}", since.as_millis(), self.key.stream());
        record_event(RecordKind::Began, text)
    }

    /// The event that says that the stream runs no more.
    pub(super) fn ended(&self) -> Event {
        record_event(RecordKind::Ended, self.token.as_str().to_owned())
    }

    fn read(text: &str, principal: &str) -> Option<Self> {
        let mut words = text.splitn(4, ' ');
        let (token, node) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let since = Duration::from_millis(words.next()?.parse().ok()?);
        let since = SystemTime::UNIX_EPOCH.checked_add(since)?;
        Some(Self { token, node, since, key: ResumeKey::of_parts(words.next()?, principal) })
    }
}

/// The streams of a principal that run as far as the log knows, the oldest first. Those of a node
/// that died are among them.
pub(super) async fn read<L: EventLog>(
    log: &L,
    principal: &str,
) -> Result<Vec<DirectoryEntry>, L::Error> {
    let (mut entries, mut from) = (Vec::new(), Start::Earliest);
    let Some(topic) = principal_topic(principal) else {
        return Ok(entries);
    };
    for _ in 0..MAX_PAGES {
        let page = log.read(&topic, from, PAGE).await?;
        for event in &page.events {
            apply(&mut entries, event, principal);
        }
        let last = page.events.last().filter(|_| page.has_more);
        let Some(Ok(last)) = last.map(|event| EventId::new(event.id())) else {
            break;
        };
        from = Start::After(last);
    }
    Ok(entries)
}

fn apply(entries: &mut Vec<DirectoryEntry>, event: &Logged, principal: &str) {
    match record_text(event) {
        Some((RecordKind::Began, text)) => {
            let entry = DirectoryEntry::read(&text, principal);
            let is_new = |entry: &DirectoryEntry| entries.iter().all(|it| it.token != entry.token);
            entries.extend(entry.filter(is_new));
        }
        Some((RecordKind::Ended, text)) => entries.retain(|entry| entry.token.as_str() != text),
        _ => {}
    }
}

/// An event with a record, which tells other nodes this text.
pub(super) fn record_event(kind: RecordKind, text: String) -> Event {
    Record { kind, progress: LogProgress::default() }.add_to(Event::new().data(text))
}

/// What another node, or this one, wrote as a [`record_event`].
pub(super) fn record_text(event: &Logged) -> Option<(RecordKind, String)> {
    let (record, rest) = Record::split(event)?;
    let mut events = Decoder::new().decode(&rest);
    Some((record.kind, events.pop()?.data))
}

/// A directory has one event a stream, and one every few minutes of a stream, so this is more than
/// a principal has.
const MAX_PAGES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::MemoryLog;

    #[tokio::test]
    async fn what_began_and_has_not_ended_runs_whatever_the_names_are() {
        let (log, node) = (MemoryLog::new(), SessionToken::random().unwrap());
        let entry = |stream: &str| DirectoryEntry {
            token: SessionToken::random().unwrap(),
            node,
            since: SystemTime::UNIX_EPOCH + Duration::from_millis(1_234_567),
            key: ResumeKey::new(stream, "ann"),
        };
        let streams = ["a b", "", " ", "7 8\u{e9}", "x\ny", &"z".repeat(999)];
        let entries: Vec<_> = streams.iter().map(|stream| entry(stream)).collect();
        let topic = principal_topic("ann").unwrap();
        for _ in 0..2 {
            for entry in &entries {
                log.append(&topic, entry.began()).await.unwrap();
            }
        }
        log.append(&topic, Event::new().data("of somebody else")).await.unwrap();
        assert_eq!(read(&log, "ann").await.unwrap(), entries);
        for ended in [0, 3] {
            log.append(&topic, entries[ended].ended()).await.unwrap();
        }
        let rest: Vec<_> = [1, 2, 4, 5].map(|n| entries[n].clone()).into();
        assert_eq!(read(&log, "ann").await.unwrap(), rest);
        assert!(read(&log, "an").await.unwrap().is_empty());
    }
}
