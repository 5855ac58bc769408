//! A connection to PostgreSQL that is renewed when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_postgres::Config;

use super::address::Connector;
use super::error::{Failure, FailureKind, PgResult};
use super::schema::Statements;
use super::session::Session;
use crate::event_log::broker::{MIN_RETRY_DELAY, next_delay};

/// A connection that is made when it is needed first, and again when it is of no use any more.
pub(super) struct PostgresConnection {
    opener: SessionOpener,
    request_timeout: Duration,
    /// Held while a connection is made, so that one is made for all that wait.
    current: Mutex<Current>,
}

/// Opens connections.
#[derive(Clone)]
pub(super) struct SessionOpener {
    connector: Connector,
    hosts: Arc<[Config]>,
    /// The host that served last. All connections of a log are to lead to the same one.
    served: Arc<AtomicUsize>,
    pub(super) statements: Arc<Statements>,
}

#[derive(Default)]
struct Current {
    session: Option<Arc<Session>>,
    /// The last attempt to connect, if it failed.
    failed: Option<FailedAttempt>,
}

struct FailedAttempt {
    failure: Failure,
    until: Instant,
    delay: Duration,
}

impl SessionOpener {
    pub(super) fn new(connector: Connector, hosts: Arc<[Config]>, statements: Statements) -> Self {
        Self { connector, hosts, served: Arc::default(), statements: Arc::new(statements) }
    }

    /// Connects to the host that served last, or else to the next one that serves.
    ///
    /// # Errors
    ///
    /// If none serves. One that is there says more than one that is away.
    pub(super) async fn open(&self, request_timeout: Duration) -> PgResult<Session> {
        let first = self.served.load(Ordering::Relaxed);
        let mut failure = Failure::new(FailureKind::Away, "there is no host");
        for n in (first..self.hosts.len()).chain(0..first) {
            let (host, statements) = (&self.hosts[n], &self.statements);
            match Session::open(&self.connector, host, statements, request_timeout).await {
                Ok(session) => {
                    self.served.store(n, Ordering::Relaxed);
                    return Ok(session);
                }
                Err(other) if other.kind >= failure.kind => failure = other,
                Err(_) => {}
            }
        }
        Err(failure)
    }
}

impl PostgresConnection {
    /// A connection that is made later. Its server gives up requests that take longer than a time.
    pub(super) fn new(opener: SessionOpener, request_timeout: Duration) -> Self {
        Self { opener, request_timeout, current: Mutex::default() }
    }

    /// The connection, or a new one if it is of no use.
    ///
    /// # Errors
    ///
    /// If there is none and none can be made. Then the failure of the last attempt is returned for
    /// a time, so that requests do not connect in vain for each of them.
    pub(super) async fn get(&self) -> PgResult<Arc<Session>> {
        let mut current = self.current.lock().await;
        if let Some(session) = current.session.take() {
            // An idle connection may have been closed by the server, or by something on the way.
            // This shows it, and so it is known that the next request was not lost.
            if session.is_usable() && session.answers().await {
                current.session = Some(Arc::clone(&session));
                return Ok(session);
            }
        }
        if let Some(failed) = current.failed.as_ref().filter(|it| Instant::now() < it.until) {
            return Err(failed.failure.clone());
        }
        match self.opener.open(self.request_timeout).await {
            Ok(session) => {
                let session = Arc::new(session);
                *current = Current { session: Some(Arc::clone(&session)), failed: None };
                Ok(session)
            }
            Err(failure) => {
                let last = current.failed.as_ref().map(|failed| next_delay(failed.delay));
                let delay = last.unwrap_or(MIN_RETRY_DELAY);
                let until = Instant::now() + delay;
                current.failed = Some(FailedAttempt { failure: failure.clone(), until, delay });
                Err(failure)
            }
        }
    }
}
