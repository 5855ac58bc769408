//! [`PostgresLogBuilder`], the settings of a log in PostgreSQL.

use std::time::Duration;

use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Config, Socket};

use super::PostgresLog;
use super::address::Connector;
use super::schema::{check_name, schema};
use crate::InvalidSetting;
use crate::event_log::BrokerError;
use crate::event_log::broker::{BrokerSettings, check_all};

/// Sets the settings of a [`PostgresLog`]. All nodes of a log need the same `name`, `events` and
/// `idle`.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use tower_sse::event_log::{BrokerError, PostgresLog};
///
/// # async fn example() -> Result<(), BrokerError> {
/// let log = PostgresLog::builder()
///     .name("app.feed")
///     .events(10_000)
///     .append_timeout(Duration::from_secs(1))
///     .connect("postgres://user:password@127.0.0.1/app")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct PostgresLogBuilder {
    pub(super) name: Box<str>,
    pub(super) common: BrokerSettings,
    pub(super) connector: Connector,
}

impl PostgresLogBuilder {
    /// Sets what the names of tables and functions begin with, and the name in `NOTIFY`. The
    /// default is `tower_sse`.
    ///
    /// It has lower-case letters, digits and `_`, and may have the name of a schema before it, as
    /// in `app.feed`. Two logs in one database need two names.
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets how many events of a topic PostgreSQL keeps at least. The default is 1,024, as for a
    /// log in memory.
    ///
    /// It keeps an eighth more at times, at most 128, since it deletes several at once.
    pub fn events(mut self, count: usize) -> Self {
        self.common.events = count;
        self
    }

    /// Sets how long after its last event PostgreSQL keeps a topic, with all of its events. The
    /// default is 24 hours.
    ///
    /// A client that comes back to a topic that was dropped, with a position from before another
    /// topic was dropped, too, gets a gap also if it missed nothing. For a log that never forgets,
    /// set a long time.
    pub fn idle(mut self, time: Duration) -> Self {
        self.common.idle = time;
        self
    }

    /// Sets for how long a [message id](crate::event_log::MessageId) is taken. The default is
    /// 2 minutes, as of the other logs.
    ///
    /// PostgreSQL keeps each id as a row for this time.
    pub fn duplicate_window(mut self, time: Duration) -> Self {
        self.common.duplicate_window = time;
        self
    }

    /// Sets how long an append waits for an answer before it fails. The default is 5 seconds.
    ///
    /// After the same time the server ends a transaction that waits, as for a lock.
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
    /// Clients that missed more get it from PostgreSQL, each with requests of its own.
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

    /// Sets what makes connections with TLS, such as `MakeRustlsConnect` of the crate
    /// `tokio-postgres-rustls` or `MakeTlsConnector` of `postgres-native-tls`. By default there is
    /// no TLS.
    ///
    /// With it, add `sslmode=require` to the address: or else a server that offers no TLS is used
    /// without.
    pub fn tls<T>(mut self, tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.connector = Connector::with_tls(tls);
        self
    }

    /// The SQL script that makes the tables and functions of the log, for a migration.
    ///
    /// [`connect`](Self::connect) runs it if there are none. If the role may not create them, have
    /// another one run the script, and grant the rights that the
    /// [log needs](PostgresLog#rights). It can be run again, and changes nothing then.
    ///
    /// # Errors
    ///
    /// If the [name](Self::name) is invalid.
    pub fn schema(&self) -> Result<String, InvalidSetting> {
        check_name(&self.name).map(|()| schema(&self.name))
    }

    /// Connects to the PostgreSQL at an address such as `postgres://user:password@host/database`,
    /// or to [the one of several hosts](PostgresLog#failover) that takes events, as with
    /// `host=one,two user=sse` or `postgres://sse@one:5432,two:5433/app`.
    ///
    /// It must be called in a Tokio runtime, in which the log then reads and writes.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Setting`] if a topic could keep no event, if a time is zero, or if the name
    /// or the address is invalid; other errors if PostgreSQL cannot be reached now, if there are no
    /// tables and the role may not make them, or if the tables have another version. After that,
    /// PostgreSQL may go away and come back.
    pub async fn connect(self, address: &str) -> Result<PostgresLog, BrokerError> {
        // Without the reason: it may repeat the address, which may have a password in it.
        let invalid = |_| InvalidSetting::new("address", "it is not the address of a PostgreSQL");
        let config = address.parse().map_err(invalid)?;
        self.connect_with(config).await
    }

    /// Connects with a configuration of [`tokio_postgres`], as [`connect`](Self::connect) does.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(self, config: Config) -> Result<PostgresLog, BrokerError> {
        self.check()?;
        PostgresLog::with(self, config).await
    }

    fn check(&self) -> Result<(), InvalidSetting> {
        check_name(&self.name)?;
        self.common.check()?;
        let is_too_long = self.common.append_timeout > MAX_TIMEOUT;
        check_all(&[("append_timeout", is_too_long, "it must be less than a day")])
    }
}

impl Default for PostgresLogBuilder {
    fn default() -> Self {
        Self {
            name: "tower_sse".into(),
            common: BrokerSettings::default(),
            connector: Connector::default(),
        }
    }
}

/// The number in which PostgreSQL counts the milliseconds of a timeout holds 24 days.
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
