//! A log over TLS, with a certificate that the test makes.

use std::path::Path;
use std::process::Command;

use tower_sse::event_log::{BrokerError, RedisLog, RedisLogBuilder, Start};

use crate::harness::broker::{Broker, Kind};
use crate::harness::certificates::Certificates;
use crate::harness::ports::free_port;
use crate::harness::redis::{Server, all, append, cli, connect, follow};

/// Has a server listen with TLS, too, and gives the address.
fn serve(certificates: &Certificates, server: &Server) -> String {
    let port = free_port();
    let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| certificates.path(name));
    let set = server.cli(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        &cert,
        "tls-key-file",
        &key,
        "tls-ca-cert-file",
        &ca,
        "tls-auth-clients",
        "no",
        "tls-port",
        &port.to_string(),
    ]);
    assert_eq!(set.trim(), "OK");
    format!("rediss://127.0.0.1:{port}")
}

#[tokio::test]
async fn a_log_reads_and_appends_over_tls() {
    let (server, certificates) = (Server::start().await, Certificates::new("redis"));
    let url = serve(&certificates, &server);
    let trusts = std::fs::read(certificates.path("ca.pem")).unwrap();
    let log = connect(RedisLog::builder().root_certificate(trusts), &url).await;
    let mut live = follow(&log, &["t"], Start::Live);
    let payload = "x".repeat(100_000);
    for text in ["1", &payload, "3"] {
        append(&log, "t", text).await;
    }
    assert_eq!(all(&mut live, 3).await, ["1", &payload, "3"]);
    // Nobody else is taken for the server.
    let stranger = RedisLog::connect(&url).await;
    assert!(matches!(&stranger, Err(BrokerError::Away(_))), "{stranger:?}");
}

/// A Sentinel that watches a server and is asked over TLS, and its address. `TLS` says whether it
/// itself asks the server over TLS.
async fn watch<const TLS: bool>(port: u16) -> (Broker, String) {
    fn command<const TLS: bool>(port: u16, directory: &Path) -> Command {
        let (tls_port, from) = (free_port().to_string(), Certificates::directory(SENTINEL));
        std::fs::write(directory.join("sentinel.conf"), "").unwrap();
        std::fs::write(directory.join("tls-port"), &tls_port).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["sentinel.conf", "--sentinel", "--port", &port.to_string()]);
        command.args(["--bind", "127.0.0.1", "--tls-port", &tls_port, "--tls-auth-clients", "no"]);
        command.arg("--tls-replication").arg(if TLS { "yes" } else { "no" });
        for (setting, file) in [
            ("--tls-cert-file", "cert.pem"),
            ("--tls-key-file", "key.pem"),
            ("--tls-ca-cert-file", "ca.pem"),
        ] {
            command.arg(setting).arg(from.join(file));
        }
        command.current_dir(directory);
        command
    }
    let answers = |port| cli(port, &["PING"]).trim() == "PONG";
    let kind = Kind { scheme: "redis", command: command::<TLS>, answers };
    let sentinel = Broker::start(kind).await;
    let words = ["SENTINEL", "MONITOR", "shop", "127.0.0.1", &port.to_string(), "1"];
    assert_eq!(cli(sentinel.port, &words).trim(), "OK");
    let tls_port = std::fs::read_to_string(sentinel.directory().join("tls-port")).unwrap();
    (sentinel, format!("rediss://127.0.0.1:{tls_port}"))
}

/// Tells the certificates of Sentinels from others.
const SENTINEL: &str = "sentinel";

fn with_sentinel(certificates: &Certificates) -> RedisLogBuilder {
    let trusts = std::fs::read(certificates.path("ca.pem")).unwrap();
    RedisLog::builder().root_certificate(trusts).sentinel("shop")
}

#[tokio::test]
async fn the_servers_that_a_sentinel_with_tls_names_are_connected_to_with_tls_only() {
    let (server, certificates) = (Server::start().await, Certificates::new(SENTINEL));
    let url = serve(&certificates, &server);
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();

    let (_sentinel, url) = watch::<true>(port).await;
    let log = connect(with_sentinel(&certificates), &url).await;
    let mut live = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(all(&mut live, 1).await, ["1"]);

    // What is sent without TLS, as the password, can be read on the way.
    let (_sentinel, url) = watch::<false>(server.port).await;
    let refused = with_sentinel(&certificates).connect(&url).await;
    assert!(matches!(&refused, Err(BrokerError::Away(_) | BrokerError::TimedOut)), "{refused:?}");
}
