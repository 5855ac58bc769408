//! [`RedisLogBuilder`], the settings of a log in Redis.

use std::time::Duration;

use super::RedisLog;
use crate::InvalidSetting;
use crate::event_log::BrokerError;
use crate::event_log::broker::{BrokerSettings, TOO_MANY, check_all, is_too_many};

/// Sets the settings of a [`RedisLog`]. All nodes of a log need the same `prefix`, `events`,
/// `feed_events` and `idle`.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use tower_sse::event_log::{BrokerError, RedisLog};
///
/// # async fn example() -> Result<(), BrokerError> {
/// let log = RedisLog::builder()
///     .prefix("shop")
///     .events(10_000)
///     .append_timeout(Duration::from_secs(1))
///     .connect("redis://127.0.0.1:6379")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisLogBuilder {
    pub(super) prefix: Box<str>,
    pub(super) common: BrokerSettings,
    pub(super) feed_events: usize,
    #[cfg(feature = "redis-sentinel")]
    pub(super) sentinel: Option<Box<str>>,
    #[cfg(feature = "redis-tls")]
    pub(super) root_certificate: Option<Box<[u8]>>,
}

impl RedisLogBuilder {
    /// Sets what the keys in Redis begin with: `{prefix}:`. The default is `{tower-sse}:`.
    ///
    /// Two logs in one Redis need two prefixes.
    pub fn prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how many events of a topic Redis keeps at least. The default is 1,024, as for a log in
    /// memory.
    ///
    /// Redis trims whole nodes of a stream, so it may keep as many more events as it stores in one
    /// node, which is 100 by default.
    pub fn events(mut self, count: usize) -> Self {
        self.common.events = count;
        self
    }

    /// Sets how many events of all topics the [feed](RedisLog#how-nodes-read) names at least. The
    /// default is 10,000, which take at most 10 MiB in Redis.
    ///
    /// A node that is away while more events are appended asks Redis once for the last event of
    /// each topic that it follows, when it is back; with fewer it goes on in the feed. So the
    /// default is for a second at 10,000 events a second. Nothing is lost in either case.
    pub fn feed_events(mut self, count: usize) -> Self {
        self.feed_events = count;
        self
    }

    /// Sets how long after its last event Redis keeps a topic, with all of its events. The default
    /// is 24 hours.
    ///
    /// Redis remembers nothing else of topics, so a client that was away for longer than this gets
    /// a gap also if it missed nothing. For a log that never forgets, set a long time.
    pub fn idle(mut self, time: Duration) -> Self {
        self.common.idle = time;
        self
    }

    /// Sets how long an append waits for an answer before it fails. The default is 5 seconds.
    ///
    /// While Redis is away, an append fails at once or, while the connection is being renewed,
    /// after this time.
    pub fn append_timeout(mut self, time: Duration) -> Self {
        self.common.append_timeout = time;
        self
    }

    /// Sets how many bytes an encoded event may have. A longer event is refused. The default is
    /// 1 MiB.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.common.max_event_bytes = bytes;
        self
    }

    /// Sets how many events this process keeps of a topic that is followed. The default is 1,024.
    ///
    /// Clients that missed more get it from Redis, each with requests of its own.
    pub fn window_events(mut self, count: usize) -> Self {
        self.common.window.events = count;
        self
    }

    /// Sets how many bytes of events this process keeps of a topic that is followed. The default is
    /// 1 MiB.
    pub fn window_bytes(mut self, bytes: usize) -> Self {
        self.common.window.bytes = bytes;
        self
    }

    /// Sets for how long a [message id](crate::event_log::MessageId) is taken. The default is
    /// 2 minutes, as of the other logs.
    ///
    /// Redis keeps each id as a key for this time, which takes about 240 bytes. So 1,000 messages a
    /// second take 29 MB.
    pub fn duplicate_window(mut self, time: Duration) -> Self {
        self.common.duplicate_window = time;
        self
    }

    /// Sets the name of the service whose master Redis Sentinel is asked for. Disabled by default.
    ///
    /// The URL is then one of a Sentinel, or several with `,` between them, such as
    /// `redis://one:26379,redis://two:26379`. With a user, a password and a database in the first
    /// one, the log signs in to the servers; to Sentinels it does not sign in. If a URL has the
    /// scheme `rediss`, the log uses TLS also with the servers that Sentinel names.
    #[cfg(feature = "redis-sentinel")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis-sentinel")))]
    pub fn sentinel(mut self, service: impl Into<Box<str>>) -> Self {
        self.sentinel = Some(service.into());
        self
    }

    /// Sets the certificate, as PEM, that signed those of servers with TLS. The default is those
    /// that the system trusts.
    #[cfg(feature = "redis-tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis-tls")))]
    pub fn root_certificate(mut self, pem: impl Into<Box<[u8]>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// Connects to the Redis at a URL such as `redis://:password@host:6379/0`.
    ///
    /// With the scheme `rediss` the log uses TLS, for which the feature `redis-tls` is needed. If
    /// the process has no default cryptography provider of `rustls`, it is `ring` from then on.
    ///
    /// In a Redis Cluster the URL is that of any server, or it is a list with `,` between URLs,
    /// such as `redis://one:6379,redis://two:6379`. The log asks them in turn for the server that
    /// has its slot, and remembers the other servers of the cluster, if its user has the right to
    /// `CLUSTER SLOTS`. No setting says that it is a cluster.
    ///
    /// It must be called in a Tokio runtime, in which the log then reads.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Setting`] if a topic could keep no event, if a time is zero, or if the prefix
    /// or a URL is invalid; [`BrokerError::Refused`] if there are several URLs and the servers are
    /// no cluster; other errors if Redis cannot be reached now. After that, Redis may go away and
    /// come back.
    pub async fn connect(self, url: &str) -> Result<RedisLog, BrokerError> {
        self.check()?;
        RedisLog::with(self, url).await
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        self.common.check()?;
        check_all(&[
            ("feed_events", self.feed_events == 0, "it must not be zero"),
            ("feed_events", is_too_many(self.feed_events), TOO_MANY),
            ("prefix", self.prefix.is_empty(), "it must not be empty"),
            ("prefix", self.prefix.contains(['{', '}']), "it must not have braces"),
        ])
    }
}

impl Default for RedisLogBuilder {
    fn default() -> Self {
        Self {
            prefix: "tower-sse".into(),
            common: BrokerSettings::default(),
            feed_events: 10_000,
            #[cfg(feature = "redis-sentinel")]
            sentinel: None,
            #[cfg(feature = "redis-tls")]
            root_certificate: None,
        }
    }
}
