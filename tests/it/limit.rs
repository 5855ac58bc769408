//! No more streams than the cap, and who comes beyond is told when to come back.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use tower::{Layer, service_fn};
use tower_sse::{
    EventIdLayer, KeepAliveLayer, Limit, LimitBuilder, LimitLayer, Registry, Shutdown, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::bodies::{Script, Step};
use crate::harness::rig::{Client, Fate, Feed, Handler, call, get, open, open_with};

/// A cap in all, with the same wait for everybody.
fn at_most(max: usize) -> Limit {
    builder(max).build().unwrap()
}

fn builder(max: usize) -> LimitBuilder {
    Limit::builder().max(max).retry(7 * SECOND..=7 * SECOND)
}

/// A cap by user.
fn at_most_each(max: usize) -> LimitBuilder {
    builder(usize::MAX).per_key(max, |request| {
        request.headers.get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned)
    })
}

fn plain() -> Request<()> {
    Request::get("/events").body(()).unwrap()
}

fn get_as(user: &'static str) -> Request<()> {
    let mut request = get();
    request.headers_mut().insert("x-user", HeaderValue::from_static(user));
    request
}

#[tokio::test(start_paused = true)]
async fn an_event_source_beyond_the_cap_is_told_in_an_event() {
    let limit = at_most(1);
    let mut service = SseLayer::new().limit(limit.clone()).layer(Handler);
    let first = open(&mut service);
    let mut request = get();
    request.headers_mut().insert("last-event-id", HeaderValue::from_static("41"));
    let mut response = call(&mut service, request);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("retry-after"));
    let feed = response.extensions_mut().remove::<Feed>().unwrap();
    assert!(feed.is_gone() && !feed.was_polled(), "what the handler made is dropped");
    let (seen, fate) = Client::of(response).now().await;
    let expected = ":\nevent: limit\nretry: 7000\ndata: {\"reason\":\"limit\"}\nid: 41\n\n";
    assert_eq!((&*seen, fate), (expected, Fate::Ended));
    assert_eq!((limit.open(), limit.refused()), (1, 1));

    drop(first);
    assert_eq!(limit.open(), 0);
    let (feed, mut client) = open(&mut service);
    feed.data("data: a\n\n");
    assert_eq!(client.now().await, (":\ndata: a\n\n".into(), Fate::Open));
}

