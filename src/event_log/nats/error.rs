//! What an error of the server or of the client library means for who asked the log.

use std::fmt;

use async_nats::{ConnectError, ConnectErrorKind};

use crate::event_log::BrokerError;

/// What could not be done, and the error that says why.
pub(super) fn refused(what: &str, why: impl fmt::Display) -> BrokerError {
    BrokerError::Refused(format!("{what}: {why}").into())
}

/// Why a stream that is there cannot be the one of a log.
pub(super) fn unusable(why: &'static str) -> BrokerError {
    refused("the NATS stream cannot be a log", why)
}

pub(super) fn not_connected(error: &ConnectError) -> BrokerError {
    let why = match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
            return refused("the login (check the user and the password, or the token)", error);
        }
        ConnectErrorKind::Dns => "the name of the host is not found",
        ConnectErrorKind::Tls => "TLS fails",
        ConnectErrorKind::TimedOut => "no server answers in time",
        _ => "no server can be reached",
    };
    BrokerError::Away(format!("{why}: {error}").into())
}

/// There is no connection, so nothing was sent.
pub(super) fn away() -> BrokerError {
    BrokerError::Away("there is no connection to a NATS server".into())
}
