//! A server of tonic under the layers, with clients of tonic.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status, Streaming};
use tower::{Service, service_fn};
use tower_sse::{Registry, Shutdown, SseLayer};

use crate::harness::LONG;
use crate::harness::net::listen;

/// Messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// `/t/Echo` is unary, `/t/Ticks` and `/t/Count` are streams of the server, and `/t/Talk` goes both
/// ways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calls;

type Messages = BoxStream<'static, Result<Bytes, Status>>;

impl Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Raw);
            Ok(match request.uri().path() {
                "/t/Echo" => {
                    let echo = service_fn(async |request: Request<Bytes>| {
                        Ok::<_, Status>(Response::new(request.into_inner()))
                    });
                    grpc.unary(echo, request).await
                }
                "/t/Ticks" => {
                    let ticks = service_fn(async |_: Request<Bytes>| {
                        let ticks = IntervalStream::new(interval(Duration::from_millis(5)));
                        let message = |_| Ok(Bytes::from_static(TICK));
                        Ok::<_, Status>(Response::new(ticks.map(message).boxed() as Messages))
                    });
                    grpc.server_streaming(ticks, request).await
                }
                "/t/Count" => {
                    let count = service_fn(async |after: Request<Bytes>| {
                        let after = after.into_inner().get_u64();
                        let ticks = IntervalStream::new(interval(Duration::from_millis(5)));
                        let numbers = ticks.zip(stream::iter(after + 1..));
                        let message =
                            |(_, number): (_, u64)| Ok(number.to_be_bytes().to_vec().into());
                        Ok::<_, Status>(Response::new(numbers.map(message).boxed() as Messages))
                    });
                    grpc.server_streaming(count, request).await
                }
                _ => {
                    let talk = service_fn(async |request: Request<Streaming<Bytes>>| {
                        Ok::<_, Status>(Response::new(request.into_inner().boxed() as Messages))
                    });
                    grpc.streaming(talk, request).await
                }
            })
        })
    }
}

pub(crate) const TICK: &[u8] = b"a message\n\n";

/// A server of tonic with the layers. One line guards its connections.
async fn start(shutdown: &Shutdown, registry: &Registry) -> (SocketAddr, JoinHandle<()>) {
    let (listener, address) = listen().await;
    let layer = SseLayer::new().shutdown(shutdown.clone()).registry(registry.clone());
    let (until, guard) = (shutdown.clone(), shutdown.clone());
    let server = async move {
        let until = async move { until.triggered().await };
        let incoming = guarded(listener, guard);
        let server = Server::builder().layer(layer);
        server.serve_with_incoming_shutdown(Calls, incoming, until).await.unwrap();
    };
    (address, tokio::spawn(server))
}

pub(crate) fn guarded(
    listener: TcpListener,
    guard: Shutdown,
) -> impl stream::Stream<Item = std::io::Result<tower_sse::Guarded<tokio::net::TcpStream>>> {
    TcpListenerStream::new(listener).map(move |io| io.map(|io| guard.guard(io)))
}

async fn connect(address: SocketAddr) -> tonic::client::Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    tonic::client::Grpc::new(endpoint.connect().await.unwrap())
}

pub(crate) async fn echo(client: &mut tonic::client::Grpc<Channel>) -> Result<Bytes, Status> {
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static("/t/Echo");
    let answer = client.unary(Request::new(Bytes::from_static(TICK)), path, Raw).await?;
    Ok(answer.into_inner())
}

async fn ticks(client: &mut tonic::client::Grpc<Channel>) -> Result<Streaming<Bytes>, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static("/t/Ticks");
    let answer = client.server_streaming(Request::new(Bytes::new()), path, Raw).await?;
    Ok(answer.into_inner())
}

/// Reads a stream to its end. It has to have whole messages only.
pub(crate) async fn end_of(mut messages: Streaming<Bytes>) -> Status {
    loop {
        match timeout(LONG, messages.message()).await.expect("it ends") {
            Ok(message) => assert_eq!(message.expect("it does not just end"), TICK),
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_tonic_ends_in_time_and_every_client_sees_whole_messages_and_unavailable() {
    let deadline = Duration::from_secs(30);
    let window = Duration::from_millis(200);
    let shutdown = Shutdown::builder().window(window).deadline(deadline).build().unwrap();
    let registry = Registry::new();
    let (address, server) = start(&shutdown, &registry).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut client = connect(address).await;
        for _ in 0..25 {
            let mut messages = ticks(&mut client).await.unwrap();
            assert_eq!(messages.message().await.unwrap().unwrap(), TICK);
            streams.push(tokio::spawn(end_of(messages)));
        }
    }
    let mut client = connect(address).await;
    client.ready().await.unwrap();
    let said = stream::iter([Bytes::from_static(TICK)]).chain(stream::pending());
    let path = PathAndQuery::from_static("/t/Talk");
    let mut talk = client.streaming(Request::new(said), path, Raw).await.unwrap().into_inner();
    assert_eq!(talk.message().await.unwrap().unwrap(), TICK);
    streams.push(tokio::spawn(end_of(talk)));

    let mut unary = connect(address).await;
    for _ in 0..50 {
        assert_eq!(echo(&mut unary).await.unwrap(), TICK);
    }
    let listed = async {
        while registry.len() < 101 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, listed).await.expect("streams are listed, and unary calls are not");
    assert_eq!(registry.len(), 101);

    let began = Instant::now();
    shutdown.trigger();
    for status in join_all(streams).await {
        let status = status.unwrap();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the server shuts down"));
    }
    timeout(LONG, server).await.expect("the server ends").unwrap();
    assert!(began.elapsed() < deadline);
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.forced), (101, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn unary_calls_are_answered_while_streams_are_refused_in_a_drain() {
    let (closing, until) = (Shutdown::new(), Shutdown::new());
    let (listener, address) = listen().await;
    let layer = SseLayer::new().shutdown(closing.clone());
    let guard = until.clone();
    let server = tokio::spawn(async move {
        let stop = async move { until.triggered().await };
        let incoming = guarded(listener, guard.clone());
        let server = Server::builder().layer(layer);
        server.serve_with_incoming_shutdown(Calls, incoming, stop).await.unwrap();
    });
    let mut client = connect(address).await;
    assert_eq!(echo(&mut client).await.unwrap(), TICK);
    closing.drain().await;
    for _ in 0..20 {
        assert_eq!(echo(&mut client).await.unwrap(), TICK);
        // In the head, so that a client that retries may do so.
        let refused = ticks(&mut client).await.unwrap_err();
        let seen = (refused.code(), refused.message());
        assert_eq!(seen, (Code::Unavailable, "the server shuts down"));
    }
    server.abort();
}
