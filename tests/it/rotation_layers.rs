//! Rotation beside the other layers: in any order, on routes, and while the server drains.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get_service;
use http::Request;
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt};
use tower_sse::{
    EndReason, EventIdLayer, Expiry, Farewell, KeepAliveLayer, Registry, RotationLayer, Shutdown,
    ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::bodies::Step::Hang;
use crate::harness::bodies::read;
use crate::harness::layers::{Boxed, Rig, boxed, handler, handler_of, routed};
use crate::harness::rig::{Handler, open};

/// The first stream of it lives for 24 seconds.
fn rotation() -> RotationLayer {
    RotationLayer::new().max_age(30 * SECOND).retry(SECOND..=SECOND)
}

/// What a stream is through all layers, with an event from the registry at 21 seconds.
const CHUNKS: &[(u128, &str)] = &[
    (0, ":\n"),
    (3_000, "data: a\nid: 1\n\n"),
    (6_000, "event: b\ndata: b\nid: 2\n\n: by the handler\n\n"),
    (15_000, ":\n"),
    (21_000, "event: news\ndata: x\nid: 3\n\n"),
    (24_000, "event: close\nretry: 1000\ndata: {\"reason\":\"rotated\"}\nid: 3\n\n"),
];

async fn assert_rotates(rig: &Rig, service: Boxed, what: &str) {
    let seen = rig.watch(service, Request::new(())).await;
    let chunks: Vec<_> = seen.read.chunks.iter().map(|(at, text)| (*at, &**text)).collect();
    assert_eq!(chunks, CHUNKS, "{what}");
    assert!(seen.read.ended && rig.registry.is_empty(), "{what}");
}

#[tokio::test(start_paused = true)]
async fn rotation_does_the_same_in_every_place_among_the_layers() {
    for forth in [true, false] {
        for place in 0..=5 {
            let rig = Rig::new();
            let mut others = rig.layers();
            if !forth {
                others.reverse();
            }
            let mut service = boxed(handler());
            for (n, other) in others.into_iter().enumerate() {
                if n == place {
                    service = boxed(rotation().layer(service));
                }
                service = boxed(other.layer(service));
            }
            if place == 5 {
                service = boxed(rotation().layer(service));
            }
            assert_rotates(&rig, service, &format!("{place} of {forth}")).await;
        }
    }
    let rig = Rig::new();
    let all = rig.all_in_one().rotation(rotation());
    assert_rotates(&rig, boxed(all.layer(handler())), "in one").await;
    let rig = Rig::new();
    let all = rig.all_in_one().rotation(rotation());
    let router = Router::new().route("/", get_service(handler()).layer(rotation()));
    assert_rotates(&rig, routed(router.layer(all)), "on a route and on the router").await;
}

#[tokio::test(start_paused = true)]
async fn off_on_a_route_turns_rotation_off() {
    for off in [SseLayer::off(), SseLayer::off().rotation(RotationLayer::off())] {
        let route = get_service(handler_of(|| vec![Hang])).layer(off);
        let router = Router::new().route("/", route).layer(rotation());
        let mut request = Request::new(());
        request.extensions_mut().insert(Expiry::after(SECOND));
        let response = routed(router).oneshot(request).await.unwrap();
        let read = read(&mut response.into_body(), 1_000 * SECOND).await;
        assert!(!read.ended && read.chunks.is_empty(), "{read:?}");
    }
    // What is nearest to the handler wins.
    let near = RotationLayer::new().max_age(10 * SECOND).layer(handler_of(|| vec![Hang]));
    let response = rotation().layer(near).oneshot(Request::new(())).await.unwrap();
    let read = read(&mut response.into_body(), 1_000 * SECOND).await;
    assert_eq!(read.chunks[0].0, 8_000);
}

#[tokio::test(start_paused = true)]
async fn each_end_is_counted_as_rotated() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ends);
    let registry = Registry::builder().on_close(move |_, why| told.lock().unwrap().push(why));
    let registry = registry.build().unwrap();
    for rotation in [
        rotation(),
        RotationLayer::new().idle(SECOND),
        rotation().farewell(Farewell::none()),
        RotationLayer::new(),
    ] {
        let layer = SseLayer::off().registry(registry.clone()).rotation(rotation);
        let mut request = crate::harness::rig::get();
        request.extensions_mut().insert(Expiry::after(60 * SECOND));
        let (_feed, client) = crate::harness::rig::open_with(&mut layer.layer(Handler), request);
        client.rest().await;
    }
    assert_eq!(*ends.lock().unwrap(), [EndReason::Rotated; 4]);
    assert_eq!(EndReason::Rotated.to_string(), "rotated");
}

