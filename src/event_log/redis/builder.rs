//! Settings of a log in Redis.

use std::time::Duration;

use super::{RedisLog, RedisLogError};
use crate::InvalidSetting;

/// Settings of a [`RedisLog`]. All nodes of a log have to have the same `prefix`, `events` and `idle`.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use tower_sse::event_log::RedisLog;
///
/// # async fn example() -> Result<(), tower_sse::event_log::RedisLogError> {
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
    pub(super) events: usize,
    pub(super) idle: Duration,
    pub(super) append_timeout: Duration,
    pub(super) longest: usize,
    pub(super) window: usize,
    pub(super) window_bytes: usize,
}

impl RedisLogBuilder {
    /// Sets what the keys in Redis begin with: `{prefix}:`, by default `{tower-sse}:`. Two logs in one
    /// Redis have two prefixes.
    pub fn prefix(mut self, prefix: impl Into<Box<str>>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how many events of a topic Redis keeps at least; by default 1,024, as a log in memory does.
    ///
    /// Redis trims whole nodes of a stream, so there may be as many more as it puts into one, 100 by
    /// default.
    pub fn events(mut self, count: usize) -> Self {
        self.events = count;
        self
    }

    /// Sets how long a topic is kept behind its last event, all of whose events then go with it; by
    /// default 24 hours.
    ///
    /// Nothing else is remembered of topics, so a client that was away for longer than this is told
    /// of a gap also if there was nothing. A log that never forgets is one with a long time here.
    pub fn idle(mut self, time: Duration) -> Self {
        self.idle = time;
        self
    }

    /// Sets after what time an append fails that is not answered; by default 5 seconds. While Redis
    /// is away an append fails at once or, while the connection is being made anew, after this time.
    pub fn append_timeout(mut self, time: Duration) -> Self {
        self.append_timeout = time;
        self
    }

    /// Sets how many bytes an encoded event may have; by default 1 MiB. A longer one is refused.
    pub fn longest(mut self, bytes: usize) -> Self {
        self.longest = bytes;
        self
    }

    /// Sets how many events, and how many bytes of them, this process keeps of a topic that is
    /// followed; by default 1,024 and 1 MiB. Clients that missed more get it from Redis, each for
    /// itself.
    pub fn window(mut self, events: usize, bytes: usize) -> Self {
        (self.window, self.window_bytes) = (events, bytes);
        self
    }

    /// Connects to a Redis at an URL such as `redis://:password@host:6379/0`. It has to be called in
    /// a Tokio runtime, in which the log then reads.
    ///
    /// # Errors
    ///
    /// [`RedisLogError::Setting`] if a topic could keep no event, if a time is zero, or if the prefix
    /// or the URL is none; others if Redis cannot be had now. Later it may go away and come back.
    pub async fn connect(self, url: &str) -> Result<RedisLog, RedisLogError> {
        self.check()?;
        RedisLog::with(self, url).await
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        let none = "it must not be zero";
        let zero = |time: Duration| time.as_millis() == 0;
        for (setting, is_none, why) in [
            ("events", self.events == 0, none),
            ("window", self.window == 0 || self.window_bytes == 0, none),
            ("longest", self.longest == 0, none),
            ("idle", zero(self.idle), none),
            ("idle", self.idle > LONGEST_IDLE, "it must be less than 100 years"),
            ("append_timeout", zero(self.append_timeout), none),
            ("prefix", self.prefix.is_empty(), "it must not be empty"),
            ("prefix", self.prefix.contains(['{', '}']), "it is between braces"),
        ] {
            if is_none {
                return Err(InvalidSetting::new(setting, why));
            }
        }
        Ok(())
    }
}

impl Default for RedisLogBuilder {
    fn default() -> Self {
        Self {
            prefix: "tower-sse".into(),
            events: 1024,
            idle: Duration::from_secs(24 * 60 * 60),
            append_timeout: Duration::from_secs(5),
            longest: 1024 * 1024,
            window: 1024,
            window_bytes: 1024 * 1024,
        }
    }
}

/// Redis counts milliseconds in a number that some more years would not fit in.
const LONGEST_IDLE: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);
