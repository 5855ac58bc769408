//! A log over TLS, with a certificate that the test makes.

use tower_sse::event_log::{BrokerError, RedisLog, Start};

use crate::harness::certificates::Certificates;
use crate::harness::redis::{Server, all, append, connect, follow};

/// Has a server listen with TLS, too, and gives the address.
fn serve(certificates: &Certificates, server: &Server) -> String {
    let port = crate::harness::ports::free_port();
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
