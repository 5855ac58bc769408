//! The servers that may have the slot of a log, and how the one that has it is found.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError, RedisResult,
};
use redis::{ErrorKind, ServerErrorKind, Value};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::CONNECT_TIMEOUT;
use super::connection::{is_moving, is_not_ready, timed_out};
use crate::sync::lock;

/// The servers of a log. Outside of a cluster there is one; in a cluster each says which one has
/// the slot of the log.
///
/// The client library has connections to clusters, too. They send a request again that may have
/// been executed, so an event could be there twice, and they connect to each server. A log is in
/// one slot, so all that it takes is to follow `MOVED`, which the library parses.
pub(super) struct RedisServers {
    /// A key of the log.
    key: Box<str>,
    /// Those of the settings.
    seeds: Vec<ConnectionInfo>,
    known: Mutex<KnownServers>,
    /// Notified when the slot is found at another server than before.
    moved: Arc<Notify>,
}

struct KnownServers {
    /// In the order in which they are asked: first the one that had the slot when it was found
    /// last.
    servers: VecDeque<ConnectionInfo>,
    /// The server that had the slot when it was found last.
    found: Option<ConnectionAddr>,
    listing: Listing,
}

/// Whether a server is asked for those of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    Asked,
    /// It is in no cluster, or the user lacks the right.
    Refused,
}

impl RedisServers {
    /// The servers of the settings, and a key of the log.
    pub(super) fn new(seeds: Vec<ConnectionInfo>, key: &str, moved: Arc<Notify>) -> Self {
        let servers = seeds.clone().into();
        let known = KnownServers { servers, found: None, listing: Listing::Asked };
        Self { key: key.into(), seeds, known: Mutex::new(known), moved }
    }

    /// Connects to the server that has the slot. Each server is asked once at most.
    ///
    /// # Errors
    ///
    /// If none of them has it or leads to it: what one of them answered, rather than that another
    /// one cannot be reached. After such an answer a request may be tried again.
    pub(super) async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let (mut asked, mut named, mut answer) = (Vec::new(), None, None);
        while asked.len() < MAX_ASKED {
            let Some(server) = named.take().or_else(|| self.next_but(&asked)) else {
                break;
            };
            match self.connect_to(&server, config).await {
                Ok(connection) => {
                    self.note_found(server);
                    return Ok(connection);
                }
                Err(error) => {
                    asked.push(server.addr().clone());
                    named = named_by(&error, &server).filter(|it| !asked.contains(it.addr()));
                    if answer.is_none() || !error.is_io_error() {
                        answer = Some(error);
                    }
                }
            }
        }
        Err(answer.unwrap_or_else(timed_out))
    }

    /// The next server to be asked. It goes to the end first: also if the caller is dropped while
    /// it waits in vain, the next caller asks another one.
    fn next_but(&self, asked: &[ConnectionAddr]) -> Option<ConnectionInfo> {
        let servers = &mut lock(&self.known).servers;
        let at = servers.iter().position(|server| !asked.contains(server.addr()))?;
        let server = servers.remove(at)?;
        servers.push_back(server.clone());
        Some(server)
    }

    /// Has a server asked first from now on.
    fn note_found(&self, server: ConnectionInfo) {
        let mut known = lock(&self.known);
        let before = known.found.replace(server.addr().clone());
        let has_moved = before.is_some_and(|before| before != *server.addr());
        known.servers.retain(|other| other.addr() != server.addr());
        known.servers.push_front(server);
        drop(known);
        if has_moved {
            self.moved.notify_one();
        }
    }

    /// Connects to a server, unless it answers that another one has the slot, or not at all.
    async fn connect_to(
        &self,
        server: &ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let client = Client::open(server.clone())?;
        let mut connection = client.get_multiplexed_async_connection_with_config(config).await?;
        // Any request with a key would do. The scripts need the right to this one, too.
        let mut request = redis::cmd("MGET");
        request.arg(&*self.key);
        match in_time(request.query_async::<Value>(&mut connection)).await {
            Err(error) if has_no_slot(&error) => return Err(error),
            // Another error is told by the request for which the connection is made.
            _ => {}
        }
        self.learn(server, &mut connection).await?;
        Ok(connection)
    }

    /// Asks for the servers of the cluster, which lead to the slot when this one is away.
    async fn learn(
        &self,
        from: &ConnectionInfo,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        if lock(&self.known).listing == Listing::Refused {
            return Ok(());
        }
        let mut request = redis::cmd("CLUSTER");
        request.arg("SLOTS");
        match in_time(request.query_async::<Value>(connection)).await {
            Ok(reply) => self.note_listed(from, &reply),
            Err(error) if error.is_io_error() => return Err(error),
            // Two servers that know nothing of each other would be two logs.
            Err(error) if self.seeds.len() > 1 && is_no_cluster(&error) => return Err(error),
            Err(_) => lock(&self.known).listing = Listing::Refused,
        }
        Ok(())
    }

    fn note_listed(&self, from: &ConnectionInfo, reply: &Value) {
        let mut servers: VecDeque<ConnectionInfo> = VecDeque::new();
        let is_new = |servers: &VecDeque<ConnectionInfo>, server: &ConnectionInfo| {
            servers.iter().all(|other| other.addr() != server.addr())
        };
        for server in listed(reply).filter_map(|(host, port)| beside(from, host, port)) {
            if servers.len() < MAX_LISTED && is_new(&servers, &server) {
                servers.push_back(server);
            }
        }
        for seed in &self.seeds {
            if is_new(&servers, seed) {
                servers.push_back(seed.clone());
            }
        }
        lock(&self.known).servers = servers;
    }
}

