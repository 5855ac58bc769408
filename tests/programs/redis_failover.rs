//! A replica takes over, as Redis Sentinel decides: what it did not have is a gap, and nothing else
//! is lost.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_sse::event_log::RedisLog;

use crate::harness::broker::{Broker, Kind};
use crate::harness::redis::{LONG, Server, append, cli, connect};
use crate::harness::takeover::{Load, rounds};

/// A Sentinel that watches a server.
async fn watch(server: &Server) -> Broker {
    fn command(port: u16, directory: &Path) -> Command {
        std::fs::write(directory.join("sentinel.conf"), "").unwrap();
        let mut command = Command::new("redis-server");
        command.args(["sentinel.conf", "--sentinel", "--port", &port.to_string()]);
        command.args(["--bind", "127.0.0.1"]).current_dir(directory);
        command
    }
    let answers = |port| cli(port, &["PING"]).trim() == "PONG";
    let sentinel = Broker::start(Kind { scheme: "redis", command, answers }).await;
    let port = server.port.to_string();
    for words in [
        &["SENTINEL", "MONITOR", "shop", "127.0.0.1", &port, "1"][..],
        &["SENTINEL", "SET", "shop", "down-after-milliseconds", "500"],
        &["SENTINEL", "SET", "shop", "failover-timeout", "2000"],
    ] {
        assert_eq!(cli(sentinel.port, words).trim(), "OK", "{words:?}");
    }
    let knows_replica = async {
        while !cli(sentinel.port, &["SENTINEL", "REPLICAS", "shop"]).contains("127.0.0.1") {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, knows_replica).await.expect("it finds the replica");
    sentinel
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_by_sentinel_nothing_is_lost_without_a_gap_or_comes_twice() {
    for _ in 0..rounds() {
        let (mut master, replica) = (Server::durable().await, Server::durable().await);
        replica.cli(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        let sentinel = watch(&master).await;
        let settings = || RedisLog::builder().events(1_000_000).sentinel("shop");
        let (one, two) = (
            connect(settings(), &sentinel.url()).await,
            connect(settings(), &sentinel.url()).await,
        );
        let first = append(&one, "t", "begin").await;
        replica.has("t", 1).await;
        let load = Load::start(&one, &two, &first);
        load.goes_on(300).await;
        master.kill();
        load.goes_on(300).await;
        load.end(&two, &first).await.is_lost_only_with_a_gap();
    }
}
