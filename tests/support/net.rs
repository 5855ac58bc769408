//! Servers and clients on real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    H1,
    H2,
}

/// A client's connection, of either version.
#[derive(Debug)]
pub enum Client {
    H1(http1::SendRequest<Empty<Bytes>>),
    H2(http2::SendRequest<Empty<Bytes>>),
}

impl Client {
    pub async fn connect(to: SocketAddr, version: Version) -> Self {
        let stream = TokioIo::new(TcpStream::connect(to).await.unwrap());
        match version {
            Version::H1 => {
                let (client, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Self::H1(client)
            }
            Version::H2 => {
                let executor = TokioExecutor::new();
                let (client, connection) = http2::handshake(executor, stream).await.unwrap();
                tokio::spawn(connection);
                Self::H2(client)
            }
        }
    }

    /// Asks for `path`, with any encoding.
    pub async fn get(&mut self, path: &str) -> Response<Incoming> {
        let request = Request::get(format!("http://localhost{path}"))
            .header("host", "localhost")
            .header("accept-encoding", "gzip")
            .body(Empty::new())
            .unwrap();
        match self {
            Self::H1(client) => client.send_request(request).await.unwrap(),
            Self::H2(client) => client.send_request(request).await.unwrap(),
        }
    }
}

/// Reads a body until `enough` of its text, or its end.
///
/// It fails if the body does, as it does behind a reset or without a last chunk, and after long.
pub async fn read_until(
    body: &mut Incoming,
    text: &mut String,
    enough: impl Fn(&str) -> bool,
) -> Result<(), BoxError> {
    let read = async {
        while !enough(text) {
            let Some(frame) = body.frame().await else {
                break;
            };
            if let Ok(data) = frame?.into_data() {
                text.push_str(std::str::from_utf8(&data)?);
            }
        }
        Ok(())
    };
    tokio::time::timeout(LONG, read)
        .await
        .unwrap_or_else(|_| Err(format!("no more came behind {text:?}").into()))
}

/// Serves with hyper alone until `until`, and then gracefully.
pub async fn serve<S, B>(listener: TcpListener, service: S, until: impl Future<Output = ()>)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let server = auto::Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut until = pin!(until);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            () = &mut until => break,
        };
        let service = TowerToHyperService::new(service.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(graceful.watch(connection.into_owned()));
    }
    drop(listener);
    graceful.shutdown().await;
}

/// A listener on a port that is free, and where that is.
pub async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Longer than anything here takes, so that a test fails rather than hangs.
pub const LONG: Duration = Duration::from_secs(10);
