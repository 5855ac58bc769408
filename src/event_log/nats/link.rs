//! The connections of a log, and what the events of its stream are.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_MESSAGE_ID};
use async_nats::jetstream::Message;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::Stream;

use super::NatsLogBuilder;
use super::connection::{Connection, RESPONSE_TIMEOUT};
use super::ids::{Fingerprint, NatsPosition};
use super::login::parse_servers;
use crate::event_log::health::HealthCell;
use crate::event_log::{BrokerError, Logged, Topic};

/// The connections of a log. Each has a task and a socket of its own, so that a client that is sent
/// the far past delays neither what is appended nor what the others follow.
#[derive(Debug)]
pub(super) struct NatsLink {
    pub(super) appends: Connection,
    /// For the poller.
    pub(super) reads: Connection,
    /// For followers that are behind the window.
    pub(super) replays: Connection,
    pub(super) settings: NatsLogBuilder,
    /// What message ids begin with, which is different in each process.
    message_prefix: String,
    messages: AtomicU64,
    pub(super) health: HealthCell,
}

/// A request failed, and is to be retried later. It may be known why.
#[derive(Debug, Default)]
pub(super) struct RetryLater(pub(super) Option<Box<str>>);

impl RetryLater {
    pub(super) fn because(error: impl fmt::Display) -> Self {
        Self(Some(error.to_string().into()))
    }
}

/// A message of the stream.
#[derive(Clone, Debug)]
pub(super) struct NatsMessage {
    pub(super) position: NatsPosition,
    /// `None` for a message that another writer made and that is not an event.
    pub(super) event: Option<Logged>,
    pub(super) rolled_up: Option<Box<RolledUp>>,
}

/// A message without an event that replaced all earlier ones of its topic.
#[derive(Clone, Debug)]
pub(super) struct RolledUp {
    pub(super) topic: Topic,
    /// The last sequence that the topic had before.
    pub(super) last: u64,
    /// Whether this process has read the event with that sequence.
    pub(super) is_read: bool,
}

impl NatsMessage {
    /// The topic that followers find the message in.
    pub(super) fn topic(&self) -> Option<&Topic> {
        let rolled_up = self.rolled_up.as_ref().map(|rolled_up| &rolled_up.topic);
        self.event.as_ref().map(Logged::topic).or(rolled_up)
    }
}

impl NatsLink {
    pub(super) async fn connect(
        settings: NatsLogBuilder,
        servers: &str,
    ) -> Result<Self, BrokerError> {
        let (servers, login) = parse_servers(servers)?;
        let login = settings.login.clone().or(login);
        // Longer than the timeout of an append, which ends first.
        let ack_timeout = settings.append_timeout + RESPONSE_TIMEOUT;
        let open = || Connection::open(&servers, login.clone(), ack_timeout);
        let (appends, reads, replays) = (open().await?, open().await?, open().await?);
        let message_prefix = appends.client.new_inbox();
        let (messages, health) = (AtomicU64::new(0), HealthCell::new("nats"));
        Ok(Self { appends, reads, replays, settings, message_prefix, messages, health })
    }

    /// Gets the stream, with its current state.
    pub(super) async fn get_stream(&self, by: &Connection) -> Result<Stream, RetryLater> {
        let stream = by.jetstream.get_stream(&self.settings.stream).await;
        stream.map_err(RetryLater::because)
    }

    /// A message id for an event, by which a server recognizes a duplicate.
    pub(super) fn new_message_id(&self) -> String {
        format!("{}-{}", self.message_prefix, self.messages.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn subject(&self, topic: &str) -> String {
        format!("{}.{topic}", self.settings.prefix)
    }

    /// A message that a consumer sent.
    pub(super) fn consumed(&self, epoch: u64, message: &Message) -> Result<Consumed, RetryLater> {
        let info = message.info().map_err(RetryLater::because)?;
        let sent = info.published.unix_timestamp_nanos();
        let headers = message.headers.as_ref();
        let print = fingerprint(headers, sent, &message.payload);
        let position = NatsPosition::event(epoch, info.stream_sequence, print);
        let message = self.parse(position, &message.subject, headers, &message.payload);
        Ok(Consumed { count: info.consumer_sequence, message })
    }

    /// A message that was requested by its sequence or its subject.
    pub(super) fn requested(&self, epoch: u64, message: &StreamMessage) -> NatsMessage {
        let position = NatsPosition::event(epoch, message.sequence, fingerprint_of(message));
        self.parse(position, &message.subject, Some(&message.headers), &message.payload)
    }

    fn parse(
        &self,
        position: NatsPosition,
        subject: &str,
        headers: Option<&HeaderMap>,
        payload: &[u8],
    ) -> NatsMessage {
        let topic = subject.strip_prefix(&*self.settings.prefix);
        let topic = topic.and_then(|topic| Topic::new(topic.strip_prefix('.')?).ok());
        let Some(topic) = topic else {
            return NatsMessage { position, event: None, rolled_up: None };
        };
        let event = Logged::from_encoded(topic.clone(), &position.id(), payload).ok();
        let last = headers.filter(|_| event.is_none()).and_then(last_rolled_up);
        let rolled_up = last.map(|last| Box::new(RolledUp { topic, last, is_read: false }));
        NatsMessage { position, event, rolled_up }
    }
}

/// A message that is the `count`-th of its consumer.
pub(super) struct Consumed {
    pub(super) count: u64,
    pub(super) message: NatsMessage,
}

pub(super) fn fingerprint_of(message: &StreamMessage) -> Fingerprint {
    let sent = message.time.unix_timestamp_nanos();
    fingerprint(Some(&message.headers), sent, &message.payload)
}

/// The last sequence that a message with these headers replaced, if it is one by which a log
/// forgets a topic.
fn last_rolled_up(headers: &HeaderMap) -> Option<u64> {
    let is_rolled_up = headers.get(ROLLUP)?.as_str() == "sub";
    let last = headers.get(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE)?.as_str().parse().ok();
    last.filter(|_| is_rolled_up)
}

/// With `sub`, a message replaces all earlier ones of its subject.
pub(super) const ROLLUP: &str = "Nats-Rollup";

/// By the message id, which the log makes anew for each event; or by the time, if the message is
/// another writer's and has none.
fn fingerprint(headers: Option<&HeaderMap>, sent: i128, payload: &[u8]) -> Fingerprint {
    match headers.and_then(|headers| headers.get(NATS_MESSAGE_ID)) {
        Some(id) => Fingerprint::new(id.as_str().as_bytes(), payload),
        None => Fingerprint::new(&sent.to_le_bytes(), payload),
    }
}
