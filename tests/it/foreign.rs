//! Middleware between the layers that loses what they tell each other.

use http::Request;
use http_body_util::{BodyStream, StreamBody};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tower::{Layer, ServiceExt};
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_sse::Registry;

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang, Wait};
use crate::harness::bodies::read;
use crate::harness::layers;
use crate::harness::layers::{
    AnyLayer, Boxed, NAMES, Rig, assert_is_untouched, boxed, dropping_extensions, events, handler,
    handler_of, off, on,
};

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_through_middleware_that_drops_nothing() {
    assert_events_are_the_same(false, false).await;
    assert_farewell_moves_nobody(false, false).await;
}

/// The outer layers learn from the response what was done; what was done must not depend on them.
#[tokio::test(start_paused = true)]
async fn middleware_that_drops_request_extensions_changes_no_event() {
    assert_events_are_the_same(true, false).await;
}

#[tokio::test(start_paused = true)]
async fn middleware_that_drops_request_extensions_lets_no_farewell_move_a_client() {
    assert_farewell_moves_nobody(true, false).await;
}

/// The inner layers were told everything, so they did everything.
#[tokio::test(start_paused = true)]
async fn middleware_that_drops_response_extensions_changes_no_event() {
    assert_events_are_the_same(false, true).await;
}

#[tokio::test(start_paused = true)]
async fn middleware_that_drops_response_extensions_lets_no_farewell_move_a_client() {
    assert_farewell_moves_nobody(false, true).await;
}

#[tokio::test(start_paused = true)]
async fn middleware_that_drops_response_extensions_undoes_no_off() {
    for name in NAMES {
        let rig = Rig::new();
        let inner = boxed(off(name).layer(handler()));
        let service = on(&rig, name).layer(dropping_extensions(inner, false, true));
        let seen = rig.watch(service, Request::new(())).await;
        assert_is_untouched(&seen, name);
    }
}

