//! Handlers of axum use the types of this crate as they are.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::sse::{self, Sse};
use axum::routing::get;
use axum::{Router, http::Request};
use futures_util::stream;
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::ServiceExt;
use tower_sse::wire::Decoder;
use tower_sse::{Event, EventId, EventName};

/// The bytes that axum writes for an event.
async fn written_by_axum(event: sse::Event) -> Vec<u8> {
    let answer = || async move { Sse::new(stream::iter([Ok::<_, Infallible>(event)])) };
    let app: Router = Router::new().route("/", get(answer));
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes().into()
}

/// What a page reads, and how long it waits before it reconnects.
fn read(bytes: &[u8]) -> (Vec<(String, String, String)>, Option<Duration>) {
    let mut decoder = Decoder::new();
    let events = decoder.decode(bytes).into_iter();
    let events = events.map(|it| (it.event, it.data, it.last_event_id)).collect();
    (events, decoder.retry())
}

#[test]
fn an_event_of_axum_becomes_one_with_the_same_fields() {
    let event = sse::Event::default()
        .comment("one")
        .comment("")
        .event("order")
        .id("7")
        .retry(Duration::from_millis(1500))
        .data("a\nb");
    let expected = Event::new()
        .comment("one")
        .comment("")
        .event(EventName::from_static("order"))
        .id(EventId::from_static("7"))
        .retry(Duration::from_millis(1500))
        .data("a\nb");
    assert_eq!(Event::try_from(event), Ok(expected));
    assert_eq!(Event::try_from(sse::Event::default()), Ok(Event::new()));
    let keep_alive = Event::try_from(sse::Event::DEFAULT_KEEP_ALIVE).unwrap();
    assert_eq!(keep_alive.encode(), ":\n");
}

#[test]
fn a_name_with_a_nul_that_axum_lets_pass_is_an_error() {
    let error = Event::try_from(sse::Event::default().event("a\0b").data("x")).unwrap_err();
    assert_eq!(error.to_string(), "event name has a NUL, CR or LF at byte 1");
}

proptest! {
    #[test]
    fn a_page_reads_the_same_from_an_event_of_axum_before_and_after_the_conversion(
        data in "([a: \0]|\r\n|\r|\n|data: |id: |[^a]){0,9}",
        name in proptest::option::of("([a: ]|[^\0\r\n]){0,3}"),
        id in proptest::option::of("([a: ]|[^\0\r\n]){0,3}"),
        millis in proptest::option::of(1..10_000_u64),
        comment in proptest::option::of("[a: ]{0,3}"),
    ) {
        let mut event = sse::Event::default();
        if let Some(name) = name {
            event = event.event(name);
        }
        if let Some(comment) = comment {
            event = event.comment(comment);
        }
        if let Some(id) = id {
            event = event.id(id);
        }
        if let Some(millis) = millis {
            event = event.retry(Duration::from_millis(millis));
        }
        let event = event.data(data);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let axums = runtime.block_on(written_by_axum(event.clone()));
        let ours = Event::try_from(event)?.encode();
        let (events, retry) = read(&axums);
        prop_assert_eq!((events, retry), read(&ours));
    }
}

#[cfg(feature = "hub")]
mod hub {
    use axum::extract::{Query, State};
    use axum::response::IntoResponse;
    use http::{HeaderMap, StatusCode};
    use tokio::time::timeout;
    use tower_sse::event_log::{Start, Topic};
    use tower_sse::hub::Subscription;
    use tower_sse::{Hub, SseLayer};

    use super::*;

    const NEWS: Topic = Topic::from_static("news");

    async fn events(State(hub): State<Hub>, start: Start) -> Subscription {
        hub.subscribe(NEWS).start(start)
    }

    /// A hub with three events, and their ids.
    fn hub() -> (Hub, [EventId; 3]) {
        let hub = Hub::default();
        let ids = ["one", "two", "three"]
            .map(|data| hub.publish_blocking(&NEWS, Event::new().data(data)).unwrap());
        (hub, ids)
    }

    /// The headers, and the text of the first second.
    async fn seen(app: Router, uri: &str, header: Option<&str>) -> (HeaderMap, String) {
        let mut request = Request::get(uri);
        if let Some(id) = header {
            request = request.header("last-event-id", id);
        }
        let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let (head, mut body) = response.into_parts();
        let mut text = String::new();
        while let Ok(Some(frame)) = timeout(Duration::from_secs(1), body.frame()).await {
            text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
        (head.headers, text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_returns_the_subscription_and_takes_the_place_that_the_client_asks_for() {
        let (hub, [one, two, three]) = hub();
        let app = Router::new().route("/", get(events)).with_state(hub);
        let rest = format!("data: two\nid: {two}\n\n");
        for (uri, header) in [
            ("/".to_owned(), Some(one.as_str())),
            (format!("/?last_event_id={one}"), None),
            (format!("/?last_event_id={three}"), Some(one.as_str())),
        ] {
            let (headers, text) = seen(app.clone(), &uri, header).await;
            assert_eq!(headers["content-type"], "text/event-stream");
            assert_eq!(headers["cache-control"], "no-cache");
            assert!(text.starts_with(&rest), "{uri} {header:?} {text}");
        }
        let (_, live) = seen(app.clone(), "/", None).await;
        assert_eq!(live, "");
        let (_, gap) = seen(app, "/", Some("no such id")).await;
        assert!(gap.starts_with("event: gap\n"), "{gap}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_always_has_a_start_whatever_its_header_has() {
        async fn show(start: Start) -> String {
            format!("{start:?}")
        }
        let app: Router = Router::new().route("/", get(show));
        for (header, expected) in [
            (&b"7-1"[..], "After(EventId(\"7-1\"))"),
            (b"", "Live"),
            (b"\xff", "Unknown"),
            (b"earliest", "Earliest"),
        ] {
            let request = Request::get("/").header("last-event-id", header);
            let response = app.clone().oneshot(request.body(Body::empty()).unwrap());
            let body = response.await.unwrap().into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_is_a_response_in_a_result_and_under_the_layers() {
        #[derive(serde::Deserialize)]
        struct Ask {
            topic: String,
        }
        async fn ask(
            State(hub): State<Hub>,
            start: Start,
            Query(ask): Query<Ask>,
        ) -> Result<impl IntoResponse, StatusCode> {
            let topic = Topic::new(ask.topic).map_err(|_| StatusCode::NOT_FOUND)?;
            Ok(hub.subscribe(topic).start(start))
        }
        let (hub, [one, ..]) = hub();
        let app = Router::new().route("/", get(ask)).layer(SseLayer::new()).with_state(hub);
        let request = Request::get("/?topic=a..b").body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), 404);
        let (headers, text) = seen(app, "/?topic=news", Some(one.as_str())).await;
        assert_eq!(headers["cache-control"], "no-cache, no-transform");
        assert!(text.contains("data: two\n"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_was_made_for_axum_is_published() -> Result<(), Box<dyn std::error::Error>>
    {
        let (hub, [.., three]) = hub();
        let event = sse::Event::default().event("order").id("own").data("four");
        let id = hub.publish(&NEWS, event.try_into()?).await?;
        let app = Router::new().route("/", get(events)).with_state(hub);
        let (_, text) = seen(app, "/", Some(three.as_str())).await;
        assert_eq!(text, format!("event: order\ndata: four\nid: {id}\n\n"));
        Ok(())
    }
}
