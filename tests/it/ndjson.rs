//! What the layers do for streams of JSON lines, and for JSON text sequences.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use http_body::Body as _;
use tokio::time::{advance, interval};
use tokio_stream::wrappers::IntervalStream;
use tower::{Layer, ServiceExt};
use tower_sse::{
    CloseAtEndLayer, EndReason, Event, EventId, EventIdLayer, EventName, Expiry, Farewell,
    KeepAliveLayer, Limit, Registry, RotationLayer, ShutdownLayer, SseLayer, StreamInfo,
};

use crate::harness::SECOND;
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client as SocketClient, Version, listen, read_until};
use crate::harness::rig::{Client, Fate, Feed, HandlerOf, Piece, at_once, call, open, open_with};

const LINES: &str = "application/x-ndjson";
const RECORDS: &str = "application/json-seq";
const ALL: [&str; 9] = [
    LINES,
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/stream+json; charset=utf-8",
    "Application/X-NDJSON",
    RECORDS,
];

fn opened(layer: SseLayer, content_type: &'static str) -> (Feed, Client) {
    open(&mut layer.layer(HandlerOf(content_type)))
}

fn close(name: &str, reason: &str) -> String {
    format!("{{\"type\":\"{name}\",\"reason\":\"{reason}\"}}\n")
}