/// Whether a server that answers this does not have the slot, or is of no use now.
fn has_no_slot(error: &RedisError) -> bool {
    error.is_io_error() || (is_not_ready(error) && !is_moving(error))
}

fn is_no_cluster(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
}

/// The server that has the slot, if `server` answered that it is another one.
fn named_by(error: &RedisError, server: &ConnectionInfo) -> Option<ConnectionInfo> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Moved) {
        return None;
    }
    let (host, port) = error.redirect_node()?.0.rsplit_once(':')?;
    beside(server, host, port.parse().ok()?)
}

/// The hosts and ports in a reply to `CLUSTER SLOTS`: each range of slots has its first slot, its
/// last slot, and then the servers that have it.
fn listed(reply: &Value) -> impl Iterator<Item = (&str, u16)> {
    let servers = elements(reply).iter().flat_map(|range| elements(range).iter().skip(2));
    servers.filter_map(|server| match elements(server) {
        [Value::BulkString(host), Value::Int(port), ..] => {
            Some((std::str::from_utf8(host).ok()?, u16::try_from(*port).ok()?))
        }
        [Value::Nil, Value::Int(port), ..] => Some(("", u16::try_from(*port).ok()?)),
        _ => None,
    })
}

fn elements(value: &Value) -> &[Value] {
    if let Value::Array(values) = value { values } else { &[] }
}

