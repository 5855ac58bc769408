//! What a hub's responses are, alone and within the layers.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::event_log::{GapPolicy, MemoryLog, Start};
use tower_sse::hub::HubBody;
use tower_sse::wire::Decoder;
use tower_sse::{
    Event, EventIdLayer, EventName, Hub, KeepAliveLayer, Registry, Shutdown, SseLayer,
};

use crate::harness::LONG;
use crate::harness::bodies::read;
use crate::harness::hub;
use crate::harness::hub::{append, chunk, data, id, text, topic, topics};
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen, read_until};

fn parts(uri: &str, last_event_id: Option<&str>) -> Parts {
    let mut request = Request::get(uri);
    if let Some(id) = last_event_id {
        request = request.header("last-event-id", id);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_response_is_an_event_stream_that_nobody_caches() {
    let response = Hub::default().subscribe(topic("t")).into_response();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.headers().len(), 2);
}

#[test]
fn a_request_says_where_its_client_is() {
    let hub = Hub::default();
    let ids = ["a", "b", "c"].map(|text| append(hub.log(), "t", text));
    let query = |id: &str| format!("/?last_event_id={id}");
    for (uri, header, expected) in [
        ("/".to_owned(), None, vec![]),
        ("/".to_owned(), Some(""), vec![]),
        ("/".to_owned(), Some(ids[1].as_str()), vec!["c"]),
        (query(ids[0].as_str()), None, vec!["b", "c"]),
        // The query is from before, and a browser sends it again and again.
        (query(ids[0].as_str()), Some(ids[2].as_str()), vec![]),
        (query("earliest"), None, vec!["a", "b", "c"]),
        ("/".to_owned(), Some("earliest"), vec!["a", "b", "c"]),
    ] {
        let mut body = hub.subscribe(topic("t")).resume(&parts(&uri, header)).into_body();
        let events = Decoder::new().decode(text(&mut body).as_bytes());
        let said: Vec<&str> = events.iter().map(|event| &*event.data).collect();
        assert_eq!(said, expected, "{uri} {header:?}");
    }
}

#[tokio::test]
async fn nothing_is_missed_between_the_page_and_its_stream() {
    let hub = Hub::default();
    append(hub.log(), "t", "before");
    let place = hub.latest(topic("t")).await.unwrap();
    append(hub.log(), "t", "between");
    let request = parts(&format!("/?last_event_id={place}"), None);
    let mut body = hub.subscribe(topic("t")).resume(&request).into_body();
    append(hub.log(), "t", "after");
    let events = Decoder::new().decode(text(&mut body).as_bytes());
    let said: Vec<&str> = events.iter().map(|event| &*event.data).collect();
    assert_eq!(said, ["between", "after"]);
}

#[test]
fn a_filter_lets_only_what_fits_pass() {
    let hub = Hub::default();
    let filter = |event: &tower_sse::event_log::Logged| {
        event.name() == Some("paid") && event.topic().as_str() != "orders.2"
    };
    let mut body = hub.subscribe(topics(&["orders.*"])).filter(filter).into_body();
    for (name, event) in [("orders.1", "paid"), ("orders.1", "sent"), ("orders.2", "paid")] {
        let event = data("x").event(EventName::from_static(event));
        hub.publish_blocking(&topic(name), event).unwrap();
    }
    let text = text(&mut body);
    assert_eq!(text.matches("event: paid").count(), 1, "{text}");
    assert!(!text.contains("sent"));
}

#[tokio::test]
async fn a_filter_that_lets_nothing_pass_leaves_the_others_their_turn() {
    let hub = Hub::default();
    for n in 0..1_000 {
        append(hub.log(), "t", &n.to_string());
    }
    let body = hub.subscribe(topic("t")).start(Start::Earliest).filter(|_| false);
    let mut body = body.into_body();
    let mut polls = 0;
    let all = std::future::poll_fn(|cx| {
        polls += 1;
        let polled = http_body::Body::poll_frame(std::pin::Pin::new(&mut body), cx);
        assert!(polled.is_pending());
        if polls == 4 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    });
    // It wakes itself as long as there is more.
    tokio::time::timeout(LONG, all).await.expect("it goes on");
}

#[tokio::test(start_paused = true)]
async fn layers_around_a_hub_do_their_work_and_leave_its_ids() {
    let (hub, registry) = (Hub::default(), Registry::new());
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let layer = SseLayer::new()
        .keep_alive(KeepAliveLayer::every(Duration::from_secs(10)).jitter(0.0))
        .event_ids(EventIdLayer::sequential())
        .registry(registry.clone())
        .shutdown(shutdown.clone());
    let handler = {
        let hub = hub.clone();
        service_fn(move |request: Request<()>| {
            let subscription = hub.subscribe(topic("t")).resume(&request.into_parts().0);
            async move { Ok::<_, Infallible>(subscription.into_response()) }
        })
    };
    let mut service = layer.layer(handler);
    let mut request = Request::new(());
    request.headers_mut().insert("last-event-id", "0-unknown".parse().unwrap());
    let response = service.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut body = response.into_body();
    let first = append(hub.log(), "t", "a");
    let got = read(&mut body, Duration::from_secs(15)).await.text();
    // The gap has an id of its own, so the layer gives it none; then a comment while nothing comes.
    let (gap, rest) = got.split_once("\n\n").unwrap();
    assert!(gap.starts_with(":\nevent: gap\ndata: {\"requested\":\"0-unknown\""), "{got}");
    assert_eq!(gap.matches("\nid: ").count(), 1, "{gap}");
    assert_eq!(rest, format!("data: a\nid: {first}\n\n:\n"));

    assert_eq!(registry.len(), 1);
    assert_eq!(registry.snapshot()[0].last_event_id, Some(first.clone()));
    shutdown.trigger();
    let end = read(&mut body, Duration::from_secs(15)).await;
    assert!(end.ended && end.text().starts_with("event: close\n"));
    assert!(end.text().ends_with(&format!("\nid: {first}\n\n")), "{}", end.text());
    drop(body);
    assert!(registry.is_empty());
}

#[tokio::test]
async fn handlers_of_axum_return_a_subscription_and_browsers_come_back_to_it() {
    let hub = Hub::default();
    let (listener, address) = listen().await;
    let app = Router::new().route("/events", get(events)).layer(SseLayer::new());
    let server = axum::serve(listener, app.with_state(hub.clone()));
    let server = tokio::spawn(server.into_future());
    for version in [H1, H2] {
        let mut client = Client::connect(address, version).await;
        let mut body = client.get("/events").await.into_body();
        hub.publish(&topic("t"), data("one")).await.unwrap();
        let mut text = String::new();
        read_until(&mut body, &mut text, |text| text.ends_with("\n\n")).await.unwrap();
        let mut decoder = Decoder::new();
        assert_eq!(decoder.decode(text.as_bytes()).len(), 1);
        drop(body);
        let place = decoder.last_event_id().to_owned();

        hub.publish(&topic("t"), data("two")).await.unwrap();
        let mut client = Client::connect(address, version).await;
        let path = format!("/events?last_event_id={place}");
        let mut body = client.get(&path).await.into_body();
        let mut text = String::new();
        read_until(&mut body, &mut text, |text| text.ends_with("\n\n")).await.unwrap();
        assert_eq!(Decoder::new().decode(text.as_bytes())[0].data, "two");
    }
    server.abort();
}

async fn events(State(hub): State<Hub>, request: Parts) -> impl IntoResponse {
    hub.subscribe(topic("t")).resume(&request).into_response()
}

#[test]
fn a_body_that_is_dropped_leaves_the_log() {
    let hub = Hub::new(MemoryLog::new());
    let body: Response<HubBody<MemoryLog>> = hub.subscribe(topic("t")).into_response();
    assert_eq!(hub.log().topics(), 1);
    drop(body);
    assert_eq!(hub.log().topics(), 0);
    // One that has ended, too, though it is kept.
    let ended = hub.subscribe(topic("t")).after(id("0-0")).on_gap(GapPolicy::End);
    let mut ended = ended.into_body();
    assert!(text(&mut ended).starts_with("event: gap\n"));
    assert!(chunk(&mut ended).is_ready());
    assert_eq!(hub.log().topics(), 0);
}

#[test]
fn debug_shows_nothing_of_what_is_said() {
    let hub = Hub::default();
    let secret = Event::new().data("secret");
    hub.publish_blocking(&topic("t"), secret).unwrap();
    let subscription = hub.subscribe(topic("t")).start(Start::Earliest).filter(|event| {
        let text = format!("{event:?}");
        assert!(!text.contains("secret") && text.contains("len"), "{text}");
        true
    });
    let before = format!("{hub:?} {:?} {subscription:?}", hub.log());
    let mut body = subscription.into_body();
    assert!(text(&mut body).contains("secret"));
    let mut follower = hub::follow(hub.log(), &["t"], Start::Earliest);
    let step = hub::next(&mut follower);
    let shown = format!("{before} {body:?} {follower:?} {step:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn a_body_that_waits_is_woken() {
    let hub = Hub::default();
    let mut body = hub.subscribe(topic("t")).into_body();
    let reader = tokio::spawn(async move { body.frame().await });
    tokio::task::yield_now().await;
    append(hub.log(), "t", "x");
    let frame = tokio::time::timeout(LONG, reader).await;
    assert!(frame.unwrap().unwrap().unwrap().unwrap().is_data());
}
