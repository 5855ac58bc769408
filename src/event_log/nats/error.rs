//! What goes wrong with a log in NATS.

use std::error::Error;
use std::fmt;

use crate::InvalidSetting;

/// An event that a [`NatsLog`](super::NatsLog) did not append, or of which that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatsLogError {
    /// The event has no data: clients would not dispatch it.
    NoData,
    /// The event is longer than the server takes.
    TooLong,
    /// There is no connection to a server. The event was not appended.
    Away,
    /// The server did not answer in time, or the connection was lost before it did: the event may
    /// have been appended or not, and may be in the next moments.
    Unanswered,
    /// The server said no. The event was not appended.
    Refused(Box<str>),
}

impl fmt::Display for NatsLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("the event has no data"),
            Self::TooLong => f.write_str("the event is longer than the NATS server takes"),
            Self::Away => f.write_str("no NATS server is there"),
            Self::Unanswered => f.write_str("the NATS server did not answer in time"),
            Self::Refused(why) => write!(f, "the NATS server refused the event: {why}"),
        }
    }
}

impl Error for NatsLogError {}

/// Why there is no [`NatsLog`](super::NatsLog).
#[derive(Debug)]
pub struct NatsConnectError(Why);

#[derive(Debug)]
enum Why {
    Setting(InvalidSetting),
    Stream(&'static str),
    Tls,
    Server(Box<dyn Error + Send + Sync>),
}

impl NatsConnectError {
    pub(super) fn stream(why: &'static str) -> Self {
        Self(Why::Stream(why))
    }

    pub(super) fn tls() -> Self {
        Self(Why::Tls)
    }

    pub(super) fn server(why: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Why::Server(why.into()))
    }
}

impl From<InvalidSetting> for NatsConnectError {
    fn from(setting: InvalidSetting) -> Self {
        Self(Why::Setting(setting))
    }
}

impl fmt::Display for NatsConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Why::Setting(setting) => setting.fmt(f),
            Why::Stream(why) => write!(f, "the stream in NATS cannot be a log: {why}"),
            Why::Tls => f.write_str("TLS is not set up: see the feature `nats-tls`"),
            Why::Server(_) => f.write_str("NATS with JetStream cannot be used"),
        }
    }
}

impl Error for NatsConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Why::Setting(setting) => Some(setting),
            Why::Stream(_) | Why::Tls => None,
            Why::Server(why) => Some(&**why),
        }
    }
}
