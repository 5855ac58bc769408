//! Where the server of a log is: at an address, in a cluster, or where Sentinel says.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
#[cfg(feature = "redis-sentinel")]
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisResult};
use tokio::sync::Notify;

use super::RedisLogBuilder;
use super::servers::RedisServers;
use crate::InvalidSetting;

/// What connections are made to.
#[derive(Clone)]
pub(super) struct RedisAddress {
    target: Arc<Target>,
    /// Has the reader connect anew: another connection leads, or led, to the wrong server.
    pub(super) renew_reader: Arc<Notify>,
}

enum Target {
    Servers(RedisServers),
    /// It is asked for each connection, since after a failover the server is another one.
    #[cfg(feature = "redis-sentinel")]
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
}

impl RedisAddress {
    /// Checks a URL, or several with `,` between them: of the servers of a cluster, which are
    /// asked for `key`, or of Sentinels.
    pub(super) fn parse(
        settings: &RedisLogBuilder,
        urls: &str,
        key: &str,
    ) -> Result<Self, InvalidSetting> {
        let list = split(urls);
        let infos = list.iter().map(|url| check(url)).collect::<Result<Vec<_>, _>>()?;
        let servers = infos.into_iter().map(|info| prepare(settings, info));
        let servers = servers.collect::<RedisResult<Vec<_>>>().map_err(|_| invalid(urls))?;
        let renew_reader = Arc::<Notify>::default();
        #[cfg(feature = "redis-sentinel")]
        if let Some(service) = &settings.sentinel {
            let sentinel = sentinel(settings, service, &servers).map_err(|_| invalid(urls))?;
            let target = Target::Sentinel(Box::new(tokio::sync::Mutex::new(sentinel)));
            return Ok(Self { target: Arc::new(target), renew_reader });
        }
        let servers = RedisServers::new(servers, key, Arc::clone(&renew_reader));
        Ok(Self { target: Arc::new(Target::Servers(servers)), renew_reader })
    }

    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        match &*self.target {
            Target::Servers(servers) => servers.connect(config).await,
            #[cfg(feature = "redis-sentinel")]
            Target::Sentinel(sentinel) => {
                let client = sentinel.lock().await.async_get_client().await?;
                client.get_multiplexed_async_connection_with_config(config).await
            }
        }
    }
}

/// The URLs of a list. A `,` that is not before a URL is a part of one, as of its password.
fn split(urls: &str) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for part in urls.split(',') {
        match list.last_mut() {
            Some(url) if !part.contains("://") => {
                url.push(',');
                url.push_str(part);
            }
            _ => list.push(part.trim().to_owned()),
        }
    }
    list
}

fn check(url: &str) -> Result<ConnectionInfo, InvalidSetting> {
    url.into_connection_info().map_err(|_| invalid(url))
}

#[cfg(feature = "redis-sentinel")]
fn sentinel(
    settings: &RedisLogBuilder,
    service: &str,
    sentinels: &[ConnectionInfo],
) -> RedisResult<SentinelClient> {
    let addresses = sentinels.iter().map(|sentinel| sentinel.addr().clone());
    let mut client = SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?;
    // The log signs in to the servers; Sentinels have no users in most setups.
    if let Some(first) = sentinels.first().map(ConnectionInfo::redis_settings) {
        client = client.set_client_to_redis_db(first.db());
        client = client.set_client_to_redis_protocol(first.protocol());
        if let Some(user) = first.username() {
            client = client.set_client_to_redis_username(user);
        }
        if let Some(password) = first.password() {
            client = client.set_client_to_redis_password(password);
        }
    }
    servers_as_sentinels(settings, sentinels, client).build()
}

/// Without the feature no address has TLS.
#[cfg(all(feature = "redis-sentinel", not(feature = "redis-tls")))]
fn servers_as_sentinels(
    _: &RedisLogBuilder,
    _: &[ConnectionInfo],
    client: SentinelClientBuilder,
) -> SentinelClientBuilder {
    client
}

/// Has the servers that Sentinels name connected to with TLS if one of the Sentinels is: they are
/// sent the password.
#[cfg(all(feature = "redis-sentinel", feature = "redis-tls"))]
fn servers_as_sentinels(
    settings: &RedisLogBuilder,
    sentinels: &[ConnectionInfo],
    client: SentinelClientBuilder,
) -> SentinelClientBuilder {
    let insecure = sentinels.iter().find_map(|sentinel| match sentinel.addr() {
        redis::ConnectionAddr::TcpTls { insecure, .. } => Some(*insecure),
        _ => None,
    });
    match insecure {
        None => client,
        Some(true) => client.set_client_to_redis_tls_mode(redis::TlsMode::Insecure),
        Some(false) => client
            .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
            .set_client_to_redis_certificates(certificates(settings)),
    }
}

/// Checks a server, and adds what TLS needs.
#[cfg(not(feature = "redis-tls"))]
fn prepare(_: &RedisLogBuilder, info: ConnectionInfo) -> RedisResult<ConnectionInfo> {
    Ok(Client::open(info)?.get_connection_info().clone())
}

/// Checks a server, and adds what TLS needs.
#[cfg(feature = "redis-tls")]
fn prepare(settings: &RedisLogBuilder, info: ConnectionInfo) -> RedisResult<ConnectionInfo> {
    if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        return Ok(Client::open(info)?.get_connection_info().clone());
    }
    // The client library panics if the process has none. Another one that is there stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::build_with_tls(info, certificates(settings))?.get_connection_info().clone())
}

#[cfg(feature = "redis-tls")]
fn certificates(settings: &RedisLogBuilder) -> redis::TlsCertificates {
    let root_cert = settings.root_certificate.as_deref().map(<[u8]>::to_vec);
    redis::TlsCertificates { client_tls: None, root_cert }
}

/// Without the reason: it may repeat the URL, which may have a password in it.
fn invalid(url: &str) -> InvalidSetting {
    let scheme = url.split("://").next().unwrap_or_default();
    let needs_tls = cfg!(not(feature = "redis-tls")) && matches!(scheme, "rediss" | "valkeys");
    let why = match needs_tls {
        true => "it needs TLS: enable the feature `redis-tls`",
        false => "it is not the address of a Redis",
    };
    InvalidSetting::new("url", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_several_urls_and_passwords_may_have_commas() {
        assert_eq!(split("redis://a"), ["redis://a"]);
        assert_eq!(
            split("redis://a:1,rediss://b, redis://c"),
            ["redis://a:1", "rediss://b", "redis://c"]
        );
        assert_eq!(split("redis://:p,w,@a,redis://b"), ["redis://:p,w,@a", "redis://b"]);
    }

    #[cfg(not(feature = "redis-tls"))]
    #[test]
    fn without_the_feature_an_address_with_tls_is_refused_with_its_name() {
        let settings = RedisLogBuilder::default();
        let refused = RedisAddress::parse(&settings, "redis://localhost,rediss://localhost", "k");
        let why = refused.err().unwrap().to_string();
        assert!(why.contains("`redis-tls`"), "{why}");
    }
}
