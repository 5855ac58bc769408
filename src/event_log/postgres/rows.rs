//! What PostgreSQL answers: the head of the log, and events as they are stored.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::error::{Failure, FailureKind, PgResult};
use crate::event_log::broker::{BrokerEvent, LogHead};
use crate::event_log::{Logged, Topic};
use crate::wire::EventId;

/// Events, and the head of the log at the same moment.
#[derive(Clone, Debug)]
pub(super) struct StoredEvents {
    pub(super) head: LogHead,
    /// Each event that was deleted is not after this sequence.
    pub(super) trimmed: u64,
    /// The topic that was asked for, or any that is not known any more, had no event after this
    /// sequence, if it has none now.
    pub(super) floor: u64,
    pub(super) events: Vec<StoredEvent>,
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(super) struct StoredEvent {
    pub(super) sequence: u64,
    pub(super) topic: String,
    /// The sequence before in the topic.
    pub(super) predecessor: u64,
    /// The predecessor is not known, and this is not smaller.
    pub(super) is_unsure: bool,
    /// The event, unless it is longer than what was asked for.
    pub(super) event: Option<Vec<u8>>,
}

impl StoredEvents {
    /// Parses the rows of a statement that reads the head and events.
    ///
    /// # Errors
    ///
    /// If they are not such rows. What is not understood must not be taken for nothing.
    pub(super) fn parse(rows: &[Row]) -> PgResult<Self> {
        let first = rows.first().ok_or_else(no_log)?;
        let mut read = Self {
            head: head(first)?,
            trimmed: number(first, 3)?,
            floor: number(first, 4)?,
            events: Vec::with_capacity(rows.len()),
        };
        for row in rows {
            // Without events there is one row with the head.
            if value::<Option<i64>>(row, 5)?.is_some() {
                read.events.push(StoredEvent::parse(row)?);
            }
        }
        Ok(read)
    }

    /// The events of a topic, in order.
    pub(super) fn of_topic(self, topic: &Topic) -> Vec<BrokerEvent> {
        let (mut events, mut foreign) = (Vec::<BrokerEvent>::new(), Foreign::default());
        for stored in self.events {
            let before = foreign.before(&stored);
            match stored.read(self.head.epoch, topic.clone(), before) {
                Some(event) => events.push(event),
                None => foreign.note(stored.sequence, before),
            }
        }
        events
    }

    /// The events as those of the one window of all topics, after a position.
    pub(super) fn of_all(self, position: u64) -> Vec<BrokerEvent> {
        let (mut events, mut previous) = (Vec::new(), position.max(self.trimmed));
        for stored in self.events {
            let topic = Topic::new(&stored.topic).ok();
            let read = topic.and_then(|topic| stored.read(self.head.epoch, topic, previous));
            if let Some(event) = read {
                previous = event.sequence;
                events.push(BrokerEvent { follows_expired: false, ..event });
            }
        }
        events
    }
}

/// Events that another writer stored, and that no client can be sent. They do not count as missing.
#[derive(Debug, Default)]
struct Foreign {
    /// The sequence of the last one, and that of the event before it.
    last: Option<(u64, u64)>,
}

impl Foreign {
    fn before(&mut self, stored: &StoredEvent) -> u64 {
        match self.last.take() {
            Some((sequence, before)) if stored.predecessor == sequence => before,
            _ => stored.predecessor,
        }
    }

    fn note(&mut self, sequence: u64, before: u64) {
        self.last = Some((sequence, before));
    }
}

impl StoredEvent {
    fn parse(row: &Row) -> PgResult<Self> {
        Ok(Self {
            sequence: number(row, 5)?,
            topic: value(row, 6)?,
            predecessor: number(row, 7)?,
            is_unsure: value(row, 8)?,
            event: value(row, 9)?,
        })
    }

    /// The event, if it can be sent to clients.
    pub(super) fn read(&self, epoch: u64, topic: Topic, before: u64) -> Option<BrokerEvent> {
        let (sequence, follows_expired) = (self.sequence, self.is_unsure);
        let id = EventId::with_epoch(epoch, sequence);
        let logged = Logged::from_encoded(topic, &id, self.event.as_deref()?).ok()?;
        (before < sequence).then_some(BrokerEvent {
            epoch,
            sequence,
            before,
            follows_expired,
            logged,
        })
    }
}

/// The head of the log, which is in the first columns of a row.
pub(super) fn head(row: &Row) -> PgResult<LogHead> {
    let (epoch, last, clock) = (number(row, 0)?, number(row, 1)?, number(row, 2)?);
    Ok(LogHead { epoch, last_event: last, sequence: last, clock })
}

/// A column that holds a number which is not negative.
pub(super) fn number(row: &Row, column: usize) -> PgResult<u64> {
    u64::try_from(value::<i64>(row, column)?).map_err(|_| not_understood())
}

pub(super) fn value<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> PgResult<T> {
    row.try_get(column).map_err(|_| not_understood())
}

/// A number for PostgreSQL, which has no larger ones.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The row of the log was deleted: a new connection makes it anew.
pub(super) fn no_log() -> Failure {
    Failure::new(FailureKind::NotReady, "there is no row of the log")
}

pub(super) fn not_understood() -> Failure {
    Failure::new(FailureKind::Away, "an answer is not understood")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::event_log::postgres) fn stored(
        sequence: u64,
        predecessor: u64,
        topic: &str,
        event: Option<&str>,
    ) -> StoredEvent {
        let event = event.map(Into::into);
        StoredEvent { sequence, topic: topic.into(), predecessor, is_unsure: false, event }
    }

    pub(in crate::event_log::postgres) fn read(events: Vec<StoredEvent>) -> StoredEvents {
        let last = events.last().map_or(0, |event| event.sequence);
        let head = LogHead { epoch: 7, last_event: last, sequence: last, clock: 0 };
        StoredEvents { head, trimmed: 0, floor: 0, events }
    }

    const X: Option<&str> = Some("data: x\n\n");

    fn chain(events: Vec<BrokerEvent>) -> Vec<(u64, u64)> {
        events.iter().map(|event| (event.before, event.sequence)).collect()
    }

    #[test]
    fn foreign_events_are_left_out_and_are_no_gap() {
        let events = vec![
            stored(10, 9, "t", X),
            stored(11, 10, "t", Some("no event")),
            stored(12, 11, "t", Some("data: x\nid: 7\n\n")),
            stored(13, 12, "t", X),
            stored(15, 14, "t", X),
            stored(16, 16, "t", X),
        ];
        let events = read(events).of_topic(&Topic::new("t").unwrap());
        assert_eq!(chain(events), [(9, 10), (10, 13), (14, 15)]);
    }

    #[test]
    fn the_window_of_all_topics_has_no_hole_where_nothing_was_deleted() {
        let events = || vec![stored(10, 9, "t", X), stored(11, 0, "a b", X), stored(12, 3, "u", X)];
        assert_eq!(chain(read(events()).of_all(8)), [(8, 10), (10, 12)]);
        let trimmed = StoredEvents { trimmed: 9, ..read(events()) };
        assert_eq!(chain(trimmed.of_all(8)), [(9, 10), (10, 12)]);
    }
}
