//! What an error of the server or of the client library means for who asked the log.

use std::error::Error;
use std::fmt;
use std::iter::successors;

use async_nats::jetstream;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
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

/// Why the stream cannot be read or created.
pub(super) fn no_stream(error: &CreateStreamError) -> BrokerError {
    let what = "the stream cannot be read or created";
    match error.kind() {
        CreateStreamErrorKind::TimedOut => {
            // A server does not answer a request that a user may not make.
            let why = "no answer in time; may this user use JetStream?";
            BrokerError::Away(format!("{what}: {why}").into())
        }
        // The connection was lost, or its task has ended.
        CreateStreamErrorKind::Response if !is_refusal(error) => {
            BrokerError::Away(format!("{what}: {error}").into())
        }
        _ => refused("the stream cannot be read or created: is JetStream enabled?", error),
    }
}

/// Whether an error is the answer of a server, and not one of the client library.
pub(super) fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    successors(error.source(), |&error| error.source()).any(<dyn Error>::is::<jetstream::Error>)
}

/// There is no connection, so nothing was sent.
pub(super) fn away() -> BrokerError {
    BrokerError::Away("there is no connection to a NATS server".into())
}
