//! What a registry and a drain show, as JSON.

use std::time::Duration;

use serde_json::{Value, json, to_value};
use tower::Layer;
use tower_sse::{
    EndReason, Event, EventIdLayer, Farewell, KeepAliveLayer, Label, Registry, RegistryLayer,
    Shutdown, SseLayer, StreamId,
};

use crate::harness::rig::{Handler, get, open, open_with};

/// The names and the units are what dashboards are built on.
#[tokio::test(start_paused = true)]
async fn a_listed_stream_is_told_by_these_names() {
    let registry = Registry::builder().count_events(true).build().unwrap();
    let layer = SseLayer::new()
        .keep_alive(KeepAliveLayer::every(Duration::from_secs(20)).jitter(0.0))
        .event_ids(EventIdLayer::sequential())
        .registry(RegistryLayer::new(registry.clone()).label(|_| "user 7"));
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: a\n\n");
    client.now().await;
    // The first half of an interval has something in it, so the comment is for the second.
    client.during(Duration::from_secs(21)).await;
    tokio::time::advance(Duration::from_millis(1500)).await;

    let listed = registry.snapshot();
    let expected = json!({
        "id": listed[0].id.to_string(),
        "label": "user 7",
        "method": "GET",
        "path": "/events",
        "age_secs": 22.5,
        "last_event_id": "1",
        "bytes": ":\ndata: a\nid: 1\n\n:\n".len(),
        "keepalives": 1,
        "events": 1,
        "last_sent_secs_ago": 2.5,
        "last_polled_secs_ago": 1.5,
        "state": "open",
    });
    assert_eq!(to_value(&listed).unwrap(), json!([expected]));
    let id: StreamId = expected["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id, listed[0].id);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_null() {
    let registry = Registry::new();
    let layer = SseLayer::off().registry(registry.clone());
    let (_feed, _client) = open_with(&mut layer.layer(Handler), get());
    registry.close_where(|_| true, Farewell::close());

    let listed = to_value(registry.snapshot()).unwrap();
    for name in ["last_event_id", "events", "last_sent_secs_ago", "last_polled_secs_ago"] {
        assert_eq!(listed[0].get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!(listed[0]["label"], "");
    assert_eq!(listed[0]["state"], "closing");
}

#[tokio::test(start_paused = true)]
async fn reports_are_told_by_the_names_of_their_fields() {
    let (registry, shutdown) = (Registry::new(), Shutdown::new());
    let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
    let (_feed, client) = open(&mut layer.layer(Handler));
    let delivery = registry.broadcast(Event::new().data("x"));
    assert_eq!(to_value(delivery).unwrap(), json!({ "sent": 1, "dropped": 0 }));

    let (report, _) = tokio::join!(shutdown.drain(), client.rest());
    let told = to_value(report).unwrap();
    for (name, count) in [("closed", 1), ("finished", 0), ("cut", 0), ("forced", 0)] {
        assert_eq!(told[name], count, "{name}");
    }
    assert_eq!(told["elapsed_secs"], report.elapsed.as_secs_f64());
}

#[test]
fn words_are_told_as_they_are_everywhere_else() {
    assert_eq!(to_value(EndReason::ClientGone).unwrap(), "client_gone");
    assert_eq!(to_value(Label::from("user 7")).unwrap(), "user 7");
}
