//! The connection to the servers, the stream, and its consumers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;
use tokio::time::timeout;

use super::login::parse_servers;
use super::{NatsConnectError, NatsLogBuilder, NatsStorage};
use crate::event_log::health::HealthCell;
use crate::event_log::{Logged, Topic, Topics};
use crate::wire::EventId;

/// The connection to the servers.
#[derive(Debug)]
pub(super) struct NatsLink {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) settings: NatsLogBuilder,
    /// Counts events that may have lost messages: connections lost and made, and full buffers.
    changes: watch::Receiver<u64>,
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

impl NatsLink {
    pub(super) async fn connect(
        settings: NatsLogBuilder,
        servers: &str,
    ) -> Result<Self, NatsConnectError> {
        let (count, changes) = watch::channel(0);
        let (count, away) = (Arc::new(count), Arc::new(AtomicBool::new(false)));
        let options = ConnectOptions::new()
            .name("tower-sse")
            .ping_interval(PING)
            .request_timeout(Some(RESPONSE_TIMEOUT))
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                let count = Arc::clone(&count);
                let counts = match event {
                    // The first connection lost nothing.
                    Event::Connected => away.swap(false, Ordering::Relaxed),
                    Event::Disconnected | Event::Closed => {
                        away.store(true, Ordering::Relaxed);
                        true
                    }
                    Event::SlowConsumer(_) => true,
                    _ => false,
                };
                async move {
                    if counts {
                        count.send_modify(|count| *count += 1);
                    }
                }
            });
        let (servers, login) = parse_servers(servers)?;
        let options = match settings.login.clone().or(login) {
            Some(login) => login.add_to(options).await?,
            None => options,
        };
        // In a task of its own, since the client library panics if a server requires TLS and there
        // is no cryptography provider, or more than one.
        let connecting = tokio::spawn(async move { options.connect(&servers[..]).await });
        let client = connecting.await.map_err(|_| NatsConnectError::tls())?;
        let client = client.map_err(NatsConnectError::connect)?;
        // Longer than the timeout of an append, which ends first.
        let ack_timeout = settings.append_timeout + RESPONSE_TIMEOUT;
        let jetstream = ContextBuilder::new()
            .timeout(RESPONSE_TIMEOUT)
            .ack_timeout(ack_timeout)
            .build(client.clone());
        let message_prefix = client.new_inbox();
        let messages = AtomicU64::new(0);
        let health = HealthCell::new();
        Ok(Self { client, jetstream, settings, changes, message_prefix, messages, health })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// A receiver of changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        // A clone has seen as many changes as the original, which is none.
        changes.mark_unchanged();
        changes
    }

    /// Waits for a connection.
    pub(super) async fn connected(&self) {
        let mut changes = self.changes();
        while !self.is_connected() {
            // With a timeout, since the state may be updated a moment after the change.
            let _ = timeout(PAUSE, changes.changed()).await;
        }
    }

    /// Waits before a retry: for a while, or until the connection changes, and then until there is
    /// a connection.
    pub(super) async fn pause(&self) {
        let mut changes = self.changes();
        let _ = timeout(PAUSE, changes.changed()).await;
        self.connected().await;
    }

    /// A message id for an event, by which a server recognizes a duplicate.
    pub(super) fn new_message_id(&self) -> String {
        format!("{}-{}", self.message_prefix, self.messages.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn subject(&self, topic: &str) -> String {
        format!("{}.{topic}", self.settings.prefix)
    }

    /// The one filter for these topics; empty, for all topics, if they need more than one.
    pub(super) fn filter(&self, topics: &Topics) -> String {
        let mut all = self.subjects(topics);
        match (all.next(), all.next()) {
            (Some(only), None) => only,
            _ => String::new(),
        }
    }

    pub(super) fn subjects<'a>(&'a self, topics: &'a Topics) -> impl Iterator<Item = String> + 'a {
        let names = topics.names().map(Topic::as_str);
        names.chain(topics.patterns()).map(|topic| self.subject(topic))
    }

    /// Gets the stream, with its current state, or creates it.
    pub(super) async fn get_or_create_stream(&self) -> Result<Stream, NatsConnectError> {
        let stream = self.jetstream.get_or_create_stream(self.config()).await;
        let stream = stream.map_err(|error| {
            let why = "the stream cannot be read or created: is JetStream enabled, and may this \
                       user use it?";
            NatsConnectError::server(why, error)
        })?;
        let config = &stream.cached_info().config;
        if config.subjects != self.config().subjects {
            return Err(NatsConnectError::stream("its subjects are not those of the prefix"));
        }
        if config.retention != RetentionPolicy::Limits {
            return Err(NatsConnectError::stream("it does not keep events that were read"));
        }
        // With such a limit, a loss between two events of a topic could not be detected.
        if config.max_messages_per_subject > 0 {
            return Err(NatsConnectError::stream("it has a limit of messages per subject"));
        }
        // Without an answer nobody knows whether an event was taken, and no event has an id.
        if config.no_ack {
            return Err(NatsConnectError::stream("its acknowledgements are off (`no_ack`)"));
        }
        // An event that is sent again after that would be there twice.
        let window = config.duplicate_window;
        if !window.is_zero() && window < self.settings.append_timeout {
            let why = "its `duplicate_window` is shorter than the setting `append_timeout`";
            return Err(NatsConnectError::stream(why));
        }
        Ok(stream)
    }

    /// Gets the stream, with its current state.
    pub(super) async fn get_stream(&self) -> Result<Stream, RetryLater> {
        let stream = self.jetstream.get_stream(&self.settings.stream).await;
        stream.map_err(RetryLater::because)
    }

    fn config(&self) -> Config {
        let settings = &self.settings;
        Config {
            name: settings.stream.clone(),
            subjects: vec![self.subject(">")],
            max_messages: i64::try_from(settings.events).unwrap_or(i64::MAX),
            max_bytes: i64::try_from(settings.bytes).unwrap_or(i64::MAX),
            max_age: settings.age,
            duplicate_window: settings.duplicate_window(),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            storage: match settings.storage {
                NatsStorage::File => StorageType::File,
                NatsStorage::Memory => StorageType::Memory,
            },
            num_replicas: settings.replicas,
            ..Config::default()
        }
    }

    /// Parses a message into an event; `None` for a foreign message.
    pub(super) fn parse_event(
        &self,
        epoch: u64,
        sequence: u64,
        subject: &str,
        payload: &[u8],
    ) -> Option<Logged> {
        let topic = subject.strip_prefix(&*self.settings.prefix)?.strip_prefix('.')?;
        let topic = Topic::new(topic).ok()?;
        Logged::from_encoded(topic, &EventId::with_epoch(epoch, sequence), payload).ok()
    }
}

/// Creates a consumer that starts at a sequence.
pub(super) async fn create_consumer(
    stream: &Stream,
    first: u64,
    filter: String,
) -> Result<PullConsumer, RetryLater> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first.max(1) },
        // Positions are kept in this process. The numbers of the messages show which were lost.
        ack_policy: AckPolicy::None,
        filter_subject: filter,
        inactive_threshold: INACTIVE,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(RetryLater::because)
}

/// Deletes a consumer, so that the server need not wait until it is inactive.
pub(super) async fn delete_consumer(stream: &Stream, consumer: &PullConsumer) {
    let _ = stream.delete_consumer(&consumer.cached_info().name).await;
}

/// When the stream was created, in nanoseconds.
pub(super) fn created(info: &Info) -> u64 {
    u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default()
}

/// The delay before the next attempt to connect. It doubles up to a second, so that nodes are back
/// soon after their server.
fn reconnect_delay(attempts: usize) -> Duration {
    let doubled = 10 << attempts.min(7);
    Duration::from_millis(doubled).min(Duration::from_secs(1))
}

/// How often a silent connection is checked.
const PING: Duration = Duration::from_secs(10);

/// How long an answer to a request about streams and consumers may take.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before a retry.
const PAUSE: Duration = Duration::from_millis(250);

/// How long after the last request a server deletes a consumer.
const INACTIVE: Duration = Duration::from_secs(30);
