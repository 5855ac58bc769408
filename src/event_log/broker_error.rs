//! [`BrokerError`], the error of every log that a broker keeps.

use std::error::Error;
use std::fmt;

use crate::InvalidSetting;

/// Why a log in Redis, NATS or PostgreSQL did not do what it was asked for.
///
/// It is one type for all of them, so that an application can change its log and keep what it does
/// on errors.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BrokerError {
    /// The event has no data, so clients would not dispatch it. It was not appended.
    NoData,
    /// The event is longer than what the log, or the server, accepts. It was not appended.
    TooLong,
    /// A setting is invalid, or the address is.
    Setting(InvalidSetting),
    /// The server refused the request, as when its disk is full, or when a right is missing. The
    /// event was not appended.
    Refused(Box<str>),
    /// The server is away, or went away before it answered. The event may or may not have been
    /// appended.
    Away(Box<str>),
    /// The server did not answer in time. The event may or may not have been appended.
    TimedOut,
}

impl BrokerError {
    /// Whether the same request would fail again, whatever the broker does.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::NoData | Self::TooLong | Self::Setting(_))
    }
}

impl From<InvalidSetting> for BrokerError {
    fn from(setting: InvalidSetting) -> Self {
        Self::Setting(setting)
    }
}

impl fmt::Display for BrokerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("the event has no data"),
            Self::TooLong => f.write_str("the event is longer than what may be appended"),
            Self::Setting(setting) => setting.fmt(f),
            Self::Refused(why) => write!(f, "the log's server refused: {why}"),
            Self::Away(why) => write!(f, "the log's server is away: {why}"),
            Self::TimedOut => f.write_str("the log's server did not answer in time"),
        }
    }
}

impl Error for BrokerError {}
