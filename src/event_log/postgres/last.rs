//! The last events of topics in PostgreSQL.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};

use super::error::PgResult;
use super::link::{PostgresLink, bounds};
use super::rows::{StoredEvent, StoredEvents, to_sql};
use crate::event_log::broker::{LastPage, WindowLimits};
use crate::event_log::{Topic, Topics};

impl PostgresLink {
    /// Events of topics, back from a sequence.
    pub(super) async fn try_last(
        &self,
        topics: &Topics,
        up_to: u64,
        limits: WindowLimits,
        within: Duration,
    ) -> PgResult<LastPage> {
        let names: Vec<_> = topics.names().map(Topic::as_str).collect();
        let patterns: Vec<_> = topics.expressions('\\').collect();
        let ((events, bytes), up_to) = (bounds(limits), to_sql(up_to));
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&names, Type::TEXT_ARRAY),
            (&up_to, Type::INT8),
            (&events, Type::INT8),
            (&bytes, Type::INT8),
            (&patterns, Type::TEXT_ARRAY),
        ];
        let (statement, parameters) = match topics.has_patterns() {
            true => (&self.statements().last_matching, &parameters[..]),
            false => (&self.statements().last, &parameters[..4]),
        };
        let session = self.replays.get().await?;
        let read = StoredEvents::parse(&session.ask(within, statement, parameters).await?)?;
        self.clock.set(read.head);
        let bytes: usize =
            read.events.iter().filter_map(|it| it.event.as_ref()).map(Vec::len).sum();
        let more_up_to = match read.events.first() {
            Some(first) if read.events.len() >= limits.events || bytes >= limits.bytes => {
                first.sequence.checked_sub(1)
            }
            // Rows before this were not looked at.
            _ => read.floor.checked_sub(1),
        };
        let event = |stored: StoredEvent| {
            let topic = Topic::new(&stored.topic).ok()?;
            Some(stored.read(read.head.epoch, topic, stored.predecessor)?.logged)
        };
        let events = read.events.into_iter().rev().filter_map(event).collect();
        Ok(LastPage { events, more_up_to })
    }
}
