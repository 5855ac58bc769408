//! One connection to PostgreSQL, and what the server says unasked over it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Row};

use super::address::{Connector, Messages};
use super::error::{Failure, FailureKind, PgResult};
use super::rows::value;
use super::schema::{SCHEMA_VERSION, Statements};
use crate::event_log::ids::random;
use crate::sync::lock;

/// A connection with the settings that the log needs, to a database that has the tables of the log.
pub(super) struct Session {
    client: Client,
    /// What another connection is to notify, so that it is known whether this one hears.
    pub(super) call: u64,
    heard: Arc<Heard>,
    is_useless: AtomicBool,
    /// The server was told what this process knows of the log.
    pub(super) is_told: AtomicBool,
    last_answer: Mutex<Instant>,
    /// How many requests wait for an answer.
    asking: AtomicUsize,
}

struct Asked<'a>(&'a AtomicUsize);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What was heard over a connection.
#[derive(Debug, Default)]
struct Heard {
    /// The largest sequence that was named since the last look; the largest number if it could not
    /// be understood, or if the connection ended.
    sequence: AtomicU64,
    /// The call of the session was heard.
    call: AtomicBool,
    news: Notify,
    /// The session was dropped.
    is_over: Notify,
}

impl Session {
    /// Connects, and makes the tables if there are none.
    pub(super) async fn open(
        connector: &Connector,
        config: &Config,
        statements: &Statements,
        request_timeout: Duration,
    ) -> PgResult<Self> {
        let open = Self::try_open(connector, config, statements, request_timeout);
        timeout(OPEN_TIMEOUT, open).await.map_err(|_| Failure::timed_out())?
    }

    async fn try_open(
        connector: &Connector,
        config: &Config,
        statements: &Statements,
        request_timeout: Duration,
    ) -> PgResult<Self> {
        let (client, messages) = connector.connect(config).await?;
        let heard = Arc::<Heard>::default();
        // Less than any sequence, so that it wakes no reader.
        let call = random() >> 32;
        tokio::spawn(carry(messages, Arc::clone(&heard), call));
        let session = Self {
            client,
            call,
            heard,
            is_useless: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            last_answer: Mutex::new(Instant::now()),
            asking: AtomicUsize::new(0),
        };
        // Whatever the defaults of the role and of the database are. What waits in vain for a lock
        // is ended by the server, or it would be done after the caller was told otherwise.
        let millis = request_timeout.as_millis();
        session
            .execute(&format!(
                "SET default_transaction_isolation = 'read committed';
                SET statement_timeout = {millis}; SET lock_timeout = {millis};
                SET client_min_messages = 'warning'"
            ))
            .await?;
        session.find_tables(statements).await?;
        Ok(session)
    }

    async fn find_tables(&self, statements: &Statements) -> PgResult<()> {
        let found = self.client.query_typed(&statements.version, &[]).await;
        match found.map_err(Failure::from) {
            Ok(rows) if !rows.is_empty() => return check_server(&rows[0]),
            Err(failure) if failure.kind != FailureKind::NotReady => return Err(failure),
            _ => {}
        }
        // One transaction, which may take longer than a request. Of several nodes that start one
        // makes them.
        let Statements { channel, schema, .. } = statements;
        let millis = OPEN_TIMEOUT.as_millis();
        let sql = format!(
            "SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {millis};
            SELECT pg_advisory_xact_lock(hashtext('{channel}'));
            {schema}"
        );
        let made = self.execute(&sql).await;
        made.map_err(|it| it.with_context("there are no tables of the log, and none can be made"))
    }

    /// Has what is appended to the log be [heard](Self::hear) from now on.
    pub(super) async fn listen(&self, statements: &Statements) -> PgResult<()> {
        self.execute(&format!("LISTEN \"{}\"", statements.channel)).await
    }

