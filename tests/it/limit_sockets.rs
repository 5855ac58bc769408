//! Limits on real sockets: HTTP/1.1 and HTTP/2, with axum and with hyper alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{join_all, pending};
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};
use tower::{Layer, service_fn};
use tower_sse::{Limit, SseLayer};

use crate::harness::LONG;
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, Version, listen, read_until, serve};

const MOST: usize = 4;

/// How often each client comes and goes.
const ROUNDS: usize = 25;

/// A server whose streams say one event and stay open.
async fn start(hyper_alone: bool, limit: Limit) -> SocketAddr {
    let (listener, address) = listen().await;
    let layer = SseLayer::new().limit(limit);
    if hyper_alone {
        let handler =
            service_fn(|_: Request<Incoming>| async { Ok::<_, Infallible>(events().await) });
        tokio::spawn(serve(listener, layer.layer(handler), pending()));
    } else {
        let app = Router::new().route("/", get(events)).layer(layer);
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    address
}

async fn events() -> Response<Body> {
    let first = stream::iter([Ok::<_, Infallible>("data: a\n\n")]);
    let body = Body::from_stream(first.chain(stream::pending()));
    Response::builder().header(CONTENT_TYPE, "text/event-stream").body(body).unwrap()
}

/// What an `EventSource` asks, or a client that does not say what it wants.
async fn ask(client: &mut Client, accept: &str, user: &str) -> Response<Incoming> {
    let request = Request::get("http://localhost/").header("host", "localhost");
    let request = request.header(ACCEPT, accept).header("x-user", user);
    let request = request.header("last-event-id", "41").body(Empty::<Bytes>::new()).unwrap();
    // The end of an answer reaches its reader a moment before the connection is ready for more.
    match client {
        Client::H1(client) => {
            client.ready().await.unwrap();
            client.send_request(request).await.unwrap()
        }
        Client::H2(client) => {
            client.ready().await.unwrap();
            client.send_request(request).await.unwrap()
        }
    }
}

const EVENTS: &str = "text/event-stream";

/// Waits until so many count: a server learns of a client's end a moment later.
async fn until_open(limit: &Limit, count: usize) {
    let wait = async {
        while limit.open() != count {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{} are open", limit.open()));
}

async fn refuse_and_let_in_again(version: Version, hyper_alone: bool) {
    let what = format!("{version:?}, hyper alone: {hyper_alone}");
    let limit = Limit::new(MOST);
    let address = start(hyper_alone, limit.clone()).await;
    let mut open = Vec::new();
    for _ in 0..MOST {
        let mut client = Client::connect(address, version).await;
        let mut body = ask(&mut client, EVENTS, "").await.into_body();
        let mut text = String::new();
        read_until(&mut body, &mut text, |text| text.contains("data: a\n\n")).await.unwrap();
        open.push((client, body));
    }
    let mut client = Client::connect(address, version).await;
    let response = ask(&mut client, EVENTS, "").await;
    assert_eq!(response.status(), StatusCode::OK, "{what}");
    let (mut body, mut text) = (response.into_body(), String::new());
    // Until the end, which is an error if it is not a clean one.
    read_until(&mut body, &mut text, |_| false).await.expect(&what);
    assert!(text.starts_with(":\nevent: limit\nretry: "), "{what}: {text}");
    assert!(text.ends_with("\ndata: {\"reason\":\"limit\"}\nid: 41\n\n"), "{what}: {text}");

    // On the same connection, which serves others on.
    let response = ask(&mut client, "*/*", "").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS, "{what}");
    let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((5..=30).contains(&after), "{what}: {after}");
    assert_eq!((limit.open(), limit.refused()), (MOST, 2), "{what}");

    // One goes, by a reset or by its connection, and one comes.
    drop(open.pop());
    until_open(&limit, MOST - 1).await;
    let mut body = ask(&mut client, EVENTS, "").await.into_body();
    let mut text = String::new();
    read_until(&mut body, &mut text, |text| text.contains("data: a\n\n")).await.expect(&what);
    assert_eq!(limit.open(), MOST, "{what}");
    drop((open, body, client));
    until_open(&limit, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_client_is_told_so_and_gets_the_slot_that_another_left() {
    let ways = [(H1, false), (H1, true), (H2, false), (H2, true)];
    join_all(ways.map(|(version, alone)| refuse_and_let_in_again(version, alone))).await;
}

/// A page that is loaded again and again while its old streams are still there.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_stream_of_a_user_is_served_and_the_old_ones_are_told() {
    for version in [H1, H2] {
        let limit = Limit::builder().max(100).per_key(2, |request| {
            request.headers.get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned)
        });
        let limit = limit.replace_oldest().build().unwrap();
        let address = start(false, limit.clone()).await;
        let mut pages = Vec::new();
        for _ in 0..5 {
            let mut client = Client::connect(address, version).await;
            let (mut body, mut text) =
                (ask(&mut client, EVENTS, "alice").await.into_body(), String::new());
            read_until(&mut body, &mut text, |text| text.contains("data: a\n\n")).await.unwrap();
            pages.push((client, body, text));
        }
        assert_eq!((limit.open(), limit.keys(), limit.refused()), (2, 1, 0));
        for (_, body, text) in &mut pages[..3] {
            read_until(body, text, |_| false).await.unwrap();
            assert!(text.contains("event: close\nretry: "), "{text}");
            assert!(text.ends_with("data: {\"reason\":\"replaced\"}\nid: 41\n\n"), "{text}");
        }
        drop(pages);
        until_open(&limit, 0).await;
    }
}

/// Clients that come and go as they like: never more than the cap, and none are left.
#[tokio::test(flavor = "multi_thread")]
async fn aborts_over_sockets_leak_no_slot() {
    let limit = Limit::new(MOST);
    let address = start(false, limit.clone()).await;
    let most = Arc::new(AtomicUsize::new(0));
    let clients = (0..16).map(|n| {
        let (limit, most) = (limit.clone(), Arc::clone(&most));
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let version = if (n + round) % 2 == 0 { H1 } else { H2 };
                let mut client = Client::connect(address, version).await;
                let mut body = ask(&mut client, EVENTS, "").await.into_body();
                most.fetch_max(limit.open(), Ordering::Relaxed);
                if round % 3 == 0 {
                    let enough = |text: &str| text.contains("data: ");
                    read_until(&mut body, &mut String::new(), enough).await.unwrap();
                }
            }
        })
    });
    join_all(clients).await.into_iter().for_each(Result::unwrap);
    until_open(&limit, 0).await;
    let most = most.load(Ordering::Relaxed);
    assert!(most <= MOST, "at most {most} open");
}
