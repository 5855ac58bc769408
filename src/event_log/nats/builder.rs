//! Settings of a log in NATS.

use std::time::Duration;

use super::{NatsConnectError, NatsLog};
use crate::InvalidSetting;
use crate::event_log::Topic;

/// Settings of a [`NatsLog`].
///
/// Those of the stream are for one that is made: a stream that is there already stays as it is, so
/// that nodes with old and new settings do not quarrel.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use tower_sse::event_log::NatsLog;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let log = NatsLog::builder()
///     .stream("orders")
///     .prefix("shop.orders")
///     .age(Duration::from_secs(600))
///     .replicas(3)
///     .connect("nats://127.0.0.1:4222")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct NatsLogBuilder {
    pub(super) stream: String,
    pub(super) prefix: String,
    pub(super) events: u64,
    pub(super) bytes: u64,
    pub(super) age: Duration,
    pub(super) storage: NatsStorage,
    pub(super) replicas: usize,
    pub(super) append_timeout: Duration,
    pub(super) away_timeout: Duration,
    pub(super) window_events: usize,
    pub(super) window_bytes: usize,
}

/// Where a stream keeps its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatsStorage {
    /// In files, which outlive the server. The default.
    #[default]
    File,
    /// In memory: when all servers with the stream are gone, so are its events, and clients that come
    /// back are told of a gap.
    Memory,
}

impl NatsLogBuilder {
    /// Sets the name of the stream; by default `sse`. It is made if it is not there.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = name.into();
        self
    }

    /// Sets what subjects begin with; by default `sse`: the topic `orders.42` is then the subject
    /// `sse.orders.42`. The stream has all subjects that begin so.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how many events the stream keeps, of all topics together; by default 1,048,576.
    pub fn events(mut self, count: u64) -> Self {
        self.events = count;
        self
    }

    /// Sets how many bytes of events the stream keeps; by default 256 MiB, which a server with little
    /// room can still set aside.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how long an event is kept; by default an hour, since clients come back within minutes
    /// and servers may be away for some.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Sets where the stream keeps its events; by default in files.
    pub fn storage(mut self, storage: NatsStorage) -> Self {
        self.storage = storage;
        self
    }

    /// Sets on how many servers of a cluster the events are; by default 1, as a lone server has.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Sets how long a publisher waits for an answer; by default 5 seconds. In that time the event is
    /// sent again when the connection was lost, and the server drops what comes twice.
    pub fn append_timeout(mut self, time: Duration) -> Self {
        self.append_timeout = time;
        self
    }

    /// Sets how long, of that, a publisher waits for a server that is away; by default 5 seconds as
    /// well. With zero it gets an error at once.
    pub fn away_timeout(mut self, time: Duration) -> Self {
        self.away_timeout = time;
        self
    }

    /// Sets how many events this process keeps, of all topics together; by default 16,384.
    ///
    /// Followers read these. Who is further behind is sent what it missed from the server.
    pub fn window_events(mut self, count: usize) -> Self {
        self.window_events = count;
        self
    }

    /// Sets how many bytes of events this process keeps; by default 16 MiB.
    pub fn window_bytes(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Connects to one of some servers, `nats://host:port` each with `,` between them, finds or makes
    /// the stream, and begins to read it.
    ///
    /// It must be called in a Tokio runtime, which then reads the stream as long as there are handles
    /// of the log or followers.
    ///
    /// # Errors
    ///
    /// [`NatsConnectError`] if a setting cannot work, if no server answers, or without `JetStream`, or if the
    /// stream is there and is not one of these.
    pub async fn connect(self, servers: impl AsRef<str>) -> Result<NatsLog, NatsConnectError> {
        self.check()?;
        NatsLog::open(self, servers.as_ref()).await
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        let name = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        if self.stream.is_empty() || self.stream.len() > 64 || !self.stream.chars().all(name) {
            let why = "it must be letters, digits, `-` and `_`, up to 64 of them";
            return Err(InvalidSetting::new("stream", why));
        }
        // Topics are as long as their prefix less.
        if Topic::new(&self.prefix).is_err() || self.prefix.starts_with('$') {
            return Err(InvalidSetting::new("prefix", "it must be a name as of a topic"));
        }
        let none = [
            ("events", self.events == 0),
            ("bytes", self.bytes == 0),
            ("window_events", self.window_events == 0),
            ("window_bytes", self.window_bytes == 0),
            ("replicas", self.replicas == 0),
            ("append_timeout", self.append_timeout.is_zero()),
        ];
        if let Some((setting, _)) = none.iter().find(|(_, none)| *none) {
            return Err(InvalidSetting::new(setting, "it must not be zero"));
        }
        if self.age < SHORTEST_AGE {
            return Err(InvalidSetting::new("age", "it must be a second at least"));
        }
        if self.append_timeout > self.remembered() {
            let why = "it must not be longer than servers remember what came twice: 2 minutes, or the age";
            return Err(InvalidSetting::new("append_timeout", why));
        }
        Ok(())
    }

    /// How long a server remembers which events it got.
    pub(super) fn remembered(&self) -> Duration {
        REMEMBERED.min(self.age)
    }
}

impl Default for NatsLogBuilder {
    fn default() -> Self {
        Self {
            stream: "sse".to_owned(),
            prefix: "sse".to_owned(),
            events: 1024 * 1024,
            bytes: 256 * 1024 * 1024,
            age: Duration::from_secs(60 * 60),
            storage: NatsStorage::File,
            replicas: 1,
            append_timeout: Duration::from_secs(5),
            away_timeout: Duration::from_secs(5),
            window_events: 16 * 1024,
            window_bytes: 16 * 1024 * 1024,
        }
    }
}

/// What servers remember by default.
const REMEMBERED: Duration = Duration::from_secs(2 * 60);

/// Servers look for what is too old about as often.
const SHORTEST_AGE: Duration = Duration::from_secs(1);
