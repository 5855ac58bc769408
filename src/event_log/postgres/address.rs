//! Where the server of a log is, and how a connection to it is made.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, poll_fn};
use tokio_postgres::config::Host;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls, Socket};

use crate::InvalidSetting;

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

/// The hosts of an address, each with all other settings of it.
///
/// The client library tries them one after the other, too, but waits for ever for one that accepts
/// connections and says nothing.
pub(super) fn hosts(config: &Config) -> Result<Arc<[Config]>, InvalidSetting> {
    let (names, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let (ports, count) = (config.get_ports(), names.len().max(addresses.len()));
    let is_one_each = |len: usize| len == 0 || len == count;
    let fit = is_one_each(names.len()) && is_one_each(addresses.len());
    if count == 0 || !fit || ports.len() > 1 && ports.len() != count {
        let problem = "it must name a host, and one port or address each if it names several";
        return Err(InvalidSetting::new("address", problem));
    }
    let host = |n: usize| {
        let mut host = with_defaults(config);
        match names.get(n) {
            Some(Host::Tcp(name)) => drop(host.host(name)),
            #[cfg(unix)]
            Some(Host::Unix(path)) => drop(host.host_path(path)),
            None => {}
        }
        if let Some(address) = addresses.get(n) {
            host.hostaddr(*address);
        }
        if let Some(port) = ports.get(n).or(ports.first()) {
            host.port(*port);
        }
        host
    };
    Ok((0..count).map(host).collect())
}

/// The settings of an address without its hosts. What the application did not set has a default, by
/// which a connection that is dead is noticed within seconds.
fn with_defaults(config: &Config) -> Config {
    let mut settings = Config::new();
    settings
        .application_name(config.get_application_name().unwrap_or("tower-sse"))
        .connect_timeout(config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT))
        .tcp_user_timeout(config.get_tcp_user_timeout().copied().unwrap_or(DEAD_AFTER))
        .ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .channel_binding(config.get_channel_binding())
        .target_session_attrs(config.get_target_session_attrs())
        .load_balance_hosts(config.get_load_balance_hosts())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle());
    if let Some(user) = config.get_user() {
        settings.user(user);
    }
    if let Some(password) = config.get_password() {
        settings.password(password);
    }
    if let Some(database) = config.get_dbname() {
        settings.dbname(database);
    }
    if let Some(options) = config.get_options() {
        settings.options(options);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        settings.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        settings.keepalives_retries(retries);
    }
    settings
}

/// How long it may take to reach one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a server may leave what it was sent without an answer of its kernel.
const DEAD_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(address: &str) -> Config {
        address.parse().unwrap()
    }

    /// What is set is all that there is to set: a setting that is not carried over fails this.
    #[test]
    fn each_host_has_all_settings_of_the_address() {
        let settings = "user=u password='p w' dbname=d options='-c a=b' application_name=n \
            sslmode=require sslnegotiation=direct channel_binding=require connect_timeout=7 \
            tcp_user_timeout=8 keepalives=0 keepalives_idle=9 keepalives_interval=10 \
            keepalives_retries=11 target_session_attrs=read-write load_balance_hosts=random";
        let hosts = hosts(&parse(&format!("host=a,/b port=1,2 {settings}"))).unwrap();
        let expected = ["host=a port=1", "host=/b port=2"];
        let expected = expected.map(|host| parse(&format!("{host} {settings}")));
        assert_eq!(*hosts, expected);
        assert!(format!("{hosts:?}").matches("None").count() == 0, "{hosts:?}");
    }

    #[test]
    fn an_address_has_one_port_for_all_hosts_or_one_for_each() {
        let ports = |address| {
            let hosts = hosts(&parse(address)).ok()?;
            Some(hosts.iter().map(|host| host.get_ports().to_vec()).collect::<Vec<_>>())
        };
        let table: &[(&str, Option<&[&[u16]]>)] = &[
            ("host=a", Some(&[&[]])),
            ("host=a,b", Some(&[&[], &[]])),
            ("host=a,b port=7", Some(&[&[7], &[7]])),
            ("host=a,b port=7,8", Some(&[&[7], &[8]])),
            ("postgres://a:7,b:8/d", Some(&[&[7], &[8]])),
            ("hostaddr=127.0.0.1,127.0.0.2", Some(&[&[], &[]])),
            ("host=a,b hostaddr=127.0.0.1,127.0.0.2", Some(&[&[], &[]])),
            ("user=u", None),
            ("host=a,b hostaddr=127.0.0.1", None),
            ("host=a,b,c port=7,8", None),
        ];
        for (address, expected) in table {
            let expected = expected.map(|it| it.iter().map(|it| it.to_vec()).collect::<Vec<_>>());
            assert_eq!(ports(*address), expected, "{address}");
        }
    }
}
