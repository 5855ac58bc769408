//! Requests whose responses are no streams: through a service, a router, and a connection.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response as AxumResponse;
use axum::routing::any;
use bytes::Bytes;
use futures_util::future::MapOk;
use futures_util::{FutureExt, TryFutureExt};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{
    EventIdLayer, KeepAliveLayer, NoBufferLayer, Registry, RegistryLayer, Shutdown, ShutdownLayer,
    SseLayer,
};

use super::PassThrough;

/// The name of requests has the way they take, the kind of the response, and what is around the
/// handler.
pub const SITES: [&str; 3] = ["service", "router", "connection"];
pub const KINDS: [&str; 2] = ["json", "grpc"];
pub const AROUND: [&str; 5] =
    ["nothing", "an empty layer", "one value", "five empty", "five layers"];

/// Sends requests, one after the other. False if this is no name of requests.
pub fn run(name: &str, requests: usize) -> bool {
    let words: Vec<&str> = name.splitn(3, ", ").collect();
    let [site, kind, around] = words[..] else {
        return false;
    };
    let is_call = kind == "grpc";
    let runtime = super::runtime();
    let _context = runtime.enter();
    match site {
        "service" if is_call => through_service(service_fn(unary), around, requests),
        "service" => through_service(service_fn(json), around, requests),
        "router" => runtime.block_on(through_router(router(is_call, around), is_call, requests)),
        "connection" if is_call => runtime.block_on(over_http2(router(true, around), requests)),
        "connection" => runtime.block_on(over_http1(router(false, around), requests)),
        _ => return false,
    }
    true
}

/// A middleware that does nothing to the request and the response, and wraps the body.
#[derive(Clone, Debug)]
struct Empty;

#[derive(Clone, Debug)]
struct EmptyService<S>(S);

impl<S> Layer<S> for Empty {
    type Service = EmptyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EmptyService(inner)
    }
}

impl<S, R, B> Service<R> for EmptyService<S>
where
    S: Service<R, Response = Response<B>>,
{
    type Response = Response<PassThrough<B>>;
    type Error = S::Error;
    type Future = MapOk<S::Future, fn(Response<B>) -> Response<PassThrough<B>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.0.call(request).map_ok(|response| response.map(PassThrough))
    }
}

/// All five in one value.
fn one_value() -> SseLayer {
    let ids = EventIdLayer::sequential();
    SseLayer::new().event_ids(ids).registry(Registry::new()).shutdown(Shutdown::new())
}

macro_rules! layered {
    ($around:expr, $inner:expr, $then:expr) => {
        match $around {
            "nothing" => $then($inner),
            "an empty layer" => $then(Empty.layer($inner)),
            "one value" => $then(one_value().layer($inner)),
            "five empty" => {
                $then(Empty.layer(Empty.layer(Empty.layer(Empty.layer(Empty.layer($inner))))))
            }
            _ => $then(
                NoBufferLayer::new().layer(
                    KeepAliveLayer::default().layer(
                        EventIdLayer::sequential().layer(
                            RegistryLayer::new(Registry::new())
                                .layer(ShutdownLayer::new(Shutdown::new()).layer($inner)),
                        ),
                    ),
                ),
            ),
        }
    };
}

fn through_service<S, B>(service: S, around: &str, requests: usize)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Unpin,
{
    layered!(around, service, |mut service| {
        for _ in 0..requests {
            collect(&mut service);
        }
    });
}

fn collect<S, B>(service: &mut S)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Infallible>,
{
    let request = Request::post("/items?page=1").header("accept", "application/json");
    let request = request.body(()).expect("it is valid");
    let response = service.call(request).now_or_never().expect("it waits for nothing");
    let body = response.expect("it does not fail").into_body().collect().now_or_never();
    let body = body.expect("it waits for nothing").expect("it does not fail");
    black_box(body.to_bytes());
}

/// A response that is no stream.
fn json(_: Request<()>) -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    ready(Ok(of_type("application/json", Full::new(Bytes::from_static(b"{}")))))
}

/// The answer of a unary call.
fn unary(_: Request<()>) -> Ready<Result<Response<Message>, Infallible>> {
    ready(Ok(of_type("application/grpc", message())))
}

fn of_type<B>(content_type: &'static str, body: B) -> Response<B> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

type Message = StreamBody<futures_util::stream::Iter<std::vec::IntoIter<Sent>>>;
type Sent = Result<Frame<Bytes>, Infallible>;

/// One message, and the status.
fn message() -> Message {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Frame::data(Bytes::from_static(b"\0\0\0\0\x05hello"));
    let frames = vec![Ok(message), Ok(Frame::trailers(trailers))];
    StreamBody::new(futures_util::stream::iter(frames))
}

fn router(is_call: bool, around: &str) -> Router {
    let handler = async move || -> AxumResponse {
        match is_call {
            true => of_type("application/grpc", Body::new(message())),
            false => of_type("application/json", Body::from("{}")),
        }
    };
    let router = Router::new().route("/items", any(handler));
    match around {
        "nothing" => router,
        "an empty layer" => router.layer(Empty),
        "one value" => router.layer(one_value()),
        "five empty" => router.layer(Empty).layer(Empty).layer(Empty).layer(Empty).layer(Empty),
        _ => router
            .layer(ShutdownLayer::new(Shutdown::new()))
            .layer(RegistryLayer::new(Registry::new()))
            .layer(EventIdLayer::sequential())
            .layer(KeepAliveLayer::default())
            .layer(NoBufferLayer::new()),
    }
}

fn request_of<B>(is_call: bool, body: B) -> Request<B> {
    let request = match is_call {
        true => Request::post("http://localhost/items").header(CONTENT_TYPE, "application/grpc"),
        false => Request::post("/items?page=1").header("accept", "application/json"),
    };
    request.header("host", "localhost").body(body).expect("it is valid")
}

async fn through_router(router: Router, is_call: bool, requests: usize) {
    let mut router = router.into_service::<Body>();
    for _ in 0..requests {
        let request = request_of(is_call, Body::empty());
        let response = router.ready().await.expect("it is ready").call(request).await;
        let body = response.expect("it does not fail").into_body().collect().await;
        black_box(body.expect("it does not fail").to_bytes());
    }
}

async fn over_http1(router: Router, requests: usize) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let server = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(router));
    tokio::spawn(server);
    let (mut client, connection) =
        http1::handshake::<_, Body>(TokioIo::new(client)).await.expect("connected");
    tokio::spawn(connection);
    for _ in 0..requests {
        client.ready().await.expect("open");
        read(client.send_request(request_of(false, Body::empty())).await).await;
    }
}

async fn over_http2(router: Router, requests: usize) {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(router));
    tokio::spawn(server);
    let (mut client, connection) =
        http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(client))
            .await
            .expect("connected");
    tokio::spawn(connection);
    for _ in 0..requests {
        client.ready().await.expect("open");
        read(client.send_request(request_of(true, Body::empty())).await).await;
    }
}

async fn read(response: hyper::Result<Response<Incoming>>) {
    let body = response.expect("answered").into_body().collect().await;
    black_box(body.expect("whole").to_bytes());
}
