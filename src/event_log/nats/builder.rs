//! [`NatsLogBuilder`], the settings of a log in NATS.

use std::time::Duration;

use super::NatsLog;
use super::login::NatsLogin;
use crate::InvalidSetting;
use crate::event_log::BrokerError;
use crate::event_log::Topic;

/// Sets the settings of a [`NatsLog`].
///
/// The settings of the stream are for a stream that is created: a stream that exists already is not
/// changed, so that nodes with old and new settings do not overwrite each other's.
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
    pub(super) replays: usize,
    pub(super) duplicate_window: Option<Duration>,
    pub(super) login: Option<NatsLogin>,
}

/// Where a stream keeps its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatsStorage {
    /// In files, which outlive the server. The default.
    #[default]
    File,
    /// In memory: the events are lost when all servers that have the stream are gone, and clients
    /// that come back then get a gap.
    Memory,
}

impl NatsLogBuilder {
    /// Sets the name of the stream, which is created if it does not exist. The default is `sse`.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = name.into();
        self
    }

    /// Sets what the subjects begin with. The default is `sse`: the topic `orders.42` is then the
    /// subject `sse.orders.42`.
    ///
    /// The stream has all subjects that begin so.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how many events the stream keeps, of all topics together. The default is 1,048,576.
    pub fn events(mut self, count: u64) -> Self {
        self.events = count;
        self
    }

    /// Sets how many bytes of events the stream keeps. The default is 256 MiB, which a server with
    /// little disk space can still reserve.
    pub fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how long the stream keeps an event. The default is 1 hour: clients come back within
    /// minutes, and servers may be away for some.
    pub fn age(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// Sets where the stream keeps its events. The default is in files.
    pub fn storage(mut self, storage: NatsStorage) -> Self {
        self.storage = storage;
        self
    }

    /// Sets how many servers of a cluster have the events. The default is 1, which also works with
    /// a single server.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// Sets how long an append waits for an answer before it fails. The default is 5 seconds.
    ///
    /// During that time the event is sent again if the connection was lost, and the server drops
    /// duplicates.
    pub fn append_timeout(mut self, time: Duration) -> Self {
        self.append_timeout = time;
        self
    }

    /// Sets how much of that time an append waits for a server that is away. The default is 5
    /// seconds as well. With zero an append fails at once.
    pub fn away_timeout(mut self, time: Duration) -> Self {
        self.away_timeout = time;
        self
    }

    /// Sets how many events this process keeps, of all topics together. The default is 16,384.
    ///
    /// Followers read these events. A follower that is further behind is sent what it missed by the
    /// server.
    pub fn window_events(mut self, count: usize) -> Self {
        self.window_events = count;
        self
    }

    /// Sets how many bytes of events this process keeps. The default is 16 MiB.
    pub fn window_bytes(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes;
        self
    }

    /// Sets how many replays of this process the server sends at a time. The default is 16.
    ///
    /// A replay is a batch of events for a follower that is behind the window, by a consumer that
    /// is deleted after it. So 16 replays are 16 consumers at the server, and 32 MiB here if the
    /// events are large, although a thousand clients come back at once. The others wait.
    pub fn replays(mut self, count: usize) -> Self {
        self.replays = count;
        self
    }

    /// Sets for how long servers recognise a [message id](crate::event_log::MessageId) that was
    /// taken, and events that the log sends again.
    ///
    /// The default is that of a stream that exists, and for a new one 2 minutes, as of other logs
    /// and of servers, or the [age](Self::age) if that is shorter. A stream that exists with a
    /// shorter window than the one set here is refused: it would take a message twice. A longer one
    /// is kept as it is.
    ///
    /// A server keeps each id in memory for this time, also those that the log makes for events of
    /// its own: about 140 bytes an event.
    pub fn duplicate_window(mut self, time: Duration) -> Self {
        self.duplicate_window = Some(time);
        self
    }

    /// Signs in with a user and a password. By default the log signs in with what is in the
    /// address.
    pub fn user_and_password(
        mut self,
        user: impl Into<Box<str>>,
        password: impl Into<Box<str>>,
    ) -> Self {
        self.login = Some(NatsLogin::Password(user.into(), password.into()));
        self
    }

    /// Signs in with a token.
    pub fn token(mut self, token: impl Into<Box<str>>) -> Self {
        self.login = Some(NatsLogin::Token(token.into()));
        self
    }

    /// Signs in with an `NKey`, of which this is the seed: a text that begins with `SU`.
    #[cfg(feature = "nats-nkeys")]
    #[cfg_attr(docsrs, doc(cfg(feature = "nats-nkeys")))]
    pub fn nkey(mut self, seed: impl Into<Box<str>>) -> Self {
        self.login = Some(NatsLogin::NKey(seed.into()));
        self
    }

    /// Signs in with a credentials file, as `nsc` and managed services write it.
    ///
    /// The file is read when the log connects.
    #[cfg(feature = "nats-nkeys")]
    #[cfg_attr(docsrs, doc(cfg(feature = "nats-nkeys")))]
    pub fn credentials_file(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.login = Some(NatsLogin::CredentialsFile(path.into()));
        self
    }

    /// Connects to one of several servers, gets or creates the stream, and starts to read it.
    ///
    /// `servers` is one address, such as `nats://host:port`, or several that are separated by `,`.
    /// An address may have a login: see [`NatsLog`].
    ///
    /// It must be called in a Tokio runtime, which then reads the stream as long as there are
    /// handles of the log or followers.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Setting`] if a setting or the address is invalid; [`BrokerError::Away`] if no
    /// server answers; [`BrokerError::Refused`] if it does not let the log in, if it has no
    /// `JetStream`, or if the stream exists and cannot be a log.
    pub async fn connect(self, servers: &str) -> Result<NatsLog, BrokerError> {
        self.check()?;
        NatsLog::with(self, servers).await
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        let is_valid = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '_';
        if self.stream.is_empty() || self.stream.len() > 64 || !self.stream.chars().all(is_valid) {
            let problem = "it must have 1 to 64 letters, digits, `-` and `_`";
            return Err(InvalidSetting::new("stream", problem));
        }
        if Topic::new(&self.prefix).is_err() || self.prefix.starts_with('$') {
            return Err(InvalidSetting::new("prefix", "it must be valid as the name of a topic"));
        }
        let zero = [
            ("events", self.events == 0),
            ("bytes", self.bytes == 0),
            ("window_events", self.window_events == 0),
            ("window_bytes", self.window_bytes == 0),
            ("replays", self.replays == 0),
            ("replicas", self.replicas == 0),
            ("append_timeout", self.append_timeout.is_zero()),
        ];
        if let Some((setting, _)) = zero.iter().find(|(_, is_zero)| *is_zero) {
            return Err(InvalidSetting::new(setting, "it must not be zero"));
        }
        if self.replicas > MAX_REPLICAS {
            return Err(InvalidSetting::new("replicas", "it must not be more than 5"));
        }
        if !(MIN_AGE..MAX_AGE).contains(&self.age) {
            let problem = "it must be at least a second, and less than 100 years";
            return Err(InvalidSetting::new("age", problem));
        }
        if self.duplicate_window.is_some_and(|it| it < MIN_DUPLICATE_WINDOW || it > self.age) {
            let problem = "it must be at least 100 ms, and at most the age";
            return Err(InvalidSetting::new("duplicate_window", problem));
        }
        if self.append_timeout > self.wanted_duplicate_window() {
            let problem = "it must not exceed the `duplicate_window`, which is by default 2 \
                           minutes, or the age if that is shorter";
            return Err(InvalidSetting::new("append_timeout", problem));
        }
        Ok(())
    }

    /// How long a server is to recognise duplicates, in a stream that is created.
    pub(super) fn wanted_duplicate_window(&self) -> Duration {
        self.duplicate_window.unwrap_or(DUPLICATE_WINDOW.min(self.age))
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
            replays: 16,
            duplicate_window: None,
            login: None,
        }
    }
}

/// The default of servers.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(2 * 60);

/// Servers refuse a shorter one.
const MIN_DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// Servers look for events that are too old about as often.
const MIN_AGE: Duration = Duration::from_secs(1);

/// The nanoseconds in which servers count time do not hold many more years.
const MAX_AGE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// Servers refuse more.
const MAX_REPLICAS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_takes_is_refused_by_name() {
        let default = NatsLogBuilder::default;
        for (settings, expected) in [
            (default(), None),
            (default().age(Duration::MAX), Some("age")),
            (default().age(Duration::from_millis(999)), Some("age")),
            (default().replicas(6), Some("replicas")),
            (default().replicas(5), None),
        ] {
            let refused = settings.check().err();
            assert_eq!(refused.as_ref().map(InvalidSetting::setting), expected);
        }
    }
}
