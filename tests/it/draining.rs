//! Who comes while the server drains is told when to come back, and keeps their place.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body::Body;
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{EventIdLayer, Registry, Shutdown, ShutdownLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{
    Client, Fate, Feed, Handler, LIKELY, call, get, open, open_with, unevenness,
};

/// A shutdown that drains already, and has clients wait for 2 to 10 seconds.
fn draining() -> Shutdown {
    let shutdown = Shutdown::builder().retry(2 * SECOND..=10 * SECOND).build().unwrap();
    shutdown.trigger();
    shutdown
}

#[tokio::test(start_paused = true)]
async fn an_event_source_is_refused_with_an_event() {
    let registry = Registry::new();
    let layer = SseLayer::new().registry(registry.clone()).shutdown(draining());
    let mut response = call(&mut layer.layer(Handler), get());
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!response.headers().contains_key("x-accel-buffering"), "it is over at once");
    assert!(registry.is_empty());
    let feed = response.extensions_mut().remove::<Feed>().unwrap();
    assert!(feed.is_gone() && !feed.was_polled());

    let mut client = Client::of(response);
    assert!(!client.body().is_end_stream());
    let (seen, fate) = client.now().await;
    assert_eq!((seen, fate), (":\nevent: draining\nretry: 2000\ndata: {}\n\n".into(), Fate::Ended));
    assert!(client.body().is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_client_keeps_the_place_that_it_brings() {
    let long = "x".repeat(8 * 1024);
    #[rustfmt::skip]
    let table: &[(&[u8], Option<&str>)] = &[
        (b"41",                      Some("41")),
        (b"orders/42:7f",            Some("orders/42:7f")),
        ("h\u{e9}llo".as_bytes(),    Some("h\u{e9}llo")),
        (b"two words",               Some("two words")),
        (b"",                        None),
        (b"\xff\xfe",                None),
        (long.as_bytes(),            None),
    ];
    for (header, id) in table {
        let mut request = get();
        request.headers_mut().insert("last-event-id", HeaderValue::from_bytes(header).unwrap());
        let layer = SseLayer::new().event_ids(EventIdLayer::sequential()).shutdown(draining());
        let (_, mut client) = open_with(&mut layer.layer(Handler), request);
        let (seen, fate) = client.now().await;
        let id_line = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        let expected = format!(":\nevent: draining\nretry: 2000\ndata: {{}}\n{id_line}\n");
        assert_eq!((seen.as_str(), fate), (&*expected, Fate::Ended));
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(seen.as_bytes()).len(), 1);
        assert_eq!(decoder.last_event_id(), id.unwrap_or_default());
    }
}

#[test]
fn no_header_can_hold_what_would_break_a_line() {
    for id in ["\0", "a\nb", "a\r", "a\r\ndata: x\r\n\r\n"] {
        assert!(HeaderValue::from_bytes(id.as_bytes()).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_accept_events_gets_503() {
    for accept in [None, Some("*/*"), Some("text/html, application/json"), Some("\u{e9}")] {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert("accept", HeaderValue::from_bytes(accept.as_bytes()).unwrap());
        }
        let mut request = Request::post("/answer").body(()).unwrap();
        *request.headers_mut() = headers;
        let layer = SseLayer::new().shutdown(draining());
        let response = call(&mut layer.layer(Handler), request);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{accept:?}");
        assert_eq!(response.headers()["retry-after"], "2");
        assert!(!response.headers().contains_key("content-type"));
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert_eq!(Client::of(response).now().await, (String::new(), Fate::Ended));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_accepts_events_among_other_types_gets_an_event() {
    for accept in
        ["text/event-stream", "application/json, text/event-stream", "TEXT/Event-Stream;q=0.9"]
    {
        let request = Request::get("/").header("accept", accept).body(()).unwrap();
        let response = call(&mut ShutdownLayer::new(draining()).layer(Handler), request);
        assert_eq!(response.status(), StatusCode::OK, "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_clients_are_told_to_come_back_spread_over_time_and_never_at_once() {
    let shutdown = draining();
    let mut service = ShutdownLayer::new(shutdown).layer(Handler);
    let mut retries = Vec::new();
    for _ in 0..10_000 {
        let (_, client) = open(&mut service);
        let mut decoder = Decoder::new();
        decoder.decode(client.rest().await.as_bytes());
        let retry = decoder.retry().unwrap().as_secs_f64();
        assert!((2.0..=10.0).contains(&retry));
        retries.push((retry - 2.0) / 8.0);
    }
    assert!(unevenness(&mut retries) < LIKELY);

    let mut seconds = [0_u32; 11];
    for _ in 0..1_000 {
        let request = Request::get("/").body(()).unwrap();
        let response = call(&mut service, request);
        let after: usize = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        seconds[after] += 1;
    }
    assert!(seconds[3..].iter().all(|&count| (100..150).contains(&count)), "{seconds:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_below_a_second_is_a_second_of_retry_after() {
    let millis = Duration::from_millis;
    let shutdown = Shutdown::builder().retry(millis(1)..=millis(900)).build().unwrap();
    shutdown.trigger();
    let mut service = ShutdownLayer::new(shutdown).layer(Handler);
    for _ in 0..10 {
        let response = call(&mut service, Request::get("/").body(()).unwrap());
        assert_eq!(response.headers()["retry-after"], "1");
    }
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_no_streams_and_routes_with_off_are_answered_as_before() {
    let shutdown = draining();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let head = call(&mut service, Request::head("/").body(()).unwrap());
    assert_eq!(head.status(), StatusCode::OK);

    let left_alone = ShutdownLayer::off().layer(Handler);
    let (feed, mut client) = open(&mut ShutdownLayer::new(shutdown).layer(left_alone));
    feed.data("data: a\n\n");
    assert_eq!(client.now().await, ("data: a\n\n".into(), Fate::Open));
}
