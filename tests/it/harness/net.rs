//! Servers and clients on real sockets.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;

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
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::Service;

use crate::harness::LONG;

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
        Self::over(TcpStream::connect(to).await.unwrap(), version, WINDOW).await
    }

    /// On a connection that is there, with a window of so many bytes for each stream of HTTP/2. All
    /// of them together may have much more, or one that is not read would hold up the others.
    pub async fn over<T>(stream: T, version: Version, window: u32) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(stream);
        match version {
            Version::H1 => {
                let (client, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Self::H1(client)
            }
            Version::H2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                let builder = builder.initial_stream_window_size(window);
                let builder = builder.initial_connection_window_size(1 << 30);
                let (client, connection) = builder.handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Self::H2(client)
            }
        }
    }

    /// Asks for `path`, with any encoding.
    pub async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.try_get(path).await.unwrap()
    }

    /// The same, of a server that may go away.
    pub async fn try_get(&mut self, path: &str) -> hyper::Result<Response<Incoming>> {
        let request = Request::get(format!("http://localhost{path}"))
            .header("host", "localhost")
            .header("accept-encoding", "gzip")
            .body(Empty::new())
            .unwrap();
        match self {
            Self::H1(client) => client.send_request(request).await,
            Self::H2(client) => client.send_request(request).await,
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
    serve_as(listener, |stream| stream, service, until).await;
}

/// The same, on what `wrap` makes of each connection.
pub async fn serve_as<T, S, B>(
    listener: TcpListener,
    wrap: impl Fn(TcpStream) -> T,
    service: S,
    until: impl Future<Output = ()>,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
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
        let connection = server.serve_connection(TokioIo::new(wrap(stream)), service);
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

/// What clients grant to a stream of HTTP/2 by default.
const WINDOW: u32 = 65_535;
