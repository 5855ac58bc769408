//! A log over TLS, with a certificate that the test makes.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tower_sse::event_log::{RedisLog, RedisLogError, Start};

use crate::harness::redis::{Server, all, append, connect, follow};

/// A directory with a certificate for 127.0.0.1, and one that signed it. It ends with this.
struct Certificates(PathBuf);

impl Certificates {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(format!("tower-sse-tls-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let certificates = Self(directory);
        let key = "-newkey rsa:2048 -nodes -days 2";
        certificates.openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca"));
        let name = "-subj /CN=redis -addext subjectAltName=IP:127.0.0.1";
        certificates.openssl(&format!("req {key} -keyout key.pem -out request.pem {name}"));
        let ca = "-CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy";
        certificates.openssl(&format!("x509 -req -in request.pem -out cert.pem -days 2 {ca}"));
        certificates
    }

    fn openssl(&self, args: &str) {
        let mut command = Command::new("openssl");
        command.args(args.split(' ')).current_dir(&self.0);
        let output = command.stdin(Stdio::null()).output().expect("`openssl` is installed");
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// Has a server listen with TLS, too, and gives the address.
    fn serve(&self, server: &Server) -> String {
        let port = crate::harness::broker::free_port();
        let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| self.path(name));
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
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_log_reads_and_appends_over_tls() {
    let (server, certificates) = (Server::start().await, Certificates::new());
    let url = certificates.serve(&server);
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
    assert!(matches!(&stranger, Err(RedisLogError::Away(_))), "{stranger:?}");
}
