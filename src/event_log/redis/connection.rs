//! A connection to Redis that is renewed: when it is lost, and when it leads to a server that takes
//! no writes any more.

use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::CONNECT_TIMEOUT;
use super::address::RedisAddress;
use crate::event_log::BrokerError;
use crate::event_log::broker::{MIN_RETRY_DELAY, next_delay};
use crate::sync::lock;

/// A connection that is made when it is needed first, and again when it is of no use any more.
///
/// The client library renews a connection that is lost, but not one to a server that became a
/// replica, and it does not say whether a request was sent over a connection that was lost.
pub(super) struct RedisConnection {
    address: RedisAddress,
    response_timeout: Duration,
    /// Held while a connection is made, so that one is made for all that wait.
    current: AsyncMutex<Current>,
    last_answer: Mutex<LastAnswer>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// Counts connections.
    number: u64,
    /// The last attempt to connect, if it failed.
    failed: Option<FailedAttempt>,
}

struct FailedAttempt {
    error: RedisError,
    until: Instant,
    delay: Duration,
}

#[derive(Clone, Copy)]
struct LastAnswer {
    at: Instant,
    /// The connection is of no use.
    useless: Option<u64>,
    /// No connection is of use that was made before.
    renew: bool,
}

/// A connection for one request. What comes of it is to be [noted](RedisConnection::note).
#[derive(Clone)]
pub(super) struct Lease {
    pub(super) connection: MultiplexedConnection,
    /// Counts connections, from 1 on.
    pub(super) number: u64,
}

impl RedisConnection {
    /// A connection to a server, which is made later.
    pub(super) fn new(address: RedisAddress, response_timeout: Duration) -> Self {
        Self {
            address,
            response_timeout,
            current: AsyncMutex::default(),
            last_answer: Mutex::new(LastAnswer { at: Instant::now(), useless: None, renew: false }),
        }
    }

    /// The connection, or a new one if it is of no use.
    ///
    /// # Errors
    ///
    /// If there is none and none can be made. Then the error of the last attempt is returned for a
    /// time, so that requests do not connect in vain for each of them.
    pub(super) async fn get(&self) -> RedisResult<Lease> {
        let mut current = self.current.lock().await;
        let last = {
            let mut last = lock(&self.last_answer);
            let before = *last;
            last.renew = false;
            before
        };
        if last.renew || last.useless == Some(current.number) {
            current.connection = None;
        }
        if let Some(connection) = &mut current.connection {
            // An idle connection may have been closed by the server, or by something on the way.
            // This request shows it, and so it is known that the next one was not lost.
            let ping = redis::cmd("PING");
            let is_there = last.at.elapsed() < IDLE
                || matches!(
                    timeout(PING_TIMEOUT, ping.query_async::<()>(connection)).await,
                    Ok(Ok(()))
                );
            if is_there {
                return Ok(Lease { connection: connection.clone(), number: current.number });
            }
        }
        current.connection = None;
        if let Some(failed) = current.failed.as_ref().filter(|it| Instant::now() < it.until) {
            return Err(failed.error.clone());
        }
        match self.connect().await {
            Ok(connection) => {
                current.failed = None;
                current.number += 1;
                current.connection = Some(connection.clone());
                self.note_answer();
                Ok(Lease { connection, number: current.number })
            }
            Err(error) => {
                let last = current.failed.as_ref().map(|failed| next_delay(failed.delay));
                let delay = last.unwrap_or(MIN_RETRY_DELAY);
                let until = Instant::now() + delay;
                current.failed = Some(FailedAttempt { error: error.clone(), until, delay });
                Err(error)
            }
        }
    }

    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(self.response_timeout));
        self.address.connect(&config).await
    }

    fn note_answer(&self) {
        lock(&self.last_answer).at = Instant::now();
    }

    /// Notes what came of a request, and returns it.
    pub(super) fn note<T>(&self, lease: &Lease, result: RedisResult<T>) -> RedisResult<T> {
        match &result {
            Ok(_) => self.note_answer(),
            Err(error) => {
                let misled = is_wrong_server(error);
                if misled || error.is_unrecoverable_error() || error.is_timeout() {
                    self.give_up(lease);
                }
                if misled {
                    self.address.renew_reader.notify_one();
                }
            }
        }
        result
    }

    /// Has the next request made over a new connection.
    pub(super) fn renew(&self) {
        lock(&self.last_answer).renew = true;
    }

    /// Notes that there was no answer in time: the connection may be dead.
    pub(super) fn give_up(&self, lease: &Lease) {
        lock(&self.last_answer).useless = Some(lease.number);
    }
}

/// Whether a server refused a request because it is not, or not any more, the one to ask. It did
/// nothing, and another connection may lead to the right one.
pub(super) fn is_wrong_server(error: &RedisError) -> bool {
    is_one_of(error, &["READONLY", "MASTERDOWN", "MOVED", "CLUSTERDOWN", "UNBLOCKED"])
}

/// Whether a server of a cluster refused a request because it is giving the slot of the log to
/// another one, and does not have all keys of the request any more.
///
/// `ASK` names the other server, but to ask that one is of no use: most requests of a log have
/// several keys, some of which never existed, and until the slot has moved it refuses those, too.
pub(super) fn is_moving(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(ServerErrorKind::Ask | ServerErrorKind::TryAgain))
}

/// Whether a server refused a request for now, as while it reads its data after a start.
pub(super) fn is_not_ready(error: &RedisError) -> bool {
    is_wrong_server(error) || is_moving(error) || is_one_of(error, &["LOADING"])
}

/// What the error of a request means for who asked the log.
pub(super) fn failed(error: RedisError) -> BrokerError {
    match error.kind() {
        // Errors that Redis returned, some of which the library has no kind for.
        ErrorKind::Server(_) | ErrorKind::Extension => {
            BrokerError::Refused(error.to_string().into())
        }
        _ if error.is_timeout() => BrokerError::TimedOut,
        _ => BrokerError::Away(error.to_string().into()),
    }
}

fn is_one_of(error: &RedisError, codes: &[&str]) -> bool {
    // Of an error inside a script, older servers have the code in the text.
    let detail = error.detail().unwrap_or_default();
    codes.iter().any(|code| error.code() == Some(code) || detail.contains(code))
}

/// The error of a request that has no answer in time.
pub(super) fn timed_out() -> RedisError {
    io::Error::from(io::ErrorKind::TimedOut).into()
}

/// A connection that was silent for so long is asked whether it is there before an event is sent:
/// proxies close connections after a minute or more, and an answer takes less than a millisecond.
const IDLE: Duration = Duration::from_secs(1);

/// A connection that does not answer within this time is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