    async fn execute(&self, sql: &str) -> PgResult<()> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Sends a statement and returns its rows. If they do not come within a time, the connection
    /// may be dead, and is given up.
    pub(super) async fn ask(
        &self,
        within: Duration,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> PgResult<Vec<Row>> {
        self.asking.fetch_add(1, Ordering::SeqCst);
        let _asked = Asked(&self.asking);
        let answer = match timeout(within, self.client.query_typed(statement, parameters)).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_) => Err(Failure::timed_out()),
        };
        match &answer {
            Err(failure) if failure.ends_connection() => self.give_up(),
            _ => *lock(&self.last_answer) = Instant::now(),
        }
        answer
    }

    /// Notes that the connection is of no use any more.
    pub(super) fn give_up(&self) {
        self.is_useless.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.is_useless.load(Ordering::SeqCst) && !self.client.is_closed()
    }

    /// Whether the server is there. It is not asked if it answered just now, or if others wait for
    /// an answer, which may be a long one.
    pub(super) async fn answers(&self) -> bool {
        if lock(&self.last_answer).elapsed() < IDLE || self.asking.load(Ordering::SeqCst) > 0 {
            return true;
        }
        let ping = timeout(PING_TIMEOUT, self.client.check_connection()).await;
        let answers = matches!(ping, Ok(Ok(())));
        if answers {
            *lock(&self.last_answer) = Instant::now();
        }
        answers
    }

    /// Whether this has heard its [call](Self::call), as each connection does that is a session of
    /// its own and [listens](Self::listen).
    pub(super) fn has_heard_call(&self) -> bool {
        self.heard.call.load(Ordering::SeqCst)
    }

    /// Waits until this has heard its call, or until the connection ends.
    pub(super) async fn hear_call(&self) {
        while !self.has_heard_call() && self.is_usable() {
            self.heard.news.notified().await;
        }
    }

    /// Waits until the server names an event after a position, or until the connection ends, which
    /// the next request notices.
    pub(super) async fn hear(&self, position: u64) {
        while self.heard.sequence.swap(0, Ordering::SeqCst) <= position && self.is_usable() {
            self.heard.news.notified().await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.heard.is_over.notify_one();
    }
}

impl Heard {
    fn note(&self, sequence: u64) {
        self.sequence.fetch_max(sequence, Ordering::SeqCst);
        self.news.notify_one();
    }
}

/// Whether a server takes events, and has tables that this version of the crate understands.
fn check_server(row: &Row) -> PgResult<()> {
    // It would let the log read, late, and without `LISTEN`.
    if value::<bool>(row, 1)? {
        return Err(Failure::new(FailureKind::NotReady, "the server is a replica"));
    }
    let version: i32 = value(row, 0)?;
    if version != SCHEMA_VERSION {
        let why = format!(
            "the tables of the log have version {version} of the schema, and this version of \
             `tower-sse` needs version {SCHEMA_VERSION}"
        );
        return Err(Failure::new(FailureKind::Refused, why));
    }
    Ok(())
}

/// Carries messages until the connection ends, which it does soon after its session was dropped.
async fn carry(mut messages: Messages, heard: Arc<Heard>, call: u64) {
    let over = async {
        heard.is_over.notified().await;
        // It says goodbye to the server in this time, unless that is gone.
        sleep(GOODBYE).await;
    };
    let carry = async {
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(named) = message {
                // What is not understood is as good as any event.
                let named = named.payload().parse().unwrap_or(u64::MAX);
                heard.call.fetch_or(named == call, Ordering::SeqCst);
                heard.note(named);
            }
        }
    };
    let (over, carry) = (std::pin::pin!(over), std::pin::pin!(carry));
    if let Either::Right(_) = select(over, carry).await {
        heard.note(u64::MAX);
    }
}

/// How long it may take to connect to one host and to find the tables.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was silent for so long is asked whether it is there before an event is sent:
/// proxies close connections after a minute or more, and an answer takes less than a millisecond.
const IDLE: Duration = Duration::from_secs(1);

/// A connection that does not answer within this time is given up.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

const GOODBYE: Duration = Duration::from_secs(1);
