//! [`NatsLog`], a log in NATS `JetStream` that any number of nodes share.

mod builder;
mod fetch;
mod follower;
mod link;
mod login;
mod poller;
mod window;

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::ids::id_before;
use super::{EventLog, LogHealth, Start, Topic, Topics};
use crate::sync::lock;
use crate::wire::{Event, EventId};

pub use builder::{NatsConnectError, NatsLogBuilder, NatsLogError, NatsStorage};
pub use follower::NatsFollower;
use link::{NatsLink, created};
use window::NatsWindow;

/// A log in [NATS JetStream](https://docs.nats.io/nats-concepts/jetstream) that any number of nodes
/// share: an event has the same id on each node, and a client of one node can resume at another.
///
/// All topics are in one stream, each as a subject. Ids are `<epoch>-<sequence>`: the time when the
/// stream was created, and the event's sequence in it. So ids of a stream that was deleted, or lost
/// with its server, are not taken for ids of the next stream: a client that sends one gets a gap.
///
/// # How the stream is read
///
/// A process reads the stream once, with one consumer that starts when it
/// [connects](Self::connect), however many followers and topics there are. It keeps the last events
/// of all topics in a window, from which the followers read: a follower costs a position and a
/// waker. A follower that is behind the window is sent batches by a consumer of its own, until it
/// is in the window; at most 16 such batches are read at a time.
///
/// Every node is sent all events of the log. So if topics have little to do with each other and
/// many events, give them logs of their own.
///
/// # Gaps
///
/// A stream trims the oldest events of all topics together, and does not know whether it trimmed
/// events of a certain topic. So a client that resumes after an event that is trimmed gets a
/// [`Gap`](super::Gap), though its topics may have lost nothing, unless that event was the last one
/// that was trimmed. A false gap is better than a loss that the client does not learn of. Messages
/// that are deleted by hand leave no gap.
///
/// # While the servers are away
///
/// Followers wait, and go on where they were. Publishers wait for [a time that can be
/// set](NatsLogBuilder::away_timeout), and then get an error. The client library reconnects for
/// ever. If the connection is lost after an event was sent, the event is sent again with the same
/// message id, by which the server recognizes it.
///
/// Messages of other writers under the log's subjects are skipped unless each is one event without
/// an id, as [`Event::encode`] writes it.
///
/// # Users, passwords and TLS
///
/// A log signs in with what is set by the builder: [a user and a
/// password](NatsLogBuilder::user_and_password), [a token](NatsLogBuilder::token), or, with the
/// feature `nats-nkeys`, an `NKey` or a credentials file. If nothing is set, it signs in with what
/// is in the address: `nats://user:password@host` or `nats://token@host`, where special characters
/// are percent-encoded.
///
/// For `tls://host`, or a server that requires TLS, enable the feature `nats-tls`, which trusts the
/// certificates of the system.
///
/// # Examples
///
/// ```no_run
/// use tower_sse::event_log::{NatsLog, Topic};
/// use tower_sse::{Event, Hub};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(NatsLog::connect("nats://127.0.0.1:4222").await?);
/// let id = hub.publish(&Topic::new("orders.42")?, Event::new().data("paid")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NatsLog {
    handle: Arc<NatsHandle>,
}

/// What all handles and followers of a log own: the poller ends with the last of them.
struct NatsHandle {
    inner: Arc<NatsLogInner>,
    poller: AbortHandle,
}

impl Drop for NatsHandle {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// What the handles, the followers, the poller and the tasks of a log share.
#[derive(Debug)]
struct NatsLogInner {
    link: NatsLink,
    window: Mutex<NatsWindow>,
    runtime: Handle,
    /// Bounds how many followers are sent batches at the same time, so that a thousand clients that
    /// come back do not request all of them at once.
    fetches: Arc<Semaphore>,
}

impl NatsLogInner {
    fn new(link: NatsLink, runtime: Handle) -> Self {
        let window = NatsWindow::new(link.settings.window_events, link.settings.window_bytes);
        Self {
            link,
            window: Mutex::new(window),
            runtime,
            fetches: Arc::new(Semaphore::new(MAX_FETCHES)),
        }
    }

    /// Locks the window. No foreign code, such as a waker, may be called under the lock.
    fn window(&self) -> MutexGuard<'_, NatsWindow> {
        lock(&self.window)
    }
}

impl NatsLog {
    /// Connects to servers such as `nats://127.0.0.1:4222`, with the default settings: see
    /// [`NatsLogBuilder`].
    ///
    /// # Errors
    ///
    /// See [`NatsLogBuilder::connect`].
    pub async fn connect(servers: impl AsRef<str>) -> Result<Self, NatsConnectError> {
        Self::builder().connect(servers).await
    }

    /// Creates a builder, which sets the settings of a log.
    pub fn builder() -> NatsLogBuilder {
        NatsLogBuilder::default()
    }