/// Each stream says one farewell, that of what came first.
#[tokio::test(start_paused = true)]
async fn of_a_drain_and_an_age_the_earlier_counts() {
    let shutdown = Shutdown::builder().rate(1).window(60 * SECOND).deadline(70 * SECOND);
    let shutdown = shutdown.build().unwrap();
    let layer = SseLayer::new()
        .event_ids(EventIdLayer::sequential())
        .registry(Registry::new())
        .rotation(RotationLayer::new().max_age(100 * SECOND))
        .shutdown(shutdown.clone());
    let mut service = layer.layer(Handler);
    let (feeds, clients): (Vec<_>, Vec<_>) = (0..1_000).map(|_| open(&mut service)).unzip();
    let began = Instant::now();
    let reads: Vec<_> = clients
        .into_iter()
        .map(|client| {
            tokio::spawn(async move {
                let seen = client.rest().await;
                assert_eq!(seen.matches("event: close\n").count(), 1, "{seen}");
                (began.elapsed(), seen.contains("{\"reason\":\"rotated\"}"))
            })
        })
        .collect();
    sleep(50 * SECOND).await;
    let report = shutdown.drain().await;
    let mut rotated = 0;
    for read in reads {
        let (at, by_age) = read.await.unwrap();
        assert!(at <= 100 * SECOND && (!by_age || at >= 80 * SECOND), "{at:?}");
        rotated += usize::from(by_age);
    }
    assert_eq!((report.closed + report.finished, report.finished), (1_000, rotated));
    assert!(rotated > 50 && rotated < 500, "{rotated}");
    drop(feeds);
}

/// A long event that is rotated while the server drains is cut by the drain's deadline.
#[tokio::test(start_paused = true)]
async fn a_long_event_that_is_too_old_does_not_outlive_a_drain() {
    let shutdown = Shutdown::new();
    let layer = SseLayer::off().hold_limit(8).rotation(rotation()).shutdown(shutdown.clone());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    client.now().await;
    let read = tokio::spawn(client.rest());
    sleep(100 * SECOND).await;
    let report = shutdown.drain().await;
    assert_eq!((report.cut, report.forced), (1, 0));
    assert_eq!(read.await.unwrap(), "");
}

/// Its layer is not the one that drives the stream, and hears nothing on the way in.
#[tokio::test(start_paused = true)]
async fn a_middleware_that_drops_extensions_changes_nothing() {
    for (near, far) in [
        (SseLayer::new().keep_alive(KeepAliveLayer::off()), SseLayer::off().rotation(rotation())),
        (SseLayer::off().rotation(rotation()), SseLayer::off().shutdown(Shutdown::new())),
    ] {
        let inner = near.layer(handler_of(|| vec![Hang]));
        let forgetful = inner.map_request(|_: Request<()>| Request::new(()));
        let response = far.layer(forgetful).oneshot(Request::new(())).await.unwrap();
        let read = read(&mut response.into_body(), 1_000 * SECOND).await;
        assert_eq!(read.chunks.last().unwrap().0, 24_000, "{read:?}");
    }
}

/// Streams of one route that is reached by two routers are numbered together, or they would end
/// together.
#[tokio::test(start_paused = true)]
async fn streams_are_spread_whatever_stands_around_their_layer() {
    let near = rotation();
    let ways = [ShutdownLayer::new(Shutdown::new()), ShutdownLayer::new(Shutdown::new())];
    let mut services: Vec<_> = ways
        .into_iter()
        .map(|far| boxed(far.layer(near.layer(handler_of(|| vec![Hang])))))
        .collect();
    let mut ends = Vec::new();
    for _ in 0..5 {
        for service in &mut services {
            let response = service.clone().oneshot(Request::new(())).await.unwrap();
            ends.push(read(&mut response.into_body(), 100 * SECOND).await.chunks[0].0);
        }
    }
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends.len(), 10, "{ends:?}");
}
