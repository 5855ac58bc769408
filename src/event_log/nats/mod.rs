//! [`NatsLog`], a log in NATS `JetStream` that any number of nodes share.

mod batch;
mod builder;
mod connection;
mod error;
mod fetch;
mod follower;
mod forget;
mod groups;
mod ids;
mod last;
mod link;
mod login;
mod poller;
mod publish;
mod send;
mod stream;
mod window;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::page::{Page, read_by_following};
use super::{Appended, BrokerError, EventLog, LogHealth, Logged, MessageId, Start, Topic, Topics};
use crate::sync::lock;
use crate::wire::{Event, EventId};

pub use builder::{NatsLogBuilder, NatsStorage};
use connection::{Connection, RESPONSE_TIMEOUT};
use error::{away, refused};
pub use follower::NatsFollower;
use forget::ForgetQueue;
use ids::{NatsPosition, Slot};
use link::{NatsLink, RetryLater};
use stream::{created, last_message};
use window::NatsWindow;

/// A log in [NATS JetStream](https://docs.nats.io/nats-concepts/jetstream) that any number of nodes
/// share: an event has the same id on each node, and a client of one node can resume at another.
///
/// All topics are in one stream, each as a subject. Ids are `<epoch>-<sequence>-<fingerprint>`: the
/// time when the stream was created, the event's sequence in it, and a hash of the event. So an id
/// names an event, and not only a sequence that a server may give to another event: after it was
/// restored from a copy, or crashed before it wrote its last events to disk. A client that sends
/// the id of such a lost event gets a gap, and so does a client that sends an id of a stream that
/// was deleted.
///
/// # How the stream is read
///
/// A process reads the stream once, with one consumer that starts when it
/// [connects](Self::connect), however many followers and topics there are. It keeps the last events
/// of all topics in a window, from which the followers read: a follower costs a position and a
/// waker, and an event wakes only the followers of its topic. A follower that is behind the window
/// is sent batches of its own topics, until it is in the window; [a
/// number](NatsLogBuilder::replays) of such batches are read at a time.
///
/// With NATS 2.10 and later one consumer reads all topics of a follower for a batch. With earlier
/// servers, and for patterns that overlap, there is a consumer for each topic that has missed
/// events, one after the other.
///
/// A log has three connections, so that appending, following and replays do not wait for one
/// another. Every node is sent all events of the log. So if topics have little to do with each
/// other and many events, give them logs of their own.
///
/// # Gaps
///
/// A stream trims the oldest events of all topics together, and does not know whether it trimmed
/// events of a certain topic. So a client that resumes after an event that is trimmed gets a
/// [`Gap`](super::Gap), though its topics may have lost nothing, unless this process still has that
/// event. A false gap is better than a loss that the client does not learn of. Messages that are
/// deleted by hand leave no gap, except for a client that resumes after one of them.
///
/// # Topics that are forgotten
///
/// A stream keeps events by their age and number, of all topics together. A topic that is [let go
/// of](EventLog::forget) makes room before that: the process that was told so publishes, when the
/// time has come, one message without an event that rolls up the subject (`Nats-Rollup: sub`), if
/// no event was appended since. The stream keeps that message as any other, and by it a client
/// learns that it missed events.
///
/// If the process ends before, or if the stream does not allow roll-ups (`allow_rollup_hdrs`, which
/// a log sets in the stream that it creates), the stream keeps the topic as any other. A process
/// remembers 65,536 topics to forget. A client that had all events of the topic, and fell behind
/// the window since, may get a gap, too.
///
/// # While the servers are away
///
/// Followers wait, and go on where they were. Publishers wait for [a time that can be
/// set](NatsLogBuilder::away_timeout), and then get an error. The client library reconnects for
/// ever. If the connection is lost after an event was sent, the event is sent again with the same
/// message id, by which the server recognizes it. After an [`Away`](BrokerError::Away) the event
/// was not appended; after a [`TimedOut`](BrokerError::TimedOut) it may have been. A caller that
/// must know appends the event [once](EventLog::append_once), and tries again.
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
/// certificates of the system. With one address of this scheme the log uses TLS with all servers,
/// also with those of a cluster that a server names.
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

/// What all handles and followers of a log own: its tasks end with the last of them.
struct NatsHandle {
    inner: Arc<NatsLogInner>,
    poller: AbortHandle,
    forgetting: AbortHandle,
}

impl Drop for NatsHandle {
    fn drop(&mut self) {
        self.poller.abort();
        self.forgetting.abort();
    }
}

/// What the handles, the followers, the poller and the tasks of a log share.
#[derive(Debug)]
struct NatsLogInner {
    link: NatsLink,
    window: Mutex<NatsWindow>,
    runtime: Handle,
    /// Up to which sequence the poller has read, for those that wait for it.
    read_up_to: watch::Sender<u64>,
    /// Bounds how many followers are sent batches at the same time, so that a thousand clients that
    /// come back do not request all of them at once.
    replays: Arc<Semaphore>,
    forgetting: ForgetQueue,
}

impl NatsLogInner {
    fn new(link: NatsLink, runtime: Handle) -> Self {
        let settings = &link.settings;
        let window = Mutex::new(NatsWindow::new(settings.window_events, settings.window_bytes));
        let replays = settings.replays.min(Semaphore::MAX_PERMITS);
        let replays = Arc::new(Semaphore::new(replays));
        let (read_up_to, forgetting) = (watch::Sender::new(0), ForgetQueue::default());
        Self { link, window, runtime, read_up_to, replays, forgetting }
    }

