//! The connection to the servers, and the stream there.

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

use super::{NatsConnectError, NatsLogBuilder, NatsStorage};
use crate::event_log::{Logged, Topic, Topics};
use crate::wire::EventId;

/// The connection to the servers, and the stream there.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) settings: NatsLogBuilder,
    /// Counts what may have lost messages: connections that went and came, and buffers that were full.
    changes: watch::Receiver<u64>,
    /// What message ids begin with, so that no other process has the same.
    own: String,
    appended: AtomicU64,
}

/// Something went wrong, and it is to be tried again.
#[derive(Debug)]
pub(super) struct Trouble;

impl Link {
    pub(super) async fn connect(
        settings: NatsLogBuilder,
        servers: &str,
    ) -> Result<Self, NatsConnectError> {
        let (count, changes) = watch::channel(0);
        let (count, away) = (Arc::new(count), Arc::new(AtomicBool::new(false)));
        let options = ConnectOptions::new()
            .name("tower-sse")
            .ping_interval(PING)
            .request_timeout(Some(ANSWER))
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                let count = Arc::clone(&count);
                let counts = match event {
                    // The first one changes nothing.
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
        let servers: Vec<String> = servers.split(',').map(|it| it.trim().to_owned()).collect();
        // In a task of its own, since the client panics when a server asks for TLS, and there is no
        // cryptography built in or more than one.
        let connecting = tokio::spawn(async move { options.connect(&servers[..]).await });
        let client = connecting.await.map_err(|_| NatsConnectError::tls())?;
        let client = client.map_err(NatsConnectError::server)?;
        // Whoever publishes has its own timeout, and it ends first.
        let ack = settings.append_timeout + ANSWER;
        let jetstream =
            ContextBuilder::new().timeout(ANSWER).ack_timeout(ack).build(client.clone());
        let own = client.new_inbox();
        let appended = AtomicU64::new(0);
        Ok(Self { client, jetstream, settings, changes, own, appended })
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// What changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        // A clone has seen what the first one has, which is nothing.
        changes.mark_unchanged();
        changes
    }

    /// Waits for a connection.
    pub(super) async fn connected(&self) {
        let mut changes = self.changes();
        while !self.is_connected() {
            // Looked at now and then: the state may change a moment after it was told.
            let _ = timeout(PAUSE, changes.changed()).await;
        }
    }

    /// Waits after something went wrong: for a while, or until a connection comes or goes.
    pub(super) async fn pause(&self) {
        let mut changes = self.changes();
        let _ = timeout(PAUSE, changes.changed()).await;
        self.connected().await;
    }

    /// An id under which an event is sent, so that a server drops it if it comes again.
    pub(super) fn message_id(&self) -> String {
        format!("{}-{}", self.own, self.appended.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn subject(&self, topic: &str) -> String {
        format!("{}.{topic}", self.settings.prefix)
    }

    /// The one filter that a server can apply for these topics; empty if it takes more than one.
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

    /// The stream as it is now. It is made if it is not there.
    pub(super) async fn stream(&self) -> Result<Stream, NatsConnectError> {
        let stream = self.jetstream.get_or_create_stream(self.config()).await;
        let stream = stream.map_err(NatsConnectError::server)?;
        let config = &stream.cached_info().config;
        if config.subjects != self.config().subjects {
            return Err(NatsConnectError::stream("its subjects are not all with the prefix"));
        }
        if config.retention != RetentionPolicy::Limits {
            return Err(NatsConnectError::stream("it does not keep what was read"));
        }
        // Then nobody could tell whether a topic lost an event between two others.
        if config.max_messages_per_subject > 0 {
            return Err(NatsConnectError::stream("it has a limit of messages a subject"));
        }
        Ok(stream)
    }

    /// The stream, if it is there.
    pub(super) async fn known_stream(&self) -> Result<Stream, Trouble> {
        let stream = self.jetstream.get_stream(&self.settings.stream).await;
        stream.map_err(|_| Trouble)
    }

    fn config(&self) -> Config {
        let settings = &self.settings;
        Config {
            name: settings.stream.clone(),
            subjects: vec![self.subject(">")],
            max_messages: i64::try_from(settings.events).unwrap_or(i64::MAX),
            max_bytes: i64::try_from(settings.bytes).unwrap_or(i64::MAX),
            max_age: settings.age,
            duplicate_window: settings.remembered(),
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

    /// An event out of a message; none if it is not one of a log.
    pub(super) fn event(
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

/// A consumer that begins with a sequence and belongs to this process alone.
pub(super) async fn consume(
    stream: &Stream,
    first: u64,
    filter: String,
) -> Result<PullConsumer, Trouble> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: first.max(1) },
        // Places are kept here. What is lost on the way is seen by the numbers of the messages.
        ack_policy: AckPolicy::None,
        filter_subject: filter,
        inactive_threshold: FORGOTTEN,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map_err(|_| Trouble)
}

/// Takes a consumer back, so that the server need not find out by itself.
pub(super) async fn give_up(stream: &Stream, consumer: &PullConsumer) {
    let _ = stream.delete_consumer(&consumer.cached_info().name).await;
}

/// When the stream was made, in nanoseconds.
pub(super) fn made(info: &Info) -> u64 {
    u64::try_from(info.created.unix_timestamp_nanos()).unwrap_or_default()
}

/// Doubled from attempt to attempt up to a second, so that nodes are back soon after their server.
fn reconnect_delay(attempts: usize) -> Duration {
    let doubled = 10 << attempts.min(7);
    Duration::from_millis(doubled).min(Duration::from_secs(1))
}

/// How often a connection on which nothing comes is asked whether it is there.
const PING: Duration = Duration::from_secs(10);

/// How long an answer to a question about streams and consumers may take.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// How long to wait before something is tried again.
const PAUSE: Duration = Duration::from_millis(250);

/// After what time a server forgets a consumer that nobody asks.
const FORGOTTEN: Duration = Duration::from_secs(30);
