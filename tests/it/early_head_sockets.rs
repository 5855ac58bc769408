//! A head that does not wait, over HTTP/1.1 and HTTP/2, as hyper sends it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower::{Layer, service_fn};
use tower_sse::{Comment, Dialect, EarlyHeadLayer, KeepAliveLayer, Registry, SseLayer};

use crate::harness::LONG;
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen, read_until, serve};
use crate::harness::thinking::Cancelled;

/// Lets the handler answer.
type Answer = watch::Sender<bool>;

struct Server {
    address: SocketAddr,
    answer: Answer,
    cancelled: Cancelled,
    registry: Registry,
}

/// A server whose handler answers with this status when it is let.
async fn start(status: StatusCode) -> Server {
    let (listener, address) = listen().await;
    let (answer, answers) = watch::channel(false);
    let (cancelled, registry) = (Cancelled::default(), Registry::new());
    let kept = cancelled.clone();
    let handler = service_fn(move |request: Request<Incoming>| {
        let (guard, mut answers) = (kept.guard(), answers.clone());
        // Over HTTP/2 hyper sends what it is given for these, too.
        let has_body = request.method() == Method::GET && status == StatusCode::OK;
        async move {
            let _ = answers.wait_for(|answers| *answers).await;
            guard.disarm();
            let events = ["data: a\n\n", "data: b\n\n"].map(Ok::<_, Infallible>);
            let events = Body::from_stream(stream::iter(events));
            let body = if has_body { events } else { Body::empty() };
            let response = Response::builder().status(status);
            let response = response.header(CONTENT_TYPE, "text/event-stream");
            Ok::<_, Infallible>(response.body(body).unwrap())
        }
    });
    let keep_alive = KeepAliveLayer::every(Duration::from_millis(20));
    let layer = SseLayer::new().keep_alive(keep_alive).registry(registry.clone());
    let layer =
        layer.dialect(Dialect::builder().comment(Comment::from_static("still here")).build());
    let early = EarlyHeadLayer::after(Duration::from_millis(20));
    let service = layer.layer(early.layer(handler));
    tokio::spawn(serve(listener, service, std::future::pending()));
    Server { address, answer, cancelled, registry }
}

async fn ask(client: &mut Client, method: Method) -> Response<Incoming> {
    let request = Request::builder().method(method).uri("http://localhost/");
    let request = request.header("host", "localhost").header(ACCEPT, "text/event-stream");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    match client {
        Client::H1(client) => client.send_request(request).await.unwrap(),
        Client::H2(client) => client.send_request(request).await.unwrap(),
    }
}

async fn until(what: &str, reached: impl Fn() -> bool) {
    let wait = async {
        while !reached() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_and_keepalives_are_sent_while_the_handler_thinks() {
    for version in [H1, H2] {
        let server = start(StatusCode::OK).await;
        let mut client = Client::connect(server.address, version).await;
        let response = ask(&mut client, Method::GET).await;
        assert!(!*server.answer.borrow(), "{version:?}: it has not answered");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (mut body, mut text) = (response.into_body(), String::new());
        let many = |text: &str| text.matches(": still here\n").count() >= 5;
        read_until(&mut body, &mut text, many).await.unwrap();
        assert_eq!(server.registry.len(), 1, "{version:?}");
        server.answer.send_replace(true);
        read_until(&mut body, &mut text, |_| false).await.unwrap();
        assert!(text.ends_with("data: a\n\ndata: b\n\n"), "{version:?}: {text}");
        until("the stream ends", || server.registry.is_empty()).await;
        assert!(!server.cancelled.get());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_cancels_the_handler_that_thinks() {
    for version in [H1, H2] {
        let server = start(StatusCode::OK).await;
        let mut client = Client::connect(server.address, version).await;
        let mut body = ask(&mut client, Method::GET).await.into_body();
        let mut text = String::new();
        read_until(&mut body, &mut text, |text| text.contains("still here")).await.unwrap();
        assert!(!server.cancelled.get() && server.registry.len() == 1);
        drop((body, client));
        until("it is cancelled", || server.cancelled.get() && server.registry.is_empty()).await;
    }
}

/// Other requests wait for their status, whatever it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_and_an_answer_without_a_body_are_as_they_are() {
    for version in [H1, H2] {
        let server = start(StatusCode::OK).await;
        let mut client = Client::connect(server.address, version).await;
        let began = Instant::now();
        let answer = server.answer.clone();
        let later = tokio::spawn(async move {
            sleep(Duration::from_millis(200)).await;
            answer.send_replace(true);
        });
        let response = ask(&mut client, Method::HEAD).await;
        assert!(began.elapsed() >= Duration::from_millis(200), "{version:?}");
        let mut text = String::new();
        read_until(&mut response.into_body(), &mut text, |_| false).await.unwrap();
        assert_eq!(text, "");
        later.await.unwrap();

        // 204 in time, and late, when it is told.
        let server = start(StatusCode::NO_CONTENT).await;
        let mut client = Client::connect(server.address, version).await;
        let response = ask(&mut client, Method::GET).await;
        assert_eq!(response.status(), StatusCode::OK, "{version:?}");
        server.answer.send_replace(true);
        read_until(&mut response.into_body(), &mut text, |_| false).await.unwrap();
        assert!(text.contains("event: close\n") && text.contains("finished"), "{text}");
        let mut client = Client::connect(server.address, version).await;
        let in_time = ask(&mut client, Method::GET).await;
        assert_eq!(in_time.status(), StatusCode::NO_CONTENT, "{version:?}");
    }
}
