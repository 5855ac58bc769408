//! A stream that comes to its own end says so, where a layer asks for it.

use http::HeaderMap;
use tower::{Layer, ServiceExt};
use tower_sse::{
    CloseAtEndLayer, EventIdLayer, Farewell, KeepAliveLayer, Registry, RotationLayer, Shutdown,
    ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Fail, Hang, Trailers};
use crate::harness::bodies::{Read, Step, read};
use crate::harness::layers::{AnyLayer, Boxed, boxed, handler_of};

/// A day.
const CLOSE: &str = "event: close\nretry: 86400000\ndata: {\"reason\":\"finished\"}\n";

fn only() -> SseLayer {
    SseLayer::off().close_at_end(CloseAtEndLayer::default())
}

async fn read_all(service: Boxed) -> Read<crate::harness::bodies::Broken> {
    let request = http::Request::get("/").header("last-event-id", "41").body(()).unwrap();
    let response = service.oneshot(request).await.unwrap();
    read(&mut response.into_body(), 100 * SECOND).await
}

async fn text(layer: SseLayer, steps: fn() -> Vec<Step>) -> String {
    read_all(boxed(layer.layer(handler_of(steps)))).await.text()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_finishes_is_closed_and_keeps_its_client_away() {
    let close = format!("{CLOSE}id: 41\n\n");
    assert_eq!(text(only(), Vec::new).await, close);
    assert_eq!(text(only(), || vec![Data("data: a\n\n")]).await, format!("data: a\n\n{close}"));
    let numbered = only().event_ids(EventIdLayer::sequential());
    let seen = text(numbered, || vec![Data("data: a\n\n"), Data("data: b\n\n")]).await;
    assert_eq!(seen, format!("data: a\nid: 1\n\ndata: b\nid: 2\n\n{CLOSE}id: 2\n\n"));
    let all = only().keep_alive(KeepAliveLayer::every(SECOND)).registry(Registry::new());
    assert_eq!(text(all, || vec![Data("data: a\n\n")]).await, format!(":\ndata: a\n\n{close}"));
}

#[tokio::test(start_paused = true)]
async fn a_close_event_at_the_end_is_off_by_default_and_where_a_route_says_so() {
    let nothing: fn() -> Vec<Step> = || vec![Data("data: a\n\n")];
    assert_eq!(text(SseLayer::new(), nothing).await, ":\ndata: a\n\n");
    for near in [SseLayer::off(), SseLayer::off().close_at_end(CloseAtEndLayer::off())] {
        let service = boxed(only().layer(near.layer(handler_of(nothing))));
        assert_eq!(read_all(service).await.text(), "data: a\n\n");
    }
    let service = boxed(CloseAtEndLayer::default().layer(handler_of(nothing)));
    assert!(read_all(service).await.text().ends_with(&format!("{CLOSE}id: 41\n\n")));
}

#[tokio::test(start_paused = true)]
async fn the_farewell_is_the_one_that_was_set() {
    let nothing: fn() -> Vec<Step> = || vec![Data("data: a\n\n")];
    let bytes = SseLayer::off().close_at_end(Farewell::bytes("data: [DONE]\n\n"));
    assert_eq!(text(bytes, nothing).await, "data: a\n\ndata: [DONE]\n\n");
    let none = SseLayer::off().close_at_end(Farewell::none());
    assert_eq!(text(none, nothing).await, "data: a\n\n");
    let named = SseLayer::off().close_at_end(Farewell::reconnect());
    assert!(text(named, nothing).await.contains("event: reconnect\n"));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_is_cut_or_is_ended_by_the_server_does_not_finish() {
    let cut: fn() -> Vec<Step> = || vec![Data("data: a\n\ndata: half")];
    assert!(!text(only(), cut).await.contains("finished"));
    let service = boxed(only().layer(handler_of(|| vec![Data("data: a\n\n"), Fail("broken")])));
    let seen = read_all(service).await;
    assert_eq!((seen.text().as_str(), seen.error.is_some()), ("data: a\n\n", true));

    let rotated = only().rotation(RotationLayer::new().max_age(SECOND));
    let seen = text(rotated, || vec![Hang]).await;
    assert_eq!(seen.matches("event: close").count(), 1, "{seen}");
    assert!(seen.contains("rotated"), "{seen}");

    let shutdown = Shutdown::new();
    let service = boxed(only().shutdown(shutdown.clone()).layer(handler_of(|| vec![Hang])));
    let response = service.oneshot(http::Request::new(())).await.unwrap();
    shutdown.trigger();
    let seen = read(&mut response.into_body(), 100 * SECOND).await.text();
    assert_eq!(seen.matches("event: close").count(), 1, "{seen}");
    assert!(seen.contains("shutdown"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn the_end_reason_is_finished_on_every_list() {
    let (sender, ended) = std::sync::mpsc::channel();
    let registry = Registry::builder().on_close(move |_, reason| sender.send(reason).unwrap());
    let layer = only().registry(registry.build().unwrap());
    text(layer, || vec![Data("data: a\n\n")]).await;
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [tower_sse::EndReason::Finished]);
}

/// A drain's layer and the closing one, in any order, with trailers that the farewell replaces.
#[tokio::test(start_paused = true)]
async fn a_close_event_at_the_end_works_with_other_layers_in_any_order() {
    let shutdown = AnyLayer::Shutdown(ShutdownLayer::new(Shutdown::new()));
    let closing = AnyLayer::Sse(Box::new(
        SseLayer::off().shutdown(Shutdown::new()).close_at_end(Farewell::close()),
    ));
    let steps = || vec![Data("data: a\n\n"), Trailers(HeaderMap::new())];
    for (outer, inner) in [(&shutdown, &closing), (&closing, &shutdown)] {
        let service = boxed(outer.layer(boxed(inner.layer(handler_of(steps)))));
        let seen = read_all(service).await;
        assert_eq!(seen.text(), format!("data: a\n\n{CLOSE}id: 41\n\n"));
        assert!(seen.ended);
    }
}