/// A server that `server` names, which is connected to in the same way. An empty host is that of
/// `server`, and `?` is one that it does not know.
fn beside(server: &ConnectionInfo, host: &str, port: u16) -> Option<ConnectionInfo> {
    let host_or = |own: &String| match host.trim_matches(['[', ']']) {
        "" => own.clone(),
        host => host.to_owned(),
    };
    let address = match server.addr() {
        _ if host == "?" => return None,
        ConnectionAddr::Tcp(own, _) => ConnectionAddr::Tcp(host_or(own), port),
        ConnectionAddr::TcpTls { host: own, insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: host_or(own),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => return None,
    };
    Some(server.clone().set_addr(address))
}

/// What a server answers within the time that it may take to connect.
async fn in_time<T>(request: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    timeout(CONNECT_TIMEOUT, request).await.unwrap_or_else(|_| Err(timed_out()))
}

/// So many servers that a cluster lists are kept. Each of them leads to all.
const MAX_LISTED: usize = 32;

/// So many servers are asked for the slot before the search begins anew.
const MAX_ASKED: usize = 2 * MAX_LISTED;

#[cfg(test)]
mod tests {
    use redis::IntoConnectionInfo;

    use super::*;
    use crate::event_log::redis::protocol::tests::bulk;

    fn server(url: &str) -> ConnectionInfo {
        url.into_connection_info().unwrap()
    }

    fn refusal(code: &str, detail: &str) -> RedisError {
        let line = format!("-{code} {detail}\r\n");
        redis::parse_redis_value(line.as_bytes()).unwrap().extract_error().unwrap_err()
    }

    fn addresses(servers: &RedisServers) -> Vec<String> {
        lock(&servers.known).servers.iter().map(|it| it.addr().to_string()).collect()
    }

    #[test]
    fn the_server_that_another_one_names_is_connected_to_in_the_same_way() {
        let from = server("redis://ann:word@seed:7000?protocol=resp3");
        let named = |detail: &str| named_by(&refusal("MOVED", detail), &from);
        for (detail, address) in [
            ("3999 10.0.0.2:7001", "10.0.0.2:7001"),
            ("3999 redis-1.example.com:7001", "redis-1.example.com:7001"),
            ("3999 :7001", "seed:7001"),
            ("3999 2001:db8::1:7001", "2001:db8::1:7001"),
            ("3999 [2001:db8::1]:7001", "2001:db8::1:7001"),
        ] {
            let named = named(detail).unwrap();
            assert_eq!(named.addr().to_string(), address);
            let settings = named.redis_settings();
            assert_eq!((settings.username(), settings.password()), (Some("ann"), Some("word")));
            assert_eq!(settings.protocol(), from.redis_settings().protocol());
        }
        for odd in ["3999 ?:7001", "3999", "", "3999 host", "3999 host:70001", "x host:7001"] {
            assert!(named(odd).is_none(), "{odd}");
        }
        // A slot that is being moved is still that of the server that says so.
        assert!(named_by(&refusal("ASK", "3999 10.0.0.2:7001"), &from).is_none());
    }

    #[test]
    fn the_servers_that_a_cluster_lists_are_asked_before_those_of_the_settings() {
        let seeds = vec![server("redis://seed:7000"), server("redis://10.0.0.2:7001")];
        let (servers, from) =
            (RedisServers::new(seeds, "k", Arc::default()), server("redis://seed:7000"));
        let node = |host, port| Value::Array(vec![host, Value::Int(port), bulk("its id")]);
        let range =
            |nodes: Vec<Value>| Value::Array([vec![Value::Int(0), Value::Int(9)], nodes].concat());
        servers.note_listed(
            &from,
            &Value::Array(vec![
                range(vec![node(bulk("10.0.0.2"), 7001), node(bulk("?"), 7002)]),
                range(vec![node(Value::Nil, 7003), node(bulk(""), 7004)]),
                range(vec![node(bulk("10.0.0.2"), 7001), node(bulk("host"), 70_001)]),
                range(vec![Value::Nil, Value::Array(vec![bulk("host")])]),
                Value::Int(1),
            ]),
        );
        let expected = ["10.0.0.2:7001", "seed:7003", "seed:7004", "seed:7000"];
        assert_eq!(addresses(&servers), expected);
        let many = (0..10_000).map(|n| node(bulk(&format!("host-{n}")), 7000)).collect();
        servers.note_listed(&from, &Value::Array(vec![range(many)]));
        assert_eq!(addresses(&servers).len(), MAX_LISTED + 2);
        servers.note_listed(&from, &Value::Int(1));
        assert_eq!(addresses(&servers), ["seed:7000", "10.0.0.2:7001"]);
    }

    #[test]
    fn a_server_that_a_caller_waited_for_in_vain_is_asked_last_by_the_next_one() {
        let seeds = ["redis://a:1", "redis://b:1", "redis://c:1"].map(server);
        let servers = RedisServers::new(seeds.to_vec(), "k", Arc::default());
        let next = |asked: &[&ConnectionInfo]| {
            let asked: Vec<_> = asked.iter().map(|it| it.addr().clone()).collect();
            servers.next_but(&asked).map(|it| it.addr().to_string())
        };
        assert_eq!(next(&[]).as_deref(), Some("a:1"));
        assert_eq!(next(&[]).as_deref(), Some("b:1"));
        assert_eq!(next(&[&seeds[2]]).as_deref(), Some("a:1"));
        servers.note_found(seeds[1].clone());
        assert_eq!(addresses(&servers), ["b:1", "c:1", "a:1"]);
        assert_eq!(next(&[&seeds[0], &seeds[1], &seeds[2]]), None);
    }
}
