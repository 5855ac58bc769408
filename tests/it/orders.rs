//! Bytes do not depend on the order of layers, nor on boxing.

use axum::Router;
use axum::routing::get_service;
use http::Request;
use tower::Layer;

use crate::harness::layers::{Boxed, Rig, Seen, boxed, handler, routed};

#[tokio::test(start_paused = true)]
async fn layers_do_the_same_in_every_order() {
    for order in orders() {
        let rig = Rig::new();
        let layers = rig.layers();
        let [first, second, third, fourth, fifth] = order.map(|n| &layers[n]);
        let service = third.layer(fourth.layer(fifth.layer(handler())));
        let service = first.layer(second.layer(service));
        assert_is_as_expected(&rig.watch(service, request()).await, &format!("{order:?}"));
        assert!(rig.registry.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn layers_do_the_same_in_every_order_with_bodies_boxed_between() {
    for order in orders() {
        let rig = Rig::new();
        let layers = rig.layers();
        let innermost_first = order.iter().rev();
        let service = innermost_first
            .fold(boxed(handler()), |inner, &n| -> Boxed { boxed(layers[n].layer(inner)) });
        assert_is_as_expected(&rig.watch(service, request()).await, &format!("{order:?}"));
        assert!(rig.registry.is_empty());
    }
}

/// `Router::layer` boxes both the service and the body.
#[tokio::test(start_paused = true)]
async fn layers_do_the_same_in_every_order_on_a_router() {
    for order in orders() {
        let rig = Rig::new();
        let layers = rig.layers();
        let router = Router::new().route("/", get_service(handler()));
        let innermost_first = order.iter().rev();
        let router = innermost_first.fold(router, |router, &n| router.layer(layers[n].clone()));
        let service = routed(router);
        assert_is_as_expected(&rig.watch(service, request()).await, &format!("{order:?}"));
        assert!(rig.registry.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn one_layer_does_what_five_do() {
    let rig = Rig::new();
    let service = rig.all_in_one().layer(handler());
    assert_is_as_expected(&rig.watch(service, request()).await, "bare");

    let rig = Rig::new();
    let service = rig.all_in_one().layer(boxed(handler()));
    assert_is_as_expected(&rig.watch(service, request()).await, "boxed");
}

/// The same layer twice, as on a route and on its router.
#[tokio::test(start_paused = true)]
async fn what_is_asked_for_twice_is_done_once() {
    let rig = Rig::new();
    let service = rig.all_in_one().layer(rig.all_in_one().layer(handler()));
    assert_is_as_expected(&rig.watch(service, request()).await, "one in one");

    let rig = Rig::new();
    let all = rig.all_in_one();
    let mut service = boxed(all.layer(handler()));
    for layer in rig.layers() {
        service = boxed(layer.layer(service));
    }
    service = boxed(all.layer(service));
    assert_is_as_expected(&rig.watch(service, request()).await, "one in five in one");
}

#[track_caller]
fn assert_is_as_expected(seen: &Seen, what: &str) {
    assert_eq!(seen.headers, HEADERS, "{what}");
    assert_eq!(seen.entries, 1, "{what}");
    assert_eq!(seen.sent, 1, "{what}");
    let chunks: Vec<_> = seen.read.chunks.iter().map(|(at, text)| (*at, &**text)).collect();
    assert_eq!(chunks, CHUNKS, "{what}");
    assert!(seen.read.ended && seen.read.error.is_none(), "{what}");
}

fn request() -> Request<()> {
    Request::new(())
}

/// All 120.
fn orders() -> Vec<[usize; 5]> {
    let digits = |n: usize| [n / 625 % 5, n / 125 % 5, n / 25 % 5, n / 5 % 5, n % 5];
    let orders: Vec<_> = (0..5_usize.pow(5))
        .map(digits)
        .filter(|order| (0..5).all(|n| order.contains(&n)))
        .collect();
    assert_eq!(orders.len(), 120);
    orders
}

const HEADERS: [&str; 3] = [
    "cache-control: \"private, no-cache, no-transform\"",
    "content-type: \"text/event-stream\"",
    "x-accel-buffering: \"no\"",
];

const CHUNKS: &[(u128, &str)] = &[
    (0, ":\n"),
    (3_000, "data: a\nid: 1\n\n"),
    (6_000, "event: b\ndata: b\nid: 2\n\n: by the handler\n\n"),
    (15_000, ":\n"),
    (21_000, "event: news\ndata: x\nid: 3\n\n"),
    (30_000, ":\n"),
    (33_000, "event: beat\ndata: {}\n\n"),
    (40_000, ":\n"),
    (42_000, "event: close\nretry: 785\ndata: {\"reason\":\"shutdown\"}\nid: 3\n\n"),
];
