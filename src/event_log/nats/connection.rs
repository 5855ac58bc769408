//! A connection to the servers, and what may have been lost on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::timeout;

use super::error::not_connected;
use super::login::NatsLogin;
use crate::InvalidSetting;
use crate::event_log::BrokerError;

/// A connection to the servers. The client library reconnects for ever.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) jetstream: Context,
    /// Counts what may have lost messages: connections lost and made, and full buffers.
    changes: watch::Receiver<u64>,
}

impl Connection {
    /// Connects. An acknowledgement of an event may take `ack_timeout`.
    pub(super) async fn open(
        servers: &[ServerAddr],
        login: Option<NatsLogin>,
        ack_timeout: Duration,
    ) -> Result<Self, BrokerError> {
        let (count, changes) = watch::channel(0);
        let (count, away) = (Arc::new(count), Arc::new(AtomicBool::new(false)));
        let options = ConnectOptions::new()
            .name("tower-sse")
            // Servers that another one names are sent the login, too.
            .require_tls(servers.iter().any(ServerAddr::tls_required))
            .ping_interval(PING)
            .request_timeout(Some(RESPONSE_TIMEOUT))
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                let count = Arc::clone(&count);
                let counts = match event {
                    // The first connection lost nothing.
                    Event::Connected => away.swap(false, Ordering::Relaxed),
                    Event::Disconnected | Event::Closed => {
                        away.store(true, Ordering::Relaxed);
                        true
                    }
                    Event::SlowConsumer(_) => true,
                    _ => false,
                };
                async move {
                    if counts {
                        count.send_modify(|count| *count += 1);
                    }
                }
            });
        let options = match login {
            Some(login) => login.add_to(options).await?,
            None => options,
        };
        let servers = servers.to_vec();
        // In a task of its own, since the client library panics if a server requires TLS and there
        // is no cryptography provider, or more than one.
        let connecting = tokio::spawn(async move { options.connect(&servers[..]).await });
        let client = connecting.await.map_err(|_| InvalidSetting::new("servers", NO_TLS))?;
        let client = client.map_err(|error| not_connected(&error))?;
        let jetstream = ContextBuilder::new()
            .timeout(RESPONSE_TIMEOUT)
            .ack_timeout(ack_timeout)
            .build(client.clone());
        Ok(Self { client, jetstream, changes })
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// A receiver of changes from now on.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.changes.clone();
        // A clone has seen as many changes as the original, which is none.
        changes.mark_unchanged();
        changes
    }

    /// Waits until the connection is up.
    pub(super) async fn up(&self) {
        let mut changes = self.changes();
        while !self.is_up() {
            // With a timeout, since the state may be updated a moment after the change.
            let _ = timeout(PAUSE, changes.changed()).await;
        }
    }

    /// Waits before a retry: for a while, or until the connection changes, and then until it is up.
    pub(super) async fn pause(&self) {
        let mut changes = self.changes();
        let _ = timeout(PAUSE, changes.changed()).await;
        self.up().await;
    }

    /// The longest event and its headers that the server accepts, in bytes.
    pub(super) fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }

    /// Whether one consumer can have several subjects: in NATS 2.10 and later.
    pub(super) fn has_filters(&self) -> bool {
        let version = self.client.server_info().version;
        let mut numbers = version.split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (2, 10),
            _ => false,
        }
    }
}

/// The delay before the next attempt to connect. It doubles up to a second, so that nodes are back
/// soon after their server.
fn reconnect_delay(attempts: usize) -> Duration {
    let doubled = 10 << attempts.min(7);
    Duration::from_millis(doubled).min(Duration::from_secs(1))
}

/// How often a silent connection is checked.
const PING: Duration = Duration::from_secs(10);

/// How long an answer to a request about streams and consumers may take.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before a retry.
const PAUSE: Duration = Duration::from_millis(250);

/// Why there may be no TLS.
const NO_TLS: &str = "TLS is not set up: see the feature `nats-tls`";
