//! A limit beside the other layers: in any order, boxed, on routes, and around what is not ours.

use std::convert::Infallible;

use axum::Router;
use axum::routing::get_service;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_sse::{EventIdLayer, Limit, LimitLayer, Registry, RegistryLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang, Wait};
use crate::harness::bodies::{Broken, Script, read};
use crate::harness::layers::{Boxed, Rig, boxed, dropping_extensions, handler, handler_of, routed};
use crate::harness::rig::{Failure, Fate, Handler, open};

/// A cap in all, and one that has streams looked after on each poll.
fn limits(max: usize) -> [Limit; 2] {
    let replaces = Limit::builder().max(max).per_key(max, |_| 7).replace_oldest();
    let replaces = replaces.build().unwrap();
    [Limit::new(max), replaces]
}

async fn ask(service: &Boxed) -> Response<impl http_body::Body<Data = Bytes, Error = Broken>> {
    service.clone().oneshot(Request::new(())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_limit_holds_in_every_place_among_the_other_layers_and_changes_no_byte() {
    let rig = Rig::new();
    let plain = rig.watch(rig.all_in_one().layer(handler()), Request::new(())).await;
    for forth in [true, false] {
        for place in 0..=5 {
            for limit in limits(2) {
                let what = format!("{place} of {forth}");
                let rig = Rig::new();
                let mut others = rig.layers().to_vec();
                if !forth {
                    others.reverse();
                }
                let mut service = boxed(handler());
                for (n, other) in others.into_iter().enumerate() {
                    if n == place {
                        service = boxed(LimitLayer::new(limit.clone()).layer(service));
                    }
                    service = boxed(other.layer(service));
                }
                if place == 5 {
                    service = boxed(LimitLayer::new(limit.clone()).layer(service));
                }
                let seen = rig.watch(service.clone(), Request::new(())).await;
                assert_eq!(seen.headers, plain.headers, "{what}");
                assert_eq!(seen.read.chunks, plain.read.chunks, "{what}");
                assert!(seen.read.ended, "{what}");
                assert_eq!(seen.entries, 1, "{what}");
                assert_eq!((limit.open(), limit.keys(), rig.registry.len()), (0, 0, 0), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_refuses_before_other_layers_begin_in_any_order() {
    let (limit, registry) = (Limit::new(1), Registry::new());
    let list = RegistryLayer::new(registry.clone());
    let ids = EventIdLayer::sequential();
    assert_refuses(
        LimitLayer::new(limit.clone()).layer(list.layer(ids.layer(Handler))),
        &limit,
        &registry,
    )
    .await;
    assert_refuses(
        list.layer(LimitLayer::new(limit.clone()).layer(ids.layer(Handler))),
        &limit,
        &registry,
    )
    .await;
    assert_refuses(
        ids.layer(list.layer(LimitLayer::new(limit.clone()).layer(Handler))),
        &limit,
        &registry,
    )
    .await;
}

async fn assert_refuses<S, B>(mut service: S, limit: &Limit, registry: &Registry)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error = Failure> + Send + 'static,
{
    let before = limit.refused();
    let (feed, mut client) = open(&mut service);
    let (_, mut refused) = open(&mut service);
    assert!(refused.now().await.0.contains("event: limit\n"));
    assert_eq!((limit.open(), registry.len(), limit.refused() - before), (1, 1, 1));
    feed.data("data: a\n\n");
    assert_eq!(client.now().await, ("data: a\nid: 1\n\n".into(), Fate::Open));
    drop(client);
    assert_eq!((limit.open(), registry.len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_stream_takes_one_slot_on_a_route_and_on_its_router() {
    let limit = Limit::new(2);
    let route = get_service(handler()).layer(LimitLayer::new(limit.clone()));
    let router = Router::new().route("/", route).layer(SseLayer::new().limit(limit.clone()));
    let service = routed(router.layer(LimitLayer::new(limit.clone())));
    let open = [ask(&service).await, ask(&service).await];
    assert_eq!(limit.open(), 2);
    assert_eq!(ask(&service).await.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(open);
    assert_eq!((limit.open(), limit.refused()), (0, 1));
}

/// Two routes with caps of their own height on one count.
#[tokio::test(start_paused = true)]
async fn several_routes_share_one_cap() {
    let limit = Limit::new(2);
    let route = || get_service(handler()).layer(LimitLayer::new(limit.clone()));
    let service = routed(Router::new().route("/a", route()).route("/b", route()));
    let ask = |path: &str| service.clone().oneshot(Request::get(path).body(()).unwrap());
    let _open = [ask("/a").await.unwrap(), ask("/b").await.unwrap()];
    for path in ["/a", "/b"] {
        assert_eq!(ask(path).await.unwrap().status(), StatusCode::TOO_MANY_REQUESTS);
    }
}

/// In whatever way the others are split around it, and on whichever side the limit is.
#[tokio::test(start_paused = true)]
async fn middleware_that_drops_extensions_leaks_no_slot() {
    for (request, response) in [(true, false), (false, true), (true, true)] {
        for split in 0..=5 {
            for (near, limit) in
                [true, false].into_iter().flat_map(|near| limits(1).map(|it| (near, it)))
            {
                let what = format!("{request} {response} {split} {near}");
                let rig = Rig::new();
                let mut service =
                    boxed(handler_of(|| vec![Wait(SECOND), Data("data: a\n\n"), Hang]));
                for (n, other) in rig.layers().into_iter().enumerate() {
                    if n == split {
                        service = between(service, &limit, near, request, response);
                    }
                    service = boxed(other.layer(service));
                }
                if split == 5 {
                    service = between(service, &limit, near, request, response);
                }
                // Dropped before a poll, behind some, and ended by a drain.
                drop(ask(&service).await);
                assert_eq!((limit.open(), limit.keys()), (0, 0), "{what}");
                let mut body = Box::pin(ask(&service).await.into_body());
                let seen = read(&mut body, 2 * SECOND).await.text();
                assert_eq!(seen.matches("data: a\n").count(), 1, "{what}: {seen}");
                assert_eq!(limit.open(), 1, "{what}");
                drop(body);
                let mut body = Box::pin(ask(&service).await.into_body());
                rig.shutdown.trigger();
                assert!(read(&mut body, 2 * SECOND).await.ended, "{what}");
                assert_eq!((limit.open(), limit.keys()), (0, 0), "{what}: the body is still there");
                assert_eq!((rig.registry.len(), limit.refused()), (0, 0), "{what}");
            }
        }
    }
}

/// The limit within or around something that drops extensions.
fn between(inner: Boxed, limit: &Limit, near: bool, request: bool, response: bool) -> Boxed {
    let inner = if near { boxed(LimitLayer::new(limit.clone()).layer(inner)) } else { inner };
    let service = dropping_extensions(inner, request, response);
    if near { service } else { boxed(LimitLayer::new(limit.clone()).layer(service)) }
}

/// What came of the stream is dropped, and with it the slot.
#[tokio::test(start_paused = true)]
async fn middleware_that_takes_the_body_away_leaks_no_slot() {
    for limit in limits(1) {
        let away = MapResponseBodyLayer::new(|_| Script::new([Hang]));
        for outer in [SseLayer::new(), SseLayer::new().limit(limit.clone())] {
            let service = outer.layer(away.layer(LimitLayer::new(limit.clone()).layer(handler())));
            for _ in 0..3 {
                let response = service.clone().oneshot(Request::new(())).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
                drop(response);
                assert_eq!((limit.open(), limit.keys(), limit.refused()), (0, 0, 0));
            }
        }
    }
}

/// They pass untouched, but they are open.
#[tokio::test(start_paused = true)]
async fn encoded_streams_count_and_are_refused_but_never_replaced() {
    for limit in limits(2) {
        let encoded = service_fn(|_: Request<()>| {
            let response = Response::builder().header("content-type", "text/event-stream");
            let response = response.header("content-encoding", "gzip");
            let body = Script::new([Data("not to be read"), Data("at all")]).exact(20);
            std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
        });
        let inner = boxed(LimitLayer::new(limit.clone()).layer(encoded));
        let service = boxed(SseLayer::new().limit(limit.clone()).layer(inner));
        let (one, other) = (ask(&service).await, ask(&service).await);
        assert_eq!(limit.open(), 2);
        let refused = ask(&service).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(!refused.headers().contains_key("content-encoding"));
        let request = Request::get("/").header("accept", "text/event-stream").body(()).unwrap();
        let told = service.clone().oneshot(request).await.unwrap();
        assert!(!told.headers().contains_key("content-encoding"));
        let told = read(&mut Box::pin(told.into_body()), SECOND).await;
        assert!(told.text().contains("event: limit\n") && told.ended);

        assert_eq!(one.headers()["content-encoding"], "gzip");
        let mut body = Box::pin(one.into_body());
        assert_eq!(http_body::Body::size_hint(&*body).exact(), Some(20));
        let seen = read(&mut body, SECOND).await;
        assert!(seen.ended && seen.text() == "not to be readat all");
        assert_eq!(limit.open(), 1, "the body is still there");
        drop((body, other));
        assert_eq!((limit.open(), limit.keys(), limit.refused()), (0, 0, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn off_on_a_route_leaves_encoded_streams_alone() {
    for near in [SseLayer::new().limit(LimitLayer::off()), SseLayer::off()] {
        let limit = Limit::new(0);
        let encoded = service_fn(|_: Request<()>| {
            let response = Response::builder().header("content-type", "text/event-stream");
            let response = response.header("content-encoding", "br");
            std::future::ready(Ok::<_, Infallible>(response.body(Script::new([Hang])).unwrap()))
        });
        for (request, response) in [(false, false), (true, false), (false, true)] {
            let service = between(boxed(near.layer(encoded)), &limit, false, request, response);
            assert_eq!(ask(&service).await.status(), StatusCode::OK, "{request} {response}");
        }
    }
}