    async fn with(settings: NatsLogBuilder, servers: &str) -> Result<Self, NatsConnectError> {
        let link = NatsLink::connect(settings, servers).await?;
        let stream = link.get_or_create_stream().await?;
        let inner = Arc::new(NatsLogInner::new(link, Handle::current()));
        poller::sync_window(&inner, &stream);
        let poller = tokio::spawn(poller::run(Arc::clone(&inner), stream)).abort_handle();
        Ok(Self { handle: Arc::new(NatsHandle { inner, poller }) })
    }

    /// Whether the log reads what is appended, since when, and if not, why.
    #[must_use]
    pub fn health(&self) -> LogHealth {
        self.handle.inner.link.health.get()
    }

    /// Whether there is a connection to a server now. See [`health`](Self::health) for whether the
    /// log reads.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.handle.inner.link.is_connected()
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
        let (inner, topic) = (Arc::clone(&self.handle.inner), topic.clone());
        async move { append(&inner, &topic, &event).await }
    }

    fn follow(&self, topics: Topics, from: Start) -> NatsFollower {
        NatsFollower::new(Arc::clone(&self.handle), topics, from)
    }

    fn is_final(error: &NatsLogError) -> bool {
        matches!(error, NatsLogError::NoData | NatsLogError::TooLong)
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, NatsLogError> {
        let link = &self.handle.inner.link;
        let connected = timeout(link.settings.away_timeout, link.connected());
        connected.await.map_err(|_| NatsLogError::Away)?;
        let stream = link.get_stream().await.map_err(|_| NatsLogError::Unanswered)?;
        let info = stream.cached_info();
        // The id of no event: it reveals no id of another topic.
        Ok(id_before(created(info), info.state.last_sequence + 1))
    }
}

/// Appends an event, and returns its id.
async fn append(log: &NatsLogInner, topic: &Topic, event: &Event) -> Result<EventId, NatsLogError> {
    let payload = event.encode_without_id().ok_or(NatsLogError::NoData)?;
    if payload.len() + MAX_HEADERS > log.link.client.server_info().max_payload {
        return Err(NatsLogError::TooLong);
    }
    let mut sent = false;
    let subject = log.link.subject(topic.as_str());
    let publish = publish(log, subject, payload.into(), &mut sent);
    match timeout(log.link.settings.append_timeout, publish).await {
        Ok(result) => result,
        Err(_) => Err(no_answer(sent)),
    }
}

/// Publishes until the server answers. `sent` becomes true when the event may have left.
async fn publish(
    log: &NatsLogInner,
    subject: String,
    payload: Bytes,
    sent: &mut bool,
) -> Result<EventId, NatsLogError> {
    let link = &log.link;
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_MESSAGE_ID, link.new_message_id());
    loop {
        if timeout(link.settings.away_timeout, link.connected()).await.is_err() {
            return Err(no_answer(*sent));
        }
        let mut changes = link.changes();
        let (generation, epoch, known) = {
            let window = log.window();
            (window.generation, window.epoch, window.known)
        };
        // The client library sends what it was given later if the connection is gone by now.
        *sent = true;
        let ack = async {
            let (subject, headers) = (subject.clone(), headers.clone());
            link.jetstream.publish_with_headers(subject, headers, payload.clone()).await?.await
        };
        let error = match select(pin!(ack), pin!(changes.changed())).await {
            Either::Right(_) => continue,
            Either::Left((Ok(ack), _)) => {
                if ack.sequence <= known && !ack.duplicate {
                    // A sequence that was given out before: the stream was created anew, and the
                    // poller has not noticed it yet.
                    let stream = link.get_stream().await.map_err(|_| NatsLogError::Unanswered)?;
                    return Ok(EventId::with_epoch(created(stream.cached_info()), ack.sequence));
                }
                log.window().set_known(generation, ack.sequence);
                return Ok(EventId::with_epoch(epoch, ack.sequence));
            }
            Either::Left((Err(error), _)) => error,
        };
        match error.kind() {
            // The stream is not there, or not yet, as after a start of the server; or the server
            // does not answer.
            PublishErrorKind::StreamNotFound
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe => {}
            _ => return Err(NatsLogError::Refused(error.to_string().into())),
        }
        link.pause().await;
    }
}

fn no_answer(sent: bool) -> NatsLogError {
    match sent {
        true => NatsLogError::Unanswered,
        false => NatsLogError::Away,
    }
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLog")
            .field("settings", &self.handle.inner.link.settings)
            .field("connected", &self.is_connected())
            .finish_non_exhaustive()
    }
}

/// The most followers that are sent batches at the same time.
const MAX_FETCHES: usize = 16;

/// Room for the header with the message id.
const MAX_HEADERS: usize = 256;
