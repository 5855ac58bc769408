//! Layers on routes and routers: the setting nearest to the handler wins.

use std::time::Duration;

use axum::Router;
use axum::routing::{MethodRouter, get_service};
use http::Request;
use tower::{Layer, ServiceExt};
use tower_sse::{
    Event, EventIdLayer, Farewell, KeepAliveLayer, NoBufferLayer, Registry, RegistryLayer,
    Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang};
use crate::harness::bodies::read;
use crate::harness::layers::{
    NAMES, Rig, Seen, assert_is_untouched, boxed, handler, handler_of, off, on, routed,
};

#[tokio::test(start_paused = true)]
async fn off_on_a_route_silences_the_same_layer_of_the_router() {
    for name in NAMES {
        let rig = Rig::new();
        let router = Router::new().route("/", route().layer(off(name)));
        let seen = watch(&rig, router.layer(on(&rig, name))).await;
        assert_is_untouched(&seen, name);
    }
}

#[tokio::test(start_paused = true)]
async fn off_on_a_route_silences_that_much_of_all() {
    for name in NAMES {
        let rig = Rig::new();
        let router = Router::new().route("/", route().layer(off(name)));
        let seen = watch(&rig, router.layer(rig.all_in_one())).await;
        let text = seen.read.text();
        assert_eq!(text.contains(":\n"), name != "keep alive", "{name} {text}");
        assert_eq!(text.contains("id: 1\n"), name != "event id", "{name} {text}");
        assert_eq!(text.contains("event: close"), name != "shutdown", "{name} {text}");
        assert_eq!(text.contains("event: news"), name != "registry", "{name} {text}");
        assert_eq!(seen.entries, usize::from(name != "registry"), "{name}");
        let refuses = seen.headers.iter().any(|line| line.contains("x-accel-buffering"));
        assert_eq!(refuses, name != "no buffer", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_off_on_a_route_silences_all() {
    let rig = Rig::new();
    let router = Router::new().route("/", route().layer(SseLayer::off()));
    assert_is_untouched(&watch(&rig, router.layer(rig.all_in_one())).await, "in one");

    let rig = Rig::new();
    let mut router = Router::new().route("/", route().layer(SseLayer::off()));
    for layer in rig.layers() {
        router = router.layer(layer);
    }
    assert_is_untouched(&watch(&rig, router).await, "one by one");
}

#[tokio::test(start_paused = true)]
async fn the_setting_nearest_to_the_handler_wins() {
    let (near, far) = (Registry::new(), Registry::new());
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let inner = SseLayer::off()
        .keep_alive(every(1))
        .event_ids(EventIdLayer::with(|n| format!("near-{n}").try_into().unwrap()))
        .registry(RegistryLayer::new(near.clone()).label(|_| "near"))
        .shutdown(ShutdownLayer::new(shutdown.clone()).farewell(Farewell::bytes("near")));
    let outer = SseLayer::new()
        .keep_alive(every(10))
        .event_ids(EventIdLayer::sequential())
        .registry(RegistryLayer::new(far.clone()).label(|_| "far"))
        .shutdown(ShutdownLayer::new(shutdown.clone()));
    let service = outer.layer(inner.layer(handler_of(|| vec![Data("data: a\n\n"), Hang])));
    let mut body = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert_eq!((near.len(), far.len()), (1, 1), "a stream is on the lists of all its registries");
    assert_eq!(near.snapshot()[0].label.as_str(), "near");
    let seconds = read(&mut body, Duration::from_millis(4_200)).await;
    assert_eq!(seconds.text(), ":\ndata: a\nid: near-1\n\n:\n:\n:\n:\n");
    shutdown.trigger();
    assert_eq!(read(&mut body, Duration::ZERO).await.text(), "near");
}

/// As those of a server and of one of its tenants.
#[tokio::test(start_paused = true)]
async fn a_stream_is_on_the_lists_of_all_its_registries_and_shutdowns() {
    for boxes in [false, true] {
        for first_is_near in [true, false] {
            let (near, far) = (Registry::new(), Registry::new());
            let (tenant, server) = (Shutdown::new(), Shutdown::new());
            let label = |registry: &Registry, label: &'static str| {
                RegistryLayer::new(registry.clone()).label(move |_| label)
            };
            let inner = SseLayer::off()
                .registry(label(&near, "near"))
                .shutdown(tenant.clone())
                .event_ids(EventIdLayer::sequential());
            let outer = SseLayer::new().registry(label(&far, "far")).shutdown(server.clone());
            let steps = || vec![Data("data: a\n\n"), Hang];
            let service = match boxes {
                true => boxed(outer.layer(boxed(inner.layer(handler_of(steps))))),
                false => boxed(outer.layer(inner.layer(handler_of(steps)))),
            };
            let mut body = service.clone().oneshot(Request::new(())).await.unwrap().into_body();
            for (registry, label) in [(&near, "near"), (&far, "far")] {
                assert_eq!(registry.len(), 1);
                assert_eq!(registry.snapshot()[0].label.as_str(), label);
                assert_eq!(registry.broadcast(Event::new().data(label)).sent, 1);
            }
            let seen = read(&mut body, SECOND).await.text();
            for event in ["data: a\nid: 2\n", "data: near\n", "data: far\n"] {
                assert_eq!(seen.matches(event).count(), 1, "{seen}");
            }
            let first = if first_is_near { &tenant } else { &server };
            first.trigger();
            let last = read(&mut body, 10 * SECOND).await;
            assert!(last.ended);
            assert_eq!(last.text().matches("event: close\n").count(), 1, "{}", last.text());
            assert_eq!((near.len(), far.len()), (0, 0));
            // A stream that either of them refuses is seen by nobody.
            let refused = service.oneshot(Request::new(())).await.unwrap();
            assert_eq!(refused.status(), 503);
            assert_eq!((near.len(), far.len()), (0, 0));
            for shutdown in [tenant, server] {
                assert_eq!(shutdown.drain().await.forced, 0);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_label_is_that_of_the_layer_that_lists() {
    let registry = Registry::new();
    let labelled = RegistryLayer::new(registry.clone()).label(|_| "router");
    let service = labelled.layer(KeepAliveLayer::every(SECOND).layer(handler()));
    let _open = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(registry.snapshot()[0].label.as_str(), "router");
}

#[tokio::test(start_paused = true)]
async fn settings_reach_nested_and_merged_routers() {
    let rig = Rig::new();
    let inner = || Router::new().route("/", route().layer(EventIdLayer::sequential()));
    let nested = Router::new().nest("/a", inner().layer(Rig::keep_alive()));
    let merged = Router::new().route("/b", route().layer(Rig::keep_alive()));
    let merged = merged.layer(EventIdLayer::sequential());
    let router = nested.merge(merged).route("/c", route());
    let router = router.layer(RegistryLayer::new(rig.registry.clone())).layer(NoBufferLayer::new());
    for (path, kept_alive) in [("/a", true), ("/b", true), ("/c", false)] {
        let request = Request::builder().uri(path).body(()).unwrap();
        let seen = rig.watch(routed(router.clone()), request).await;
        assert_eq!(seen.entries, 1, "{path}");
        assert_eq!(seen.read.text().contains(":\n"), kept_alive, "{path}");
        assert_eq!(seen.read.text().contains("id: 1\n"), kept_alive, "{path}");
        assert!(seen.headers[2].starts_with("x-accel"), "{path}");
    }
}

/// Routers make their services anew for every connection, as axum does.
#[tokio::test(start_paused = true)]
async fn streams_of_one_layer_are_silent_for_different_times() {
    let jittered = KeepAliveLayer::every(10 * SECOND).jitter(0.5);
    let router = Router::new().route("/", get_service(handler_of(|| vec![Hang])));
    let direct = boxed(jittered.layer(handler_of(|| vec![Hang])));
    let handled = axum::routing::get(|| async {
        let stream = futures_util::stream::pending::<Result<&str, std::io::Error>>();
        let head = [("content-type", "text/event-stream")];
        (head, axum::body::Body::from_stream(stream))
    });
    let of_handler = Router::new().route("/", handled);
    for (what, service) in [
        ("a service", direct),
        ("a router of services", routed(router.layer(jittered.clone()))),
        ("a router of handlers", routed(of_handler.layer(jittered.clone()))),
        (
            "a layer in a layer",
            boxed(NoBufferLayer::new().layer(jittered.layer(handler_of(|| vec![Hang])))),
        ),
    ] {
        let mut times = Vec::new();
        for _ in 0..4 {
            let response = service.clone().oneshot(Request::new(())).await.unwrap();
            let read = read(&mut response.into_body(), 11 * SECOND).await;
            times.push(read.chunks[1].0);
        }
        times.sort_unstable();
        times.dedup();
        assert_eq!(times.len(), 4, "{what}: {times:?}");
    }
}

fn route() -> MethodRouter {
    get_service(handler())
}

async fn watch(rig: &Rig, router: Router) -> Seen {
    rig.watch(routed(router), Request::new(())).await
}

fn every(seconds: u32) -> KeepAliveLayer {
    KeepAliveLayer::every(seconds * SECOND).jitter(0.0)
}
