//! Reads a batch of the past of topics from the server.

use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::stream::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use super::NatsLogInner;
use super::connection::RESPONSE_TIMEOUT;
use super::ids::NatsPosition;
use super::link::{Consumed, NatsMessage, RetryLater};
use super::stream::{create_consumer, delete_consumer, last_message};
use crate::event_log::{Logged, Topic, Topics};

pub(super) type NatsEvent = (NatsPosition, Logged);

/// Reads the past of topics.
#[derive(Clone, Copy)]
pub(super) struct BatchReader<'a> {
    pub(super) log: &'a NatsLogInner,
    pub(super) stream: &'a Stream,
    pub(super) topics: &'a Topics,
    pub(super) epoch: u64,
}

/// Events in the order of the stream.
#[derive(Debug)]
pub(super) struct EventBatch {
    pub(super) events: Vec<NatsEvent>,
    /// All events up to this sequence were read.
    pub(super) last: u64,
    /// The last message of the topics, also if it is not in the batch.
    pub(super) latest: Option<NatsPosition>,
    /// Messages that replaced others of their topics: their sequences, and the last sequence that
    /// each replaced.
    rolled_up: Vec<(u64, u64)>,
}

impl EventBatch {
    /// Whether an event after a position, which the batch should have, was replaced.
    pub(super) fn lacks_events_after(&self, position: u64) -> bool {
        self.rolled_up.iter().any(|(at, last)| *at <= self.last && *last > position)
    }
}

impl BatchReader<'_> {
    /// Reads a batch of the events after a position and up to `head`, the last message that this
    /// process has read: so the events are of the history that the window has.
    ///
    /// The ends are requested from the stream: the number of pending messages that a consumer
    /// reports can be too small (seen in NATS 2.9.10).
    pub(super) async fn read(&self, position: u64, head: u64) -> Result<EventBatch, RetryLater> {
        self.read_of(&self.ends().await?, position, head).await
    }

    /// The same of topics of which the [ends](Self::ends) are known.
    pub(super) async fn read_of(
        &self,
        ends: &[(String, NatsPosition)],
        position: u64,
        head: u64,
    ) -> Result<EventBatch, RetryLater> {
        let last = head.max(position);
        let mut batch =
            EventBatch { events: Vec::new(), last, latest: None, rolled_up: Vec::new() };
        let mut wanted = Vec::new();
        for (subject, end) in ends {
            batch.latest = later(batch.latest, *end);
            let end = end.slot.sequence;
            if end > position && head > position {
                wanted.push((subject.clone(), end.min(head)));
            }
        }
        if self.log.link.replays.has_filters() && !overlap(&wanted) {
            let end = wanted.iter().map(|(_, end)| *end).max();
            let subjects = wanted.into_iter().map(|(subject, _)| subject).collect();
            if let Some(end) = end {
                self.add(&mut batch, subjects, position, end).await?;
            }
            return Ok(batch);
        }
        // A consumer for each: before NATS 2.10 a consumer with several subjects reads all others.
        for (subject, end) in wanted {
            let end = end.min(batch.last);
            self.add(&mut batch, vec![subject], position, end).await?;
        }
        Ok(batch)
    }

    /// The subjects of the topics that have messages, with the last message of each.
    pub(super) async fn ends(&self) -> Result<Vec<(String, NatsPosition)>, RetryLater> {
        let names = self.topics.names().filter(|name| !self.topics.matches_pattern(name));
        let paths = names.map(Topic::as_str).chain(self.topics.patterns());
        let subjects: Vec<_> = paths.map(|path| self.log.link.subject(path)).collect();
        let ends = subjects.into_iter().map(|subject| self.end(subject));
        let ends: Vec<_> = stream::iter(ends).buffered(MAX_REQUESTS).try_collect().await?;
        Ok(ends.into_iter().flatten().collect())
    }

    async fn end(&self, subject: String) -> Result<Option<(String, NatsPosition)>, RetryLater> {
        let last = last_message(self.stream, &subject).await?;
        Ok(last.map(|last| (subject, self.log.link.requested(self.epoch, &last).position)))
    }

    /// Adds the events of some subjects to a batch, and drops those that are too many for one.
    async fn add(
        &self,
        batch: &mut EventBatch,
        subjects: Vec<String>,
        position: u64,
        end: u64,
    ) -> Result<(), RetryLater> {
        let consumer = create_consumer(self.stream, position + 1, subjects).await?;
        let read = self.consume(&consumer, batch, position, end).await;
        delete_consumer(self.stream, &consumer).await;
        read?;
        batch.events.sort_unstable_by_key(|(at, _)| at.slot.sequence);
        // A topic may match several patterns.
        batch.events.dedup_by_key(|(at, _)| at.slot.sequence);
        let mut bytes = 0;
        let fits = batch.events.iter().take(MAX_EVENTS).take_while(|(_, event)| {
            let is_first = bytes == 0;
            bytes += event.bytes().len();
            is_first || bytes <= MAX_BYTES
        });
        let fits = fits.count();
        if let Some((next, _)) = batch.events.get(fits) {
            batch.last = batch.last.min(next.slot.sequence - 1);
        }
        let last = batch.last;
        batch.events.retain(|(at, _)| at.slot.sequence <= last);
        Ok(())
    }

    /// Adds what a consumer sends after a position and up to `end`, a sequence which its last
    /// message has or is after.
    async fn consume(
        &self,
        consumer: &PullConsumer,
        batch: &mut EventBatch,
        position: u64,
        end: u64,
    ) -> Result<(), RetryLater> {
        // At least the longest event: the server does not send one that exceeds the batch.
        let bytes = MAX_BYTES.max(self.log.link.replays.max_payload() + MAX_OVERHEAD);
        // There cannot be more, and what is after the end is for nobody.
        let most = usize::try_from(end - position).map_or(MAX_EVENTS, |most| most.min(MAX_EVENTS));
        let messages = consumer.batch().max_messages(most).max_bytes(bytes).expires(EXPIRES);
        let mut messages = messages.messages().await.map_err(RetryLater::because)?;
        let (mut count, mut last) = (0, 0);
        // After an error, the messages before it are used.
        while let Ok(Some(Ok(message))) = timeout(RESPONSE_TIMEOUT, messages.next()).await {
            count += 1;
            let Consumed { count: counted, message } =
                self.log.link.consumed(self.epoch, &message)?;
            if counted != count {
                return Err(RetryLater::default());
            }
            let NatsMessage { position, event, rolled_up } = message;
            last = position.slot.sequence;
            if last <= end {
                let rolled_up = rolled_up.filter(|it| self.topics.matches(&it.topic));
                batch.rolled_up.extend(rolled_up.map(|it| (last, it.last)));
                let event = event.filter(|event| self.topics.matches(event.topic()));
                batch.events.extend(event.map(|event| (position, event)));
            }
            if last >= end {
                return Ok(());
            }
        }
        batch.last = batch.last.min(last);
        if count == 0 { Err(RetryLater::default()) } else { Ok(()) }
    }

    /// The last events of topics, if these finish them and are not after a position.
    pub(super) async fn finished_topics(&self, up_to: u64) -> Result<Vec<NatsEvent>, RetryLater> {
        let mut ends = Vec::new();
        for name in self.topics.names() {
            let subject = self.log.link.subject(name.as_str());
            let last = last_message(self.stream, &subject).await?;
            let last = last.map(|last| self.log.link.requested(self.epoch, &last));
            let Some(NatsMessage { position, event: Some(event), .. }) = last else {
                continue;
            };
            if position.slot.sequence <= up_to && event.finishes_topic() {
                ends.push((position, event));
            }
        }
        ends.sort_unstable_by_key(|(at, _)| at.slot.sequence);
        Ok(ends)
    }
}