#[tokio::test(start_paused = true)]
async fn streams_of_json_are_told_by_their_content_type_and_looked_after() {
    for content_type in ALL {
        let (registry, shutdown) = (Registry::new(), at_once());
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        let mut service = layer.layer(HandlerOf(content_type));
        let response = call(&mut service, Request::get("/").body(()).unwrap());
        assert_eq!(response.headers()["x-accel-buffering"], "no", "{content_type}");
        assert_eq!(response.headers()["cache-control"], "no-cache, no-transform");
        assert_eq!(response.body().size_hint().exact(), None);
        let _feed = response.extensions().get::<Feed>().cloned();
        let mut client = Client::of(response);
        assert_eq!(client.now().await, (String::new(), Fate::Open), "{content_type}");
        assert_eq!(registry.len(), 1, "{content_type}");
        shutdown.trigger();
        let separator = if content_type == RECORDS { "\u{1e}" } else { "" };
        let expected = format!("{separator}{}", close("close", "shutdown"));
        assert_eq!(client.now().await, (expected, Fate::Ended), "{content_type}");
    }
    for other in ["application/json", "application/x-ndjson-2", "application/jsonp"] {
        let registry = Registry::new();
        let _open = opened(SseLayer::new().registry(registry.clone()), other);
        assert!(registry.is_empty(), "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_comment_and_no_heartbeat_gets_into_a_stream_of_json() {
    let beat = EventName::from_static("beat");
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::every(SECOND).heartbeat(beat, SECOND));
    for content_type in [LINES, RECORDS] {
        let (feed, mut client) = opened(layer.clone(), content_type);
        for _ in 0..8 {
            advance(SECOND).await;
            assert_eq!(client.now().await, (String::new(), Fate::Open));
        }
        feed.data("{}\n");
        assert_eq!(client.now().await.0, "{}\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_of_json_gets_the_line_that_was_asked_for() {
    for (line, expected) in [("", "\n"), (r#"{"type":"BOOKMARK"}"#, "{\"type\":\"BOOKMARK\"}\n")] {
        let registry = Registry::new();
        let keep_alive = KeepAliveLayer::every(SECOND).jitter(0.0).json_line(line);
        let layer = SseLayer::new().keep_alive(keep_alive).registry(registry.clone());
        let (feed, mut client) = opened(layer, LINES);
        assert_eq!(client.now().await.0, "", "nothing is written before there is silence");
        feed.data("{\"a\":");
        let mut seen = String::new();
        for _ in 0..4 {
            advance(SECOND / 2).await;
            seen += &client.now().await.0;
        }
        // Never into the line that has begun.
        assert_eq!(seen, expected.repeat(seen.matches('\n').count()));
        assert!(!seen.is_empty());
        assert_eq!(registry.snapshot()[0].keepalives as usize, seen.matches('\n').count());
        feed.data("1}\n");
        assert_eq!(client.now().await.0, "{\"a\":1}\n");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_leave_whole_whatever_the_chunks() {
    let (feed, mut client) = opened(SseLayer::new(), LINES);
    feed.data("{\"a\":1}\n{\"b\"");
    assert_eq!(client.now().await.0, "{\"a\":1}\n");
    feed.data(":2}\r");
    assert_eq!(client.now().await.0, "");
    feed.data("\n");
    assert_eq!(client.now().await.0, "{\"b\":2}\r\n");
}

#[tokio::test(start_paused = true)]
async fn the_last_line_needs_no_line_end_and_trailers_follow_it() {
    for closing in [false, true] {
        let mut layer = SseLayer::new();
        if closing {
            layer = layer.close_at_end(CloseAtEndLayer::default());
        }
        let (feed, mut client) = opened(layer, LINES);
        feed.data("1\n2");
        feed.give(Piece::Trailers);
        drop(feed);
        let mut text = String::new();
        let mut trailers = 0;
        while let Some(frame) = http_body_util::BodyExt::frame(&mut client.body()).await {
            match frame.unwrap().into_data() {
                Ok(data) => text += std::str::from_utf8(&data).unwrap(),
                Err(_) => trailers += 1,
            }
        }
        let last =
            if closing { format!("\n{}", close("close", "finished")) } else { String::new() };
        assert_eq!((text, trailers), (format!("1\n2{last}"), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_line_of_a_drain_is_json_or_the_users_own() {
    let own = Event::new().event(EventName::from_static("done")).data("{\"done\":\ntrue}");
    for (farewell, expected) in [
        (Farewell::close(), close("close", "shutdown")),
        (Farewell::reconnect(), close("reconnect", "shutdown")),
        (Farewell::event(own), "{\"done\": true}\n".into()),
        (Farewell::bytes("[]\n"), "[]\n".into()),
        (Farewell::none(), String::new()),
    ] {
        let shutdown = at_once();
        let closing = ShutdownLayer::new(shutdown.clone()).farewell(farewell);
        let (feed, mut client) = opened(SseLayer::new().shutdown(closing), LINES);
        feed.data("1\n2");
        assert_eq!(client.now().await.0, "1\n");
        shutdown.trigger();
        // The line that has not ended is dropped, as half an event is.
        assert_eq!(client.now().await, (expected, Fate::Ended));
        assert!(feed.is_gone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_becomes_a_line_where_that_is_asked_for() {
    let closing = ShutdownLayer::new(at_once()).farewell_on_error(Farewell::close());
    let (feed, mut client) = opened(SseLayer::new().shutdown(closing), LINES);
    feed.data("1\n2");
    feed.give(Piece::Fail);
    assert_eq!(client.now().await, (format!("1\n{}", close("close", "error")), Fate::Ended));

    let (feed, mut client) = opened(SseLayer::new(), LINES);
    feed.data("1\n");
    feed.give(Piece::Fail);
    assert_eq!(client.now().await, ("1\n".to_owned(), Fate::Failed));
}

#[tokio::test(start_paused = true)]
async fn a_sent_event_is_its_data_as_a_line_and_has_no_place_without() {
    let registry = Registry::builder().count_events(true).build().unwrap();
    let layer = SseLayer::new().registry(registry.clone()).event_ids(EventIdLayer::sequential());
    for (content_type, separator) in [(LINES, ""), (RECORDS, "\u{1e}")] {
        let (feed, mut client) = opened(layer.clone(), content_type);
        feed.data(format!("{separator}{{}}\n{separator}1"));
        client.now().await;
        let named = Event::new().event(EventName::from_static("price"));
        let event = named.id(EventId::from_static("7")).data("{\"price\":\r\n 1}");
        assert_eq!(registry.broadcast(event).sent, 1);
        let expected = format!("{separator}{{\"price\":  1}}\n");
        assert_eq!(client.now().await.0, expected, "without its name and its id");
        for nothing in [Event::new().comment("x"), Event::new().data("")] {
            assert_eq!(registry.broadcast(nothing).sent, 1);
            assert_eq!(client.now().await.0, "");
        }
        feed.data("2\n");
        assert_eq!(client.now().await.0, format!("{separator}12\n"), "ids are for events only");
        let [stream] = &registry.snapshot()[..] else { panic!("one stream is open") };
        assert_eq!((stream.events, stream.last_event_id.as_ref()), (Some(3), None));
    }
}

#[tokio::test(start_paused = true)]
async fn streams_of_json_are_listed_closed_and_end_for_their_reasons() {
    let ended = Arc::<Mutex<Vec<EndReason>>>::default();
    let seen = Arc::clone(&ended);
    let hook = move |_: &StreamInfo, reason| seen.lock().unwrap().push(reason);
    let registry = Registry::builder().on_close(hook).build().unwrap();
    let layer = SseLayer::new().registry(registry.clone()).hold_limit(8);

    let (feed, mut client) = opened(layer.clone(), LINES);
    feed.data("1\n");
    client.now().await;
    registry.close_where(|_| true, Farewell::close());
    assert_eq!(client.now().await, (close("close", "kicked"), Fate::Ended));

    let aged = layer.clone().rotation(RotationLayer::new().max_age(SECOND));
    let (_feed, mut client) = opened(aged, LINES);
    client.now().await;
    advance(2 * SECOND).await;
    assert_eq!(client.now().await, (close("close", "rotated"), Fate::Ended));

    let mut service = layer.clone().layer(HandlerOf(LINES));
    let expiry = Expiry::at(std::time::SystemTime::now() - SECOND);
    let request = Request::get("/").extension(expiry).body(()).unwrap();
    let (_feed, mut client) = open_with(&mut service, request);
    assert_eq!(client.now().await, (close("close", "expired"), Fate::Ended));

    // A line that is too long to be held flows, and its end is an end.
    let (feed, mut client) = opened(layer.clone(), LINES);
    feed.data("0123456789");
    assert_eq!(client.now().await.0, "0123456789");
    drop(feed);
    assert_eq!(client.now().await, (String::new(), Fate::Ended));

    let (feed, mut client) = opened(layer, LINES);
    feed.data("1\n");
    client.now().await;
    drop(client);
    let reasons = [EndReason::Kicked, EndReason::Rotated, EndReason::Rotated, EndReason::Finished];
    assert_eq!(ended.lock().unwrap()[..], [&reasons[..], &[EndReason::ClientGone]].concat());
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_json_above_a_limit_or_in_a_drain_gets_a_status() {
    let (limit, shutdown) = (Limit::new(1), at_once());
    let layer = SseLayer::new().limit(limit).shutdown(shutdown.clone());
    let mut service = layer.layer(HandlerOf(LINES));
    let request = || Request::get("/").header("accept", LINES).body(()).unwrap();
    let (_feed, mut client) = open_with(&mut service, request());
    client.now().await;
    let refused = call(&mut service, request());
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.body().is_end_stream());
    shutdown.trigger();
    let refused = call(&mut service, request());
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn an_idle_stream_of_json_ends_and_keepalives_do_not_count() {
    let keep_alive = KeepAliveLayer::every(SECOND).json_line("");
    let rotation = RotationLayer::new().idle(10 * SECOND);
    let (feed, mut client) =
        opened(SseLayer::new().keep_alive(keep_alive).rotation(rotation), LINES);
    feed.data("1\n");
    let mut seen = String::new();
    for _ in 0..60 {
        advance(SECOND).await;
        let (text, fate) = client.now().await;
        seen += &text;
        if fate == Fate::Ended {
            break;
        }
    }
    assert!(seen.ends_with(&close("close", "idle")), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sockets_every_line_is_whole_and_the_last_one_says_that_the_server_shuts_down() {
    for version in [H1, H2] {
        drain_on_a_socket(version).await;
    }
}

async fn drain_on_a_socket(version: Version) {
    let shutdown = at_once();
    let app = Router::new()
        .route(
            "/watch",
            get(async || {
                let ticks = IntervalStream::new(interval(Duration::from_millis(5)));
                // Half a line each.
                let halves = stream::iter(["{\"tick\":", "1}\n"]).cycle();
                let body =
                    ticks.zip(halves).map(|(_, half)| Ok::<_, axum::Error>(Bytes::from(half)));
                ([("content-type", LINES)], Body::from_stream(body))
            }),
        )
        .layer(SseLayer::new().shutdown(shutdown.clone()));
    let (listener, address) = listen().await;
    let until = shutdown.clone();
    let server = tokio::spawn(async move {
        let until = async move { until.triggered().await };
        axum::serve(listener, app).with_graceful_shutdown(until).await.unwrap();
    });
    let mut client = SocketClient::connect(address, version).await;
    let (mut body, mut text) = (client.get("/watch").await.into_body(), String::new());
    read_until(&mut body, &mut text, |text| text.len() > 30).await.unwrap();
    shutdown.trigger();
    read_until(&mut body, &mut text, |_| false).await.unwrap();
    let lines = text.strip_suffix(&close("close", "shutdown")).expect("the last line is JSON");
    assert!(lines.lines().all(|line| line == "{\"tick\":1}") && lines.ends_with('\n'), "{text}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_handler_of_axum_needs_nothing_but_the_content_type() {
    let registry = Registry::new();
    let body = || Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>());
    let app = Router::new()
        .route("/", get(async move || ([("content-type", LINES)], body())))
        .layer(SseLayer::new().registry(registry.clone()));
    let response = app.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
    let headers: &HeaderMap = response.headers();
    assert_eq!((headers["content-type"].to_str().unwrap(), registry.len()), (LINES, 1));
}
