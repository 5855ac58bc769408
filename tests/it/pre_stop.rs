//! A request of a `preStop` hook drains the server, and is answered when that is over.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_sse::{PreStop, Shutdown, ShutdownLayer, StaticBody};

use crate::harness::SECOND;
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen, read_until};
use crate::harness::rig::{Fate, Handler, at_once, open};

async fn ask(service: &PreStop, method: Method) -> Response<StaticBody> {
    let request = Request::builder().method(method).uri("/drain").body(()).unwrap();
    let Ok(response) = service.clone().oneshot(request).await;
    response
}

async fn line(response: Response<StaticBody>) -> String {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let exact = response.body().size_hint().exact();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(exact, Some(bytes.len() as u64));
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn shutdown() -> Shutdown {
    let builder = Shutdown::builder().notice(2 * SECOND).window(Duration::ZERO);
    builder.deadline(10 * SECOND).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_answered_when_the_drain_that_it_began_is_over() {
    let shutdown = shutdown();
    let finishes = ShutdownLayer::new(shutdown.clone()).finish_within(4 * SECOND);
    let mut service = finishes.layer(Handler);
    let streams: Vec<_> = (0..3).map(|_| open(&mut service)).collect();
    let mut reads = Vec::new();
    let mut feeds = Vec::new();
    for (feed, client) in streams {
        feeds.push(feed);
        reads.push(tokio::spawn(client.rest()));
    }
    let hook = shutdown.pre_stop();
    assert!(!shutdown.is_draining());
    let began = Instant::now();
    // One of them ends by itself.
    feeds.pop();
    let second = tokio::spawn({
        let (hook, shutdown) = (hook.clone(), shutdown.clone());
        async move {
            sleep(SECOND).await;
            assert!(shutdown.is_draining());
            line(ask(&hook, Method::POST).await).await
        }
    });
    let first = line(ask(&hook, Method::GET).await).await;
    assert_eq!(began.elapsed(), 6 * SECOND);
    let expected = "drained 3 streams in 6.0 s: 2 closed, 1 finished, 0 cut, 0 stalled, 0 forced\n";
    assert_eq!(first, expected);
    // A second request does not begin a second one, at any time.
    assert_eq!(second.await.unwrap(), expected);
    sleep(60 * SECOND).await;
    assert_eq!(line(ask(&hook, Method::GET).await).await, expected);
    assert_eq!(shutdown.drain().await.to_string() + "\n", expected["drained ".len()..]);
    for read in reads {
        assert!(read.await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_answered_by_the_deadline_whatever_clients_do() {
    let shutdown = shutdown();
    let (_feed, _never_reads) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    let began = Instant::now();
    let line = line(ask(&shutdown.pre_stop(), Method::GET).await).await;
    assert_eq!(began.elapsed(), 12 * SECOND);
    assert!(line.starts_with("drained 1 stream in 12.0 s: 0 closed, "), "{line}");
    assert!(line.ends_with("1 forced\n"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_begins_no_drain() {
    let shutdown = at_once();
    for method in [Method::HEAD, Method::OPTIONS, Method::DELETE] {
        let response = ask(&shutdown.pre_stop(), method.clone()).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(response.headers()["allow"], "GET, POST");
        assert!(response.body().is_end_stream());
    }
    // Nor does a request that nobody waits for.
    drop(shutdown.pre_stop().call(Request::new(())));
    assert!(!shutdown.is_draining());
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_on_when_the_hook_is_given_up() {
    let shutdown = at_once();
    let (_feed, mut client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    client.now().await;
    let request = Request::new(());
    assert!(shutdown.pre_stop().call(request).now_or_never().is_none());
    assert!(shutdown.is_draining());
    assert_eq!(client.now().await.1, Fate::Ended);
    assert_eq!(shutdown.drain().await.closed, 1);
}

/// On the connections of the server that it drains, which axum lets finish.
async fn start(shutdown: &Shutdown) -> SocketAddr {
    let (listener, address) = listen().await;
    let app = Router::new().route_service("/drain", shutdown.pre_stop());
    let until = shutdown.clone();
    tokio::spawn(async move {
        let until = async move { until.triggered().await };
        axum::serve(listener, app).with_graceful_shutdown(until).await
    });
    address
}

#[tokio::test]
async fn a_hook_is_answered_by_a_server_that_stops_to_accept_meanwhile() {
    for version in [H1, H2] {
        let shutdown = Shutdown::builder().deadline(Duration::from_millis(200)).build().unwrap();
        let (_feed, _never_reads) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
        let mut client = Client::connect(start(&shutdown).await, version).await;
        let response = client.get("/drain").await;
        assert_eq!(response.status(), StatusCode::OK);
        let (mut body, mut text) = (response.into_body(), String::new());
        read_until(&mut body, &mut text, |_| false).await.unwrap();
        assert!(text.starts_with("drained 1 stream in ") && text.ends_with("1 forced\n"), "{text}");
    }
}