/// Layers that know nothing of each other: what the handler said is the same all the same.
#[tokio::test(start_paused = true)]
async fn middleware_that_drops_all_extensions_changes_no_event_of_the_handler() {
    for inner in 0..32 {
        let what = split_names(inner);
        let rig = Rig::new();
        let service = split(&rig, inner, true, true, boxed(handler()));
        let seen = rig.watch(service, Request::new(())).await;
        assert_eq!((seen.entries, seen.sent), (1, 1), "{what:?}");
        assert!(seen.read.ended, "{what:?}");
        let mut events = seen.events();
        assert_eq!(events.len(), 5, "{what:?}");
        assert_eq!(events.pop().unwrap().0, "close", "{what:?}");
        events.retain(|(name, ..)| name == "message" || name == "b");
        assert_eq!(events, layers::events(CLIENT_SEES)[..2], "{what:?}");
        let text = seen.read.text();
        let (of_the_stream, _farewell) = text.split_once("event: close").unwrap();
        for id in ["id: 1\n", "id: 2\n"] {
            assert_eq!(of_the_stream.matches(id).count(), 1, "{what:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_layers_on_both_sides_of_such_middleware_do_their_work_once() {
    for (dropped, request, response) in DROPS {
        let rig = Rig::new();
        let inner = boxed(rig.all_in_one().layer(handler()));
        let service = rig.all_in_one().layer(dropping_extensions(inner, request, response));
        let seen = rig.watch(service, Request::new(())).await;
        let text = seen.read.text();
        assert_eq!(text.matches("event: close").count(), 1, "{dropped}: {text}");
        assert_eq!(text.matches("data: a\nid: 1\n\n").count(), 1, "{dropped}: {text}");
        assert!(seen.read.ended, "{dropped}");
        if !request || !response {
            assert_eq!(seen.entries, 1, "{dropped}");
            assert_eq!(text.matches("event: news").count(), 1, "{dropped}: {text}");
        }
        assert!(rig.registry.is_empty(), "{dropped}");
    }
}

/// As middleware does that maps the frames of a body.
#[tokio::test(start_paused = true)]
async fn a_wrapper_that_computes_its_size_by_itself_changes_nothing() {
    for finite in [false, true] {
        let steps = move || match finite {
            true => vec![Data("data: a\n\n"), Wait(SECOND), Data("data: b\n\n")],
            false => vec![Data("data: a\n\n"), Wait(SECOND), Data("data: b\n\n"), Hang],
        };
        let plain = Rig::new();
        let expected =
            plain.watch(plain.all_in_one().layer(handler_of(steps)), Request::new(())).await;
        for wrapped_in in 0..6 {
            let (rig, closed) = (Rig::new(), Arc::new(AtomicUsize::new(0)));
            let count = Arc::clone(&closed);
            let registry = Registry::builder().on_close(move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            let rig = Rig { registry: registry.build().unwrap(), ..rig };
            let layers = rig.layers().into_iter().enumerate();
            let wrap = |service: Boxed, (n, layer): (usize, AnyLayer)| {
                let service = if n == wrapped_in { rewrapped(service) } else { service };
                boxed(layer.layer(service))
            };
            let seen =
                rig.watch(layers.fold(boxed(handler_of(steps)), wrap), Request::new(())).await;
            assert_eq!(seen.read.chunks, expected.read.chunks, "{wrapped_in}");
            assert_eq!((seen.read.ended, seen.entries), (true, 1), "{wrapped_in}");
            assert_eq!(closed.load(Ordering::Relaxed), 1, "{wrapped_in}");
        }
    }
}

fn rewrapped(inner: Boxed) -> Boxed {
    boxed(MapResponseBodyLayer::new(|body| StreamBody::new(BodyStream::new(body))).layer(inner))
}

const DROPS: [(&str, bool, bool); 4] = [
    ("nothing", false, false),
    ("request extensions", true, false),
    ("response extensions", false, true),
    ("both", true, true),
];

/// The five layers; those whose bit is set in `inner` within the middleware, the others around it.
fn split(rig: &Rig, inner: u8, request: bool, response: bool, handler: Boxed) -> Boxed {
    let layers = rig.layers().into_iter().enumerate();
    let (within, around): (Vec<_>, Vec<_>) = layers.partition(|(n, _)| inner & (1 << n) != 0);
    let wrap = |service: Boxed, (_, layer): (usize, AnyLayer)| boxed(layer.layer(service));
    let service = within.into_iter().fold(handler, wrap);
    around.into_iter().fold(dropping_extensions(service, request, response), wrap)
}

/// In whatever way the layers are split around middleware that drops these extensions.
async fn assert_events_are_the_same(request: bool, response: bool) {
    let mut wrong = Vec::new();
    for inner in 0..32 {
        let rig = Rig::new();
        let service = split(&rig, inner, request, response, boxed(handler()));
        let seen = rig.watch(service, Request::new(())).await;
        if seen.events() != events(CLIENT_SEES) || seen.entries != 1 || !seen.read.ended {
            let text = seen.read.text();
            wrong.push(format!("{:?} {}: {text:?}", split_names(inner), seen.entries));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Before the first event there is no id to restate, so a farewell has none.
async fn assert_farewell_moves_nobody(request: bool, response: bool) {
    let mut wrong = Vec::new();
    for inner in 0..32 {
        let rig = Rig::new();
        let silent = boxed(handler_of(|| vec![Hang]));
        let service = split(&rig, inner, request, response, silent);
        let response = service.oneshot(Request::new(())).await.unwrap();
        rig.shutdown.trigger();
        let text = read(&mut response.into_body(), SECOND).await.text();
        if text.contains("id:") || text.matches("event: close").count() != 1 {
            wrong.push(format!("{:?}: {text:?}", split_names(inner)));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

fn split_names(inner: u8) -> Vec<&'static str> {
    (0..5).filter(|n| inner & (1 << n) != 0).map(|n| NAMES[n]).collect()
}

/// What a client sees of the handler's stream, with all layers.
const CLIENT_SEES: &str = "data: a\nid: 1\n\nevent: b\ndata: b\nid: 2\n\n\
    event: news\ndata: x\nid: 3\n\nevent: beat\ndata: {}\n\n\
    event: close\ndata: {\"reason\":\"shutdown\"}\nid: 3\n\n";