    /// Waits for a connection, which must be one of the log's.
    async fn connected(&self, connection: &Connection) -> Result<(), BrokerError> {
        let up = timeout(self.link.settings.away_timeout, connection.up());
        match up.await {
            // With the runtime of the poller that of the connections has ended.
            Ok(()) if !self.window().has_ended => Ok(()),
            _ => Err(away()),
        }
    }

    /// Looks at what there is, if that does not take long.
    async fn look<T>(
        &self,
        look: impl Future<Output = Result<T, RetryLater>>,
    ) -> Result<T, BrokerError> {
        self.connected(&self.link.replays).await?;
        match timeout(RESPONSE_TIMEOUT, look).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) | Err(_) => Err(BrokerError::TimedOut),
        }
    }

    /// Notes up to where the poller has read.
    fn note_read(&self, sequence: u64) {
        self.read_up_to.send_replace(sequence);
    }

    /// Ends all followers, and has appends fail: the runtime of the log has ended.
    fn end(&self) {
        self.link.health.note_problem(&"the runtime in which the log was connected has ended");
        let wakers = self.window().end();
        poller::wake_lists(wakers);
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
    pub async fn connect(servers: &str) -> Result<Self, BrokerError> {
        Self::builder().connect(servers).await
    }

    /// Creates a builder, which sets the settings of a log.
    pub fn builder() -> NatsLogBuilder {
        NatsLogBuilder::default()
    }

    async fn with(settings: NatsLogBuilder, servers: &str) -> Result<Self, BrokerError> {
        let link = NatsLink::connect(settings, servers).await?;
        let stream = stream::get_or_create_stream(&link.reads.jetstream, &link.settings).await?;
        let inner = Arc::new(NatsLogInner::new(link, Handle::current()));
        poller::sync_window(&inner, &stream)
            .await
            .map_err(|error| refused("the stream cannot be read", error.0.unwrap_or_default()))?;
        let poller = tokio::spawn(poller::run(Arc::clone(&inner), stream)).abort_handle();
        let forgetting = tokio::spawn(forget::run(Arc::clone(&inner))).abort_handle();
        Ok(Self { handle: Arc::new(NatsHandle { inner, poller, forgetting }) })
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
        let link = &self.handle.inner.link;
        [&link.appends, &link.reads, &link.replays].iter().all(|connection| connection.is_up())
    }
}

impl EventLog for NatsLog {
    type Error = BrokerError;
    type Follower = NatsFollower;

    fn append(
        &self,
        topic: &Topic,
        event: Event,
    ) -> impl Future<Output = Result<EventId, BrokerError>> + Send {
        let (inner, topic) = (Arc::clone(&self.handle.inner), topic.clone());
        async move { Ok(publish::append(&inner, &topic, &event, None).await?.id) }
    }

    async fn append_once(
        &self,
        topic: &Topic,
        event: Event,
        message: &MessageId,
    ) -> Option<Result<Appended, BrokerError>> {
        Some(publish::append(&self.handle.inner, topic, &event, Some(message)).await)
    }

    fn follow(&self, topics: Topics, from: Start) -> NatsFollower {
        NatsFollower::new(Arc::clone(&self.handle), topics, from)
    }

    async fn read(&self, topic: &Topic, from: Start, limit: usize) -> Result<Page, BrokerError> {
        let (log, topics) = (&self.handle.inner, Topics::from(topic));
        let read = async {
            // Another node may have returned the id of an event that is not read here yet.
            fetch::wait_for_all(log).await?;
            let follower = NatsFollower::looking(Arc::clone(&self.handle), topics, from);
            Ok(read_by_following(follower, limit, Duration::MAX).await)
        };
        log.look(read).await
    }

    async fn last(&self, topics: &Topics, count: usize) -> Result<Vec<Logged>, BrokerError> {
        let log = &self.handle.inner;
        log.look(last::last(log, topics, count)).await
    }

    async fn forget(&self, topic: &Topic, after: Duration) -> Result<(), BrokerError> {
        let inner = &self.handle.inner;
        let (epoch, last) = {
            let window = inner.window();
            (window.epoch(), window.known.sequence)
        };
        inner.forgetting.push(topic, after, epoch, last);
        Ok(())
    }

    fn is_final(error: &BrokerError) -> bool {
        error.is_final()
    }

    async fn latest(&self, _: &Topics) -> Result<EventId, BrokerError> {
        let link = &self.handle.inner.link;
        self.handle.inner.connected(&link.appends).await?;
        let stream = link.get_stream(&link.appends).await;
        let stream = stream.map_err(|_| BrokerError::TimedOut)?;
        let last = last_message(&stream, &link.subject(">")).await;
        let (info, last) = (stream.cached_info(), last.map_err(|_| BrokerError::TimedOut)?);
        let slot = last.map(|last| link.requested(created(info), &last).position.slot);
        let slot = slot.unwrap_or(Slot::empty(info.state.last_sequence));
        // The id of no event: it reveals no id of another topic.
        Ok(NatsPosition::after(created(info), slot).id())
    }
}

impl fmt::Debug for NatsLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsLog")
            .field("settings", &self.handle.inner.link.settings)
            .field("connected", &self.is_connected())
            .field("followers", &self.handle.inner.window().followers())
            .finish_non_exhaustive()
    }
}
