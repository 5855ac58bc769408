//! What an error of the server means.

use std::error::Error;
use std::fmt;
use std::io;

use tokio_postgres::error::SqlState;

use crate::event_log::BrokerError;

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    why: Box<str>,
}

/// What can be done after a failure. Of several, the last one says most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailureKind {
    /// The connection was lost, or could not be made. A request that was sent may have been done.
    Away,
    /// The same, as there was no answer in time.
    TimedOut,
    /// The server did nothing, and another connection may lead to one that does: it starts, it is a
    /// replica, or the tables of the log were dropped.
    NotReady,
    /// The server did nothing.
    Refused,
}

pub(super) type PgResult<T> = Result<T, Failure>;

impl Failure {
    pub(super) fn new(kind: FailureKind, why: impl Into<Box<str>>) -> Self {
        Self { kind, why: why.into() }
    }

    pub(super) fn timed_out() -> Self {
        Self::new(FailureKind::TimedOut, "there was no answer in time")
    }

    /// Adds what else is known.
    pub(super) fn with_context(self, context: &str) -> Self {
        Self { why: format!("{context}: {}", self.why).into(), ..self }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        self.kind != FailureKind::Refused
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(refused) = error.as_db_error() {
            return Self::new(kind_of(refused.code()), refused.to_string());
        }
        let cause = error.source();
        let io = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
        // So the client library says that a server is none that `target_session_attrs` asks for.
        let is_other = io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied);
        let kind = if is_other { FailureKind::NotReady } else { FailureKind::Away };
        // What the error says of itself is short; its cause says what happened.
        let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::new(kind, format!("{error}{cause}"))
    }
}

impl From<Failure> for BrokerError {
    fn from(Failure { kind, why }: Failure) -> Self {
        match kind {
            FailureKind::Away => Self::Away(why),
            FailureKind::TimedOut => Self::TimedOut,
            FailureKind::NotReady | FailureKind::Refused => Self::Refused(why),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

fn kind_of(code: &SqlState) -> FailureKind {
    match code.code() {
        // It is shut down, also in the middle of a commit, or ends the connection for another
        // reason.
        "57P01" | "57P02" | "57P05" | "08000" | "08003" | "08006" | "08P01" => FailureKind::Away,
        // It starts, has no connection left, or is read-only; or there is no table, no function or
        // no row of the log.
        "57P03" | "53300" | "25006" | "42P01" | "42883" | "P0002" => FailureKind::NotReady,
        _ => FailureKind::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_server_says_what_can_be_done() {
        #[rustfmt::skip]
        let table = [
            ("57P01", FailureKind::Away,     "terminating connection"),
            ("08006", FailureKind::Away,     "connection failure"),
            ("57P03", FailureKind::NotReady, "the database system is starting up"),
            ("25006", FailureKind::NotReady, "cannot execute in a read-only transaction"),
            ("42P01", FailureKind::NotReady, "relation does not exist"),
            ("53100", FailureKind::Refused,  "disk full"),
            ("42501", FailureKind::Refused,  "permission denied"),
            ("55P03", FailureKind::Refused,  "canceling statement due to lock timeout"),
            ("22021", FailureKind::Refused,  "invalid byte sequence"),
        ];
        for (code, kind, what) in table {
            assert_eq!(kind_of(&SqlState::from_code(code)), kind, "{what}");
        }
    }
}