fn later(latest: Option<NatsPosition>, other: NatsPosition) -> Option<NatsPosition> {
    latest.into_iter().chain([other]).max_by_key(|it| it.slot.sequence)
}

/// Whether two subjects may match the same one, which a server refuses in one consumer.
fn overlap(subjects: &[(String, u64)]) -> bool {
    let mut rest = subjects;
    while let [(first, _), others @ ..] = rest {
        let is_wild = |subject: &str| subject.contains(['*', '>']);
        if others.iter().any(|(it, _)| (is_wild(first) || is_wild(it)) && both_match(first, it)) {
            return true;
        }
        rest = others;
    }
    false
}

/// Whether there is a topic that two patterns match.
fn both_match(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) | (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some(one), Some(other)) if one == other || one == "*" || other == "*" => {}
            _ => return false,
        }
    }
}

/// The most events of a batch.
pub(super) const MAX_EVENTS: usize = 256;

/// The most bytes of a batch, unless one event may be longer.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The most that a message has beside its event.
const MAX_OVERHEAD: usize = 64 * 1024;

/// How many requests for one batch are on their way at a time.
const MAX_REQUESTS: usize = 8;

/// How long a server waits for more messages; reads end before that, since their end is known.
const EXPIRES: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_patterns_overlap_if_one_topic_matches_both() {
        #[rustfmt::skip]
        let table: &[(&str, &str, bool)] = &[
            ("a.b",   "a.c",   false),
            ("a.*",   "a.b",   true),
            ("a.*",   "*.b",   true),
            ("a.*",   "b.*",   false),
            ("a.*",   "a.b.c", false),
            ("a.>",   "a.b.c", true),
            ("a.>",   "*.*",   true),
            ("a.>",   "a",     false),
            (">",     "*",     true),
        ];
        for &(a, b, expected) in table {
            assert_eq!(both_match(a, b), expected, "{a} {b}");
            assert_eq!(overlap(&[(b.into(), 1), ("x".into(), 1), (a.into(), 1)]), expected);
        }
    }
}
