//! A log in NATS.

mod append;
mod builder;
mod error;
mod fetch;
mod follower;
mod link;
mod reader;
mod shared;
mod window;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::ids::id_before;
use super::{EventLog, Start, Topic, Topics};
use crate::wire::{Event, EventId};

pub use builder::{NatsLogBuilder, NatsStorage};
pub use error::{NatsConnectError, NatsLogError};
pub use follower::NatsFollower;
use link::{Link, made};
use shared::Shared;

/// A log in [NATS JetStream](https://docs.nats.io/nats-concepts/jetstream), for any number of nodes:
/// what one publishes the clients of all get, under the same ids, and a client that loses one node
/// goes on at another.
///
/// All topics are in one stream, each as a subject. Ids are `<epoch>-<sequence>`: when the stream was
/// made, and the event's sequence in it. So ids of a stream that was deleted, or lost with its
/// server, are not taken for ids of the next one: they are a gap.
///
/// # How it is read
///
/// A process reads the stream once, with one consumer from [connecting](Self::connect) on, however
/// many followers and topics there are, and keeps the last events of all topics in a window. Followers
/// read there, and cost a place and a waker. One that comes back from further behind is sent batches
/// by a consumer of its own, at most 16 of these at a time, until it is in the window. Every node is
/// sent all events of the log: topics that have little to do with each other, and many events, are
/// better in logs of their own.
///
/// # What cannot be had
///
/// A stream trims the oldest events of all topics together. Whether those of a certain topic were
/// among them nobody knows: so who asks for what is behind an event that is trimmed, and not the last
/// that was, is told of a [`Gap`](super::Gap), though its topics may have lost nothing. A false gap is
/// better than a loss that nobody is told of. Messages that are deleted by hand leave no gap.
///
/// # While the servers are away
///
/// Followers wait, and go on where they were. Publishers wait as long as
/// [they are let](NatsLogBuilder::away_timeout), and get an error. The client library reconnects for
/// ever. An event that was sent when the connection was lost is sent again, under a message id by which
/// the server knows it.
///
/// Messages that others write under the log's subjects are passed over if they are not one event each,
/// as [`Event::encode`] writes it, without an id.
///
/// # Users, passwords and TLS
///
/// A user and a password, or a token, are part of the address: `nats://user:password@host`. With
/// `tls://host`, or a server that asks for TLS, the feature `nats-tls` is needed, and the system's
/// certificates are trusted.
///
/// # Examples
///
/// ```no_run
/// use tower_sse::{Event, Hub};
/// use tower_sse::event_log::{NatsLog, Topic};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(NatsLog::connect("nats://127.0.0.1:4222").await?);
/// let id = hub.publish(&Topic::new("orders.42")?, Event::new().data("paid")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsLog {
    inner: Arc<Inner>,
}

/// What ends with the last handle and the last follower.
struct Inner {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl NatsLog {
    /// Connects with the default settings: see [`NatsLogBuilder`].
    ///
    /// # Errors
    ///
    /// See [`NatsLogBuilder::connect`].
    pub async fn connect(servers: impl AsRef<str>) -> Result<Self, NatsConnectError> {
        Self::builder().connect(servers).await
    }

    /// Settings for a log.
    pub fn builder() -> NatsLogBuilder {
        NatsLogBuilder::default()
    }

    async fn open(settings: NatsLogBuilder, servers: &str) -> Result<Self, NatsConnectError> {
        let link = Link::connect(settings, servers).await?;
        let stream = link.stream().await?;
        let shared = Arc::new(Shared::new(link, Handle::current()));
        reader::begin(&shared, &stream);
        let reader = tokio::spawn(reader::read(Arc::clone(&shared), stream)).abort_handle();
        Ok(Self { inner: Arc::new(Inner { shared, reader }) })
    }

    /// Whether there is a connection to a server now.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.shared.link.is_connected()
    }
}

impl EventLog for NatsLog {
    type Error = NatsLogError;
    type Follower = NatsFollower;

    fn append(
        &self,
        topic: &Topic,
        event: Event,
    ) -> impl Future<Output = Result<EventId, NatsLogError>> + Send {
        let (shared, topic) = (Arc::clone(&self.inner.shared), topic.clone());
        async move { append::append(&shared, &topic, &event).await }
    }

    fn follow(&self, topics: Topics, from: Start) -> NatsFollower {
        NatsFollower::new(Arc::clone(&self.inner), topics, from)
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, NatsLogError> {
        let shared = &self.inner.shared;
        let away = tokio::time::timeout(shared.link.settings.away_timeout, shared.link.connected());
        away.await.map_err(|_| NatsLogError::Away)?;
        let stream = shared.link.known_stream().await.map_err(|_| NatsLogError::Unanswered)?;
        let info = stream.cached_info();
        // Of no event: it reveals no id.
        Ok(id_before(made(info), info.state.last_sequence + 1))
    }
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLog")
            .field("settings", &self.inner.shared.link.settings)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}
