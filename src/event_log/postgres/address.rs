//! Where the server of a log is, and how a connection to it is made.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, poll_fn};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, Socket};

/// What a server sends unasked, until the connection ends. It must be polled for answers to come.
pub(super) type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

type Connecting = Pin<Box<dyn Future<Output = Result<(Client, Messages), Error>> + Send>>;

/// Connects, with or without TLS.
#[derive(Clone)]
pub(super) struct Connector(Arc<dyn Fn(Config) -> Connecting + Send + Sync>);

impl Connector {
    pub(super) fn with_tls<T>(tls: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send + 'static,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        Self(Arc::new(move |config| {
            let tls = tls.clone();
            Box::pin(async move {
                let (client, connection) = config.connect(tls).await?;
                Ok((client, messages(connection)))
            })
        }))
    }

    pub(super) async fn connect(&self, config: &Config) -> Result<(Client, Messages), Error> {
        (self.0)(config.clone()).await
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self::with_tls(NoTls)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// The messages of a connection. They are not to be polled after an error.
fn messages<S>(mut connection: Connection<Socket, S>) -> Messages
where
    S: TlsStream + Unpin + Send + 'static,
{
    Box::pin(poll_fn(move |cx| connection.poll_message(cx)))
}

/// What the application did not set: a connection that is dead is noticed within seconds.
pub(super) fn with_defaults(mut config: Config) -> Config {
    if config.get_application_name().is_none() {
        config.application_name("tower-sse");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(DEAD_AFTER);
    }
    config
}

/// How long it may take to reach one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a server may leave what it was sent without an answer of its kernel.
const DEAD_AFTER: Duration = Duration::from_secs(10);
