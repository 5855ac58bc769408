//! A log over TLS, by a connector that the application gives, with a certificate that the test
//! makes.

use std::io;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_sse::event_log::{BrokerError, PostgresLog, Start};

use crate::harness::certificates::Certificates;
use crate::harness::postgres::{Server, all, append, connect, follow};

/// What crates such as `tokio-postgres-rustls` bring.
#[derive(Clone)]
struct Tls(TlsConnector);

impl Tls {
    fn trusting(certificates: &[&str]) -> Self {
        let mut roots = RootCertStore::empty();
        for path in certificates {
            roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = TlsTo;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<TlsTo, InvalidDnsNameError> {
        Ok(TlsTo(self.0.clone(), ServerName::try_from(host.to_owned())?))
    }
}

struct TlsTo(TlsConnector, ServerName<'static>);

impl TlsConnect<Socket> for TlsTo {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(async move { Ok(Encrypted(Box::new(self.0.connect(self.1, stream).await?))) })
    }
}

struct Encrypted(Box<client::TlsStream<Socket>>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Has the server take TLS, too.
fn serve(certificates: &Certificates, server: &Server) {
    for name in ["cert.pem", "key.pem"] {
        let (from, to) = (certificates.path(name), server.directory().join("data").join(name));
        std::fs::copy(from, &to).unwrap();
        // The server takes a key of its own only, which nobody else may read.
        let owner = format!("--reference={}", server.directory().join("data").display());
        for change in [vec!["chown", &owner], vec!["chmod", "600"]] {
            let status = Command::new(change[0]).args(&change[1..]).arg(&to).status();
            assert!(status.unwrap().success());
        }
    }
    server.sql("ALTER SYSTEM SET ssl_cert_file = 'cert.pem'");
    server.sql("ALTER SYSTEM SET ssl_key_file = 'key.pem'");
    server.sql("ALTER SYSTEM SET ssl = on");
    server.sql("SELECT pg_reload_conf()");
    while server.sql("SHOW ssl") != "on" {}
}

#[tokio::test]
async fn a_log_reads_and_appends_over_the_tls_that_it_is_given() {
    let (server, certificates) = (Server::start().await, Certificates::new("postgres"));
    serve(&certificates, &server);
    let address = format!("{}?sslmode=require", server.address());
    let tls = Tls::trusting(&[&certificates.path("ca.pem")]);
    let log = connect(PostgresLog::builder().tls(tls), &address).await;
    let mut live = follow(&log, &["t"], Start::Live);
    let payload = "x".repeat(100_000);
    for text in ["1", &payload, "3"] {
        append(&log, "t", text).await;
    }
    assert_eq!(all(&mut live, 3).await, ["1", &payload, "3"]);
    let encrypted = server.sql(
        "SELECT bool_and(ssl), count(*) >= 2 FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
        WHERE application_name = 'tower-sse'",
    );
    assert_eq!(encrypted, "t|t");
    // Nobody else is taken for the server, and nothing is sent without TLS.
    for settings in [PostgresLog::builder().tls(Tls::trusting(&[])), PostgresLog::builder()] {
        let refused = settings.connect(&address).await;
        assert!(matches!(&refused, Err(BrokerError::Away(_))), "{refused:?}");
    }
}