#[tokio::test(start_paused = true)]
async fn others_beyond_the_cap_get_a_status_and_a_time() {
    for (limit, status) in [
        (at_most(1), StatusCode::TOO_MANY_REQUESTS),
        (
            builder(1).status(StatusCode::SERVICE_UNAVAILABLE).build().unwrap(),
            StatusCode::SERVICE_UNAVAILABLE,
        ),
    ] {
        let mut service = LimitLayer::new(limit.clone()).layer(Handler);
        let _first = open(&mut service);
        let response = call(&mut service, plain());
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["retry-after"], "7");
        assert!(!response.headers().contains_key("content-type"));
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert_eq!(Client::of(response).now().await, (String::new(), Fate::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_cap_of_its_own_and_is_forgotten() {
    let limit = at_most_each(2).build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let status = |response: &Response<_>| response.headers().contains_key("retry-after");
    let mut request = |user| {
        let mut request = get_as(user);
        request.headers_mut().remove("accept");
        call(&mut service, request)
    };
    let alices = [request("alice"), request("alice")];
    assert!(status(&request("alice")) && !alices.iter().any(status));
    let bob = request("bob");
    assert!(!status(&bob));
    assert_eq!((limit.open(), limit.keys()), (3, 2));
    let [one, other] = alices;
    drop(one);
    assert!(!status(&request("alice")));
    drop((other, bob));
    assert_eq!((limit.open(), limit.keys()), (0, 0));
    // Without a key there is only the cap in all, and no key to remember.
    let keyless: Vec<_> = (0..10).map(|_| call(&mut service, plain())).collect();
    assert!(!keyless.iter().any(status));
    assert_eq!((limit.open(), limit.keys()), (10, 0));
}

/// What the cap of a key lets in, that in all may not.
#[tokio::test(start_paused = true)]
async fn the_cap_in_all_holds_for_all_keys_together() {
    let limit = Limit::builder().max(3).per_key(2, |request| request.uri.path().to_owned());
    let limit = limit.build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let mut ask = |path| call(&mut service, Request::get(path).body(()).unwrap());
    let open = [ask("/a"), ask("/a"), ask("/b")];
    assert!(open.iter().all(|response| response.status() == StatusCode::OK));
    for path in ["/a", "/b", "/c"] {
        assert_eq!(ask(path).status(), StatusCode::TOO_MANY_REQUESTS, "{path}");
    }
    assert_eq!((limit.open(), limit.keys(), limit.refused()), (3, 2, 3));
    drop(open);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn limits_that_count_together_have_settings_of_their_own() {
    let limit = at_most(2);
    let own = builder(2).per_key(1, |_| 7).count_with(&limit).build().unwrap();
    let mut one = LimitLayer::new(limit.clone()).layer(Handler);
    let mut other = SseLayer::new().limit(own).layer(Handler);
    let (first, second) = (open(&mut one), open(&mut other));
    assert_eq!(limit.open(), 2);
    for response in [call(&mut one, plain()).status(), call(&mut other, plain()).status()] {
        assert_eq!(response, StatusCode::TOO_MANY_REQUESTS);
    }
    drop(first);
    // The cap of a key holds for the streams of its limit.
    assert_eq!(call(&mut other, plain()).status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(call(&mut one, plain()).status(), StatusCode::OK);
    drop(second);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_takes_no_slot() {
    let limit = at_most(0);
    let answer = |status: u16, kind: &'static str| {
        service_fn(move |_: Request<()>| {
            let response = Response::builder().status(status).header("content-type", kind);
            std::future::ready(Ok::<_, Infallible>(
                response.body(Script::new([Step::Hang])).unwrap(),
            ))
        })
    };
    for (method, status, kind) in [
        (Method::HEAD, 200, "text/event-stream"),
        (Method::GET, 200, "application/json"),
        (Method::GET, 500, "text/event-stream"),
        (Method::GET, 204, "text/event-stream"),
        (Method::GET, 304, "text/event-stream"),
    ] {
        let request = Request::builder().method(&method).uri("/").body(()).unwrap();
        let response =
            call(&mut LimitLayer::new(limit.clone()).layer(answer(status, kind)), request);
        assert_eq!(response.status(), status, "{method} {kind}");
        assert_eq!((limit.open(), limit.refused()), (0, 0), "{method} {status} {kind}");
    }
    let stream =
        call(&mut LimitLayer::new(limit.clone()).layer(answer(200, "text/event-stream")), plain());
    assert_eq!(stream.status(), StatusCode::TOO_MANY_REQUESTS, "a cap of zero refuses all streams");
}

/// Who is told of the end and comes back at once finds the slot, before the body is dropped.
#[tokio::test(start_paused = true)]
async fn the_slot_is_free_when_the_end_is_told() {
    let limit = at_most(1);
    let told = Arc::new(Mutex::new(Vec::new()));
    let (seen, counted) = (Arc::clone(&told), limit.clone());
    let registry = Registry::builder().on_close(move |_, _| {
        seen.lock().unwrap().push(counted.open());
    });
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let layer = SseLayer::new().limit(limit.clone()).registry(registry.build().unwrap());
    let layer = layer.shutdown(shutdown.clone());
    let mut service = layer.layer(Handler);

    let (feed, mut client) = open(&mut service);
    client.now().await;
    drop(feed);
    assert_eq!(client.now().await.1, Fate::Ended);
    assert_eq!(*told.lock().unwrap(), [0], "the body is still there");

    let (_feed, mut client) = open(&mut service);
    client.now().await;
    shutdown.trigger();
    let farewell = client.next().await.unwrap().unwrap();
    assert!(farewell.starts_with(b"event: close"));
    assert_eq!(limit.open(), 0, "the farewell was handed over, and no more");
    assert_eq!(client.next().await, None);
    assert_eq!(*told.lock().unwrap(), [0, 0]);

    let shutdown = Shutdown::new();
    let mut service = layer.shutdown(shutdown).layer(Handler);
    let (_feed, mut client) = open(&mut service);
    client.now().await;
    drop(client);
    assert_eq!(*told.lock().unwrap(), [0, 0, 0], "its client went away");
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_anything_of_a_refused_stream() {
    let (limit, shutdown) = (at_most(0), Shutdown::new());
    let opened = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&opened);
    let registry = Registry::builder().on_open(move |_| *seen.lock().unwrap() += 1);
    let registry = registry.build().unwrap();
    let layer = SseLayer::new().limit(limit).registry(registry.clone()).shutdown(shutdown.clone());
    for _ in 0..100 {
        let (feed, client) = open(&mut layer.layer(Handler));
        assert!(feed.is_gone() && registry.is_empty());
        drop(client);
    }
    shutdown.trigger();
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.finished, report.forced), (0, 0, 0));
    assert_eq!(*opened.lock().unwrap(), 0);
}

/// The drain says so first, and neither takes a slot nor has an older stream go.
#[tokio::test(start_paused = true)]
async fn a_request_that_a_drain_refuses_takes_no_slot() {
    let shutdown = Shutdown::builder().rate(1).build().unwrap();
    let limit = at_most_each(1).replace_oldest().build().unwrap();
    let mut service =
        SseLayer::new().limit(limit.clone()).shutdown(shutdown.clone()).layer(Handler);
    let (_old_feed, mut old) = open_with(&mut service, get_as("alice"));
    old.now().await;
    shutdown.trigger();
    let (_, mut refused) = open_with(&mut service, get_as("alice"));
    assert!(refused.now().await.0.contains("event: draining\n"));
    assert_eq!((limit.open(), limit.refused()), (1, 0));
    assert!(!old.now().await.0.contains("replaced"));
}

#[tokio::test(start_paused = true)]
async fn off_near_the_handler_limits_nothing() {
    let limit = at_most(0);
    for near in [SseLayer::new().limit(LimitLayer::off()), SseLayer::off()] {
        let (_feed, mut client) =
            open(&mut LimitLayer::new(limit.clone()).layer(near.layer(Handler)));
        assert_eq!(client.now().await.1, Fate::Open);
    }
    // And what is set there wins.
    let near = at_most(1);
    let mut service =
        LimitLayer::new(limit.clone()).layer(LimitLayer::new(near.clone()).layer(Handler));
    let _first = open(&mut service);
    assert_eq!((near.open(), limit.refused()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_a_slot_has_the_same_bytes() {
    let ids = EventIdLayer::sequential();
    let replaces = at_most_each(1).replace_oldest().build().unwrap();
    for limit in [at_most(9), replaces] {
        for layer in [
            SseLayer::off().registry(Registry::new()),
            SseLayer::off().keep_alive(KeepAliveLayer::every(SECOND)),
            SseLayer::new().event_ids(ids.clone()).registry(Registry::new()),
        ] {
            let mut service = layer.clone().limit(limit.clone()).layer(Handler);
            let (feed, mut client) = open_with(&mut service, get_as("alice"));
            let (other_feed, mut other) = open(&mut layer.layer(Handler));
            for piece in ["data: a\n\n", "data: b\nid: 7\n\ndata: unfin", "ished\n\n", ": c\n\n"] {
                feed.data(piece);
                other_feed.data(piece);
                assert_eq!(client.now().await.0, other.now().await.0);
            }
        }
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let name = |builder: LimitBuilder| builder.build().unwrap_err().setting().to_owned();
    let empty = 2 * SECOND..=SECOND;
    assert_eq!(name(Limit::builder().retry(empty)), "retry");
    assert_eq!(name(Limit::builder().retry(Duration::ZERO..=SECOND)), "retry");
    assert_eq!(name(Limit::builder().status(StatusCode::NOT_FOUND)), "status");
    assert_eq!(name(Limit::builder().replace_oldest()), "replace_oldest");
    let builder = Limit::builder().replace_oldest().per_key(1, |_| "all").retry(SECOND..=SECOND);
    assert!(builder.status(StatusCode::SERVICE_UNAVAILABLE).build().is_ok());
}
