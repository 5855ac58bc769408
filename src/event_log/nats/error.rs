//! The errors of connecting and of appending.

use std::error::Error;
use std::fmt;

use async_nats::{ConnectError, ConnectErrorKind};

use crate::InvalidSetting;

/// Why a [`NatsLog`](super::NatsLog) did not append an event, or does not know whether it did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatsLogError {
    /// The event has no data, so clients would not dispatch it. It was not appended.
    NoData,
    /// The event is longer than the server accepts. It was not appended.
    TooLong,
    /// There is no connection to a server. The event was not appended.
    Away,
    /// The server did not answer in time, or the connection was lost before it did. The event may
    /// have been appended, or be appended within the next moments.
    Unanswered,
    /// The server refused the event. It was not appended.
    Refused(Box<str>),
}

impl fmt::Display for NatsLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("the event has no data"),
            Self::TooLong => f.write_str("the event is longer than the NATS server accepts"),
            Self::Away => f.write_str("there is no connection to a NATS server"),
            Self::Unanswered => f.write_str("the NATS server did not answer in time"),
            Self::Refused(why) => write!(f, "the NATS server refused the event: {why}"),
        }
    }
}

impl Error for NatsLogError {}

/// Why a [`NatsLog`](super::NatsLog) could not be connected.
#[derive(Debug)]
pub struct NatsConnectError(ConnectFailure);

#[derive(Debug)]
enum ConnectFailure {
    Setting(InvalidSetting),
    Stream(&'static str),
    Tls,
    Server(&'static str, Box<dyn Error + Send + Sync>),
}

impl NatsConnectError {
    pub(super) fn stream(why: &'static str) -> Self {
        Self(ConnectFailure::Stream(why))
    }

    pub(super) fn tls() -> Self {
        Self(ConnectFailure::Tls)
    }

    /// The error of a server or of the client library, which `why` explains.
    pub(super) fn server(
        why: &'static str,
        error: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self(ConnectFailure::Server(why, error.into()))
    }

    pub(super) fn connect(error: ConnectError) -> Self {
        let why = match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                "the server refuses the login: check the user and the password, or the token"
            }
            ConnectErrorKind::Dns => "the name of the host is not found",
            ConnectErrorKind::Tls => "TLS fails",
            ConnectErrorKind::TimedOut => "no server answers in time",
            _ => "no server can be reached",
        };
        Self::server(why, error)
    }
}

impl From<InvalidSetting> for NatsConnectError {
    fn from(setting: InvalidSetting) -> Self {
        Self(ConnectFailure::Setting(setting))
    }
}

impl fmt::Display for NatsConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            ConnectFailure::Setting(setting) => setting.fmt(f),
            ConnectFailure::Stream(why) => write!(f, "the NATS stream cannot be a log: {why}"),
            ConnectFailure::Tls => f.write_str("TLS is not set up: see the feature `nats-tls`"),
            ConnectFailure::Server(why, _) => write!(f, "NATS cannot be used: {why}"),
        }
    }
}

impl Error for NatsConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            ConnectFailure::Setting(setting) => Some(setting),
            ConnectFailure::Stream(_) | ConnectFailure::Tls => None,
            ConnectFailure::Server(_, error) => Some(&**error),
        }
    }
}
