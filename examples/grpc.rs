//! A server of gRPC by tonic whose streams end well, and a client that goes on with another one.
//!
//! ```text
//! cargo run --example grpc --features tonic             # two servers and a client
//! PORT=3000 cargo run --example grpc --features tonic   # one server, also of gRPC-Web, until ctrl-c
//! ```
//!
//! Two servers count. The client calls the first, which shuts down after a while: the stream ends
//! with `Unavailable` after a whole message, and the client goes on at the second server after the
//! last number that it has. No number is lost, and none comes twice.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_util::stream::{BoxStream, StreamExt};
use tokio::net::TcpListener;
use tokio::time::{interval, sleep};
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tonic_web::GrpcWebLayer;
use tower::{Service, service_fn};
use tower_sse::{Shutdown, SseLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if let Ok(port) = env::var("PORT") {
        let shutdown = Shutdown::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.parse()?)).await?;
        println!("listening on http://{}", listener.local_addr()?);
        return Ok(serve(listener, shutdown.clone(), shutdown.on_signals()).await?);
    }
    let (first, second) = (Shutdown::new(), Shutdown::new());
    let servers = [start(&first).await?, start(&second).await?];
    let count = tokio::spawn(count_to(20, servers));
    sleep(Duration::from_millis(450)).await;
    println!("the first server shuts down");
    first.drain().await;
    count.await??;
    second.drain().await;
    Ok(())
}

/// Serves until the shutdown.
async fn start(shutdown: &Shutdown) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let until = shutdown.clone();
    let until = async move { until.triggered().await };
    tokio::spawn(serve(listener, shutdown.clone(), until));
    Ok(address)
}

async fn serve(
    listener: TcpListener,
    shutdown: Shutdown,
    until: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    // One line guards the connections, and one looks after the streams. Unary calls stay as they
    // are.
    let guard = shutdown.clone();
    let incoming = TcpListenerStream::new(listener).map(move |io| io.map(|io| guard.guard(io)));
    let server = Server::builder().accept_http1(true).layer(SseLayer::new().shutdown(shutdown));
    let server = server.layer(GrpcWebLayer::new());
    server.serve_with_incoming_shutdown(Counter, incoming, until).await
}

/// Calls one server after the other until `last` has come.
async fn count_to(last: u64, servers: [SocketAddr; 2]) -> Result<(), Status> {
    let mut after = 0;
    for server in servers.into_iter().cycle() {
        let status = match follow(server, &mut after, last).await {
            Ok(()) => return Ok(()),
            Err(status) => status,
        };
        println!("{}: {}", status.code(), status.message());
        if status.code() != Code::Unavailable {
            return Err(status);
        }
    }
    Ok(())
}

async fn follow(server: SocketAddr, after: &mut u64, last: u64) -> Result<(), Status> {
    let channel = Channel::from_shared(format!("http://{server}"));
    let channel = channel.map_err(|error| Status::internal(error.to_string()))?;
    let channel = channel.connect().await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/example.Counter/Count");
    let answer = client.server_streaming(Request::new(*after), path, Number).await?;
    let mut numbers = answer.into_inner();
    while let Some(number) = numbers.message().await? {
        assert_eq!(number, *after + 1, "nothing is lost and nothing comes twice");
        println!("{number} of {server}");
        *after = number;
        if number == last {
            return Ok(());
        }
    }
    Err(Status::unavailable("the stream ended"))
}

/// `rpc Count(Number) returns (stream Number)`: the numbers after the one that is given.
///
/// A service that is made from a `.proto` is layered the same way.
#[derive(Clone, Copy, Debug)]
struct Counter;

impl Service<http::Request<Body>> for Counter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            let count = service_fn(async |after: Request<u64>| {
                let ticks = IntervalStream::new(interval(Duration::from_millis(50)));
                let numbers = ticks.zip(futures_util::stream::iter(*after.get_ref() + 1..));
                let numbers = numbers.map(|(_, number)| Ok(number));
                Ok::<_, Status>(
                    Response::new(numbers.boxed() as BoxStream<'_, Result<u64, Status>>),
                )
            });
            Ok(tonic::server::Grpc::new(Number).server_streaming(count, request).await)
        })
    }
}

/// `message Number { fixed64 value = 1; }`: a tag and eight bytes, or nothing for zero.
#[derive(Clone, Copy, Debug)]
struct Number;

impl Codec for Number {
    type Encode = u64;
    type Decode = u64;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Number {
    type Item = u64;
    type Error = Status;

    fn encode(&mut self, number: u64, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_u8(TAG);
        buffer.put_u64_le(number);
        Ok(())
    }
}

impl Decoder for Number {
    type Item = u64;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<u64>, Status> {
        if buffer.remaining() == 0 {
            return Ok(Some(0));
        }
        match (buffer.get_u8(), buffer.try_get_u64_le()) {
            (TAG, Ok(number)) => Ok(Some(number)),
            _ => Err(Status::invalid_argument("a number is a tag and eight bytes")),
        }
    }
}

/// Of the first field, in 64 bits.
const TAG: u8 = 0x09;
