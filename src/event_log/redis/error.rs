//! Why an event is not in Redis.

use std::error::Error;
use std::fmt;

use redis::{ErrorKind, RedisError};

use crate::InvalidSetting;

/// Why a [`RedisLog`](super::RedisLog) did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisLogError {
    /// The event has no data: clients would not dispatch it. Nothing was done.
    NoData,
    /// The event is longer than what may be appended. Nothing was done.
    TooLong,
    /// A setting cannot work, the address among them.
    Setting(InvalidSetting),
    /// Redis refused, as it does when it is full or a replica. Nothing was done.
    Refused(Box<str>),
    /// Redis is away, or went away before it answered: the event may have been appended or not.
    Away(Box<str>),
    /// Redis did not answer in time: the event may have been appended or not.
    TimedOut,
}

impl From<RedisError> for RedisLogError {
    fn from(error: RedisError) -> Self {
        match error.kind() {
            // In Redis's own words, some of which the library has no kind for.
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused(error.to_string().into()),
            _ if error.is_timeout() => Self::TimedOut,
            _ => Self::Away(error.to_string().into()),
        }
    }
}

impl From<InvalidSetting> for RedisLogError {
    fn from(setting: InvalidSetting) -> Self {
        Self::Setting(setting)
    }
}

impl fmt::Display for RedisLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoData => f.write_str("the event has no data"),
            Self::TooLong => f.write_str("the event is longer than what may be appended"),
            Self::Setting(_) => f.write_str("a setting of the log in Redis cannot work"),
            Self::Refused(why) => write!(f, "Redis refused: {why}"),
            Self::Away(why) => write!(f, "Redis is away: {why}"),
            Self::TimedOut => f.write_str("Redis did not answer in time"),
        }
    }
}

impl Error for RedisLogError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Setting(setting) = self { Some(setting) } else { None }
    }
}
