//! Where the server of a log is: at an address, or where Sentinel says.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
#[cfg(feature = "redis-sentinel")]
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisResult};

use super::RedisLogBuilder;
use crate::InvalidSetting;

/// What connections are made to.
#[derive(Clone)]
pub(super) struct RedisAddress(Arc<Target>);

enum Target {
    Server(Client),
    /// It is asked for each connection, since after a failover the server is another one.
    #[cfg(feature = "redis-sentinel")]
    Sentinel(tokio::sync::Mutex<SentinelClient>),
}

impl RedisAddress {
    /// Checks a URL, or the URLs of several Sentinels with `,` between them.
    pub(super) fn parse(settings: &RedisLogBuilder, url: &str) -> Result<Self, InvalidSetting> {
        #[cfg(feature = "redis-sentinel")]
        if let Some(service) = &settings.sentinel {
            let urls = url.split(',').map(check).collect::<Result<Vec<_>, _>>()?;
            // The log signs in to the servers; Sentinels have no users in most setups.
            let server = urls.first().map(|url| url.redis_settings().clone());
            let plain = |url: &ConnectionInfo| {
                url.clone().set_redis_settings(redis::RedisConnectionInfo::default())
            };
            let node = server.map(|server| {
                SentinelNodeConnectionInfo::default().set_redis_connection_info(server)
            });
            let sentinels = urls.iter().map(plain).collect::<Vec<_>>();
            let (service, role) = (String::from(service.clone()), SentinelServerType::Master);
            let sentinel = SentinelClient::build(sentinels, service, node, role);
            let sentinel = sentinel.map_err(|_| invalid(url))?;
            return Ok(Self(Arc::new(Target::Sentinel(tokio::sync::Mutex::new(sentinel)))));
        }
        let info = check(url)?;
        Ok(Self(Arc::new(Target::Server(open(settings, info).map_err(|_| invalid(url))?))))
    }

    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = match &*self.0 {
            Target::Server(client) => client.clone(),
            #[cfg(feature = "redis-sentinel")]
            Target::Sentinel(sentinel) => sentinel.lock().await.async_get_client().await?,
        };
        client.get_multiplexed_async_connection_with_config(config).await
    }
}

fn check(url: &str) -> Result<ConnectionInfo, InvalidSetting> {
    url.into_connection_info().map_err(|_| invalid(url))
}

#[cfg(not(feature = "redis-tls"))]
fn open(_: &RedisLogBuilder, info: ConnectionInfo) -> RedisResult<Client> {
    Client::open(info)
}

#[cfg(feature = "redis-tls")]
fn open(settings: &RedisLogBuilder, info: ConnectionInfo) -> RedisResult<Client> {
    if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        return Client::open(info);
    }
    // The client library panics if the process has none. Another one that is there stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root_cert = settings.root_certificate.as_deref().map(<[u8]>::to_vec);
    Client::build_with_tls(info, redis::TlsCertificates { client_tls: None, root_cert })
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

#[cfg(all(test, not(feature = "redis-tls")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_an_address_with_tls_is_refused_with_its_name() {
        let refused = RedisAddress::parse(&RedisLogBuilder::default(), "rediss://localhost");
        let why = refused.err().unwrap().to_string();
        assert!(why.contains("`redis-tls`"), "{why}");
    }
}
