//! A head that does not wait for the handler: when it is sent, and what follows it.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures_util::FutureExt;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{Dialect, EarlyHeadLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Fail, Hang, Trailers, Wait};
use crate::harness::bodies::{Broken, Script, read};
use crate::harness::rig::get;
use crate::harness::thinking::{Refuses, answer, seen, thinking};

const MS: Duration = Duration::from_millis(1);
const EVENTS: &str = "text/event-stream";

fn two_events() -> Vec<crate::harness::bodies::Step> {
    vec![Data("data: a\n\n"), Wait(SECOND), Data("data: b\n\n")]
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_passes_as_it_is_also_at_the_very_moment_of_the_delay() {
    for time in [Duration::ZERO, SECOND, 2 * SECOND] {
        let (handler, _) = thinking(time, answer(418, "text/plain", || vec![Data("teapot")]));
        let service = EarlyHeadLayer::new().layer(handler);
        let seen = seen(&service, get(), 60 * SECOND).await;
        assert!(!seen.is_early(), "{time:?}");
        assert_eq!(seen.head.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(seen.chunks(), [(time.as_millis(), "teapot")]);
        assert!(seen.read.ended);
    }
    let (handler, _) = thinking(2 * SECOND + MS, answer(200, EVENTS, two_events));
    let seen = seen(&EarlyHeadLayer::new().layer(handler), get(), 60 * SECOND).await;
    assert!(seen.is_early() && seen.at == 2_000);
}

#[tokio::test(start_paused = true)]
async fn after_the_delay_a_head_is_sent_and_the_body_follows_when_it_is_there() {
    let (handler, cancelled) = thinking(90 * SECOND, answer(200, EVENTS, two_events));
    for (layer, at) in [
        (EarlyHeadLayer::new(), 2_000),
        (EarlyHeadLayer::after(5 * SECOND), 5_000),
        (EarlyHeadLayer::after(Duration::ZERO), 0),
    ] {
        let seen = seen(&layer.layer(handler.clone()), get(), 200 * SECOND).await;
        assert_eq!((seen.is_early(), seen.at), (true, at));
        assert_eq!(seen.head.status, StatusCode::OK);
        assert_eq!(seen.head.headers["content-type"], EVENTS);
        assert_eq!(seen.head.headers["cache-control"], "no-cache");
        assert_eq!(seen.chunks(), [(90_000, "data: a\n\n"), (91_000, "data: b\n\n")]);
        assert!(seen.read.ended && seen.read.error.is_none());
        assert!(!cancelled.get());
    }
}

/// Trailers and errors of the body pass, and so does what it says of its end.
#[tokio::test(start_paused = true)]
async fn a_body_that_follows_ends_as_it_does_itself() {
    let trailers = || http::HeaderMap::from_iter([(http::header::AGE, "7".parse().unwrap())]);
    let (handler, _) = thinking(
        3 * SECOND,
        answer(200, EVENTS, move || vec![Data("data: a\n\n"), Trailers(trailers())]),
    );
    let with_trailers = seen(&EarlyHeadLayer::new().layer(handler), get(), 9 * SECOND).await;
    assert_eq!(with_trailers.read.trailers.unwrap()["age"], "7");
    let (handler, _) =
        thinking(3 * SECOND, answer(200, EVENTS, || vec![Data("data: a\n\n"), Fail("upstream")]));
    let failed = seen(&EarlyHeadLayer::new().layer(handler), get(), 9 * SECOND).await;
    assert_eq!(failed.read.error, Some(Broken("upstream")));
    assert_eq!(failed.read.text(), "data: a\n\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_the_handler_before_and_after_the_head() {
    let (handler, cancelled) = thinking(90 * SECOND, answer(200, EVENTS, two_events));
    let mut service = EarlyHeadLayer::new().layer(handler.clone());
    let mut call = Box::pin(service.call(get()));
    assert!(call.as_mut().now_or_never().is_none());
    drop(call);
    assert!(cancelled.get());

    let (handler, cancelled) = thinking(90 * SECOND, answer(200, EVENTS, two_events));
    let Ok(response) = EarlyHeadLayer::new().layer(handler).oneshot(get()).await;
    let mut body = Box::pin(response.into_body());
    // A server that took it for empty would send no body.
    assert!(!body.is_end_stream() && body.size_hint().upper().is_none());
    assert!(!read(&mut body, 10 * SECOND).await.ended);
    assert!(!cancelled.get());
    drop(body);
    assert!(cancelled.get());
}

#[tokio::test(start_paused = true)]
async fn only_requests_for_event_streams_get_an_early_head_by_default() {
    let (handler, _) = thinking(9 * SECOND, answer(200, EVENTS, two_events));
    let service = EarlyHeadLayer::new().layer(handler);
    for (method, accept, content_type, is_early) in [
        (Method::GET, "text/event-stream", "", true),
        (Method::POST, "application/json, text/event-stream", "application/json", true),
        (Method::POST, "Text/Event-Stream;q=0.5", "", true),
        (Method::GET, "*/*", "", false),
        (Method::GET, "text/event-stream;q=0", "", false),
        (Method::POST, "application/json", "", false),
        (Method::HEAD, "text/event-stream", "", false),
        (Method::CONNECT, "text/event-stream", "", false),
        (Method::POST, "text/event-stream", "application/grpc+proto", false),
    ] {
        let request = Request::builder().method(&method).uri("/").header("accept", accept);
        let request = request.header("content-type", content_type).body(()).unwrap();
        let seen = seen(&service, request, 20 * SECOND).await;
        assert_eq!(seen.is_early(), is_early, "{method} {accept} {content_type}");
        assert_eq!(seen.at, if is_early { 2_000 } else { 9_000 });
    }
}

#[tokio::test(start_paused = true)]
async fn a_predicate_names_requests_and_one_that_panics_names_none() {
    let (handler, _) = thinking(9 * SECOND, answer(200, EVENTS, two_events));
    let by_path = EarlyHeadLayer::new().for_requests(|request| {
        assert_ne!(request.uri.path(), "/panic", "as the test wants");
        request.uri.path() == "/complete"
    });
    let service = by_path.layer(handler);
    let json = "application/json";
    for (method, path, content_type, is_early) in [
        (Method::POST, "/complete", json, true),
        (Method::HEAD, "/complete", json, false),
        (Method::CONNECT, "/complete", json, false),
        (Method::POST, "/complete", "application/grpc", false),
        (Method::POST, "/complete", "application/grpc-web+proto", false),
        (Method::POST, "/complete", "application/connect+json", false),
        (Method::POST, "/other", json, false),
        (Method::POST, "/panic", json, false),
    ] {
        let request = Request::builder().method(&method).uri(path);
        let request = request.header("content-type", content_type).body(()).unwrap();
        let seen = seen(&service, request, 20 * SECOND).await;
        assert_eq!(seen.is_early(), is_early, "{method} {path} {content_type}");
    }
}

/// A service may be called before a runtime is there.
#[test]
fn only_a_request_whose_head_may_be_early_needs_a_runtime_and_only_to_be_polled() {
    let handler = || async { Ok::<_, Infallible>(Response::new(Script::new([Data("a")]))) };
    let mut service = EarlyHeadLayer::new().layer(service_fn(move |_: Request<()>| handler()));
    let plain = service.call(Request::new(())).now_or_never().expect("it answers at once");
    let Ok(response) = plain;
    assert!(Box::pin(response.into_body()).frame().now_or_never().is_some());
    let call = service.call(get());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert!(runtime.block_on(call).is_ok());
}

/// Without any other layer, the body says it itself.
#[tokio::test(start_paused = true)]
async fn a_handler_that_never_answers_is_given_up() {
    let never = service_fn(|_: Request<()>| pending::<Result<Response<Script>, Infallible>>());
    let chat = || Dialect::openai_chat();
    let late = seen(&EarlyHeadLayer::new().dialect(chat()).layer(never), get(), 700 * SECOND).await;
    assert!(late.is_early() && late.read.ended);
    let [(at, text)] = late.chunks()[..] else { panic!("{:?}", late.chunks()) };
    assert_eq!(at, 600_000);
    assert!(text.starts_with("event: error\ndata: {\"error\":{"), "{text}");

    let (handler, cancelled) = thinking(90 * SECOND, answer(200, EVENTS, two_events));
    let bounded = EarlyHeadLayer::new().give_up_after(30 * SECOND).layer(handler);
    let seen_late = seen(&bounded, get(), 99 * SECOND).await;
    assert_eq!(seen_late.chunks()[0].0, 30_000);
    let text = seen_late.read.text();
    assert!(
        text.starts_with("event: close\n") && text.contains("\"reason\":\"timeout\""),
        "{text}"
    );
    assert!(cancelled.get());

    // The whole wait has a bound also where no head is sent early.
    for (delay, limit) in [(60, 30), (30, 30)] {
        let (handler, cancelled) = thinking(90 * SECOND, answer(200, EVENTS, two_events));
        let layer = EarlyHeadLayer::after(delay * SECOND).give_up_after(limit * SECOND);
        let service = layer.dialect(chat()).layer(handler);
        let post = Request::post("/").header("accept", EVENTS).body(()).unwrap();
        let refused = seen(&service, post, SECOND).await;
        assert_eq!((refused.head.status, refused.at), (StatusCode::GATEWAY_TIMEOUT, 30_000));
        assert_eq!(refused.head.headers["content-type"], "application/json");
        assert!(refused.read.text().starts_with("{\"error\":{"));
        assert!(cancelled.get());
    }
    // Zero is for ever, as far as a test can see.
    let (handler, _) = thinking(100_000 * SECOND, answer(200, EVENTS, two_events));
    let patient = EarlyHeadLayer::new().give_up_after(Duration::ZERO).layer(handler);
    assert_eq!(seen(&patient, get(), 200_000 * SECOND).await.read.text().len(), 18);
}

/// The error of a service.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_in_time_passes_and_a_late_one_is_told() {
    let failing = |time: Duration| {
        service_fn(move |_: Request<()>| async move {
            tokio::time::sleep(time).await;
            Err::<Response<Script>, _>(Refuses)
        })
    };
    let in_time = EarlyHeadLayer::new().layer(failing(SECOND)).oneshot(get()).await;
    assert_eq!(in_time.err(), Some(Refuses));
    for (dialect, said) in [
        (Dialect::anthropic(), "event: error\ndata: {\"type\":\"error\""),
        (Dialect::event_source(), "\"reason\":\"error\""),
    ] {
        let layer = EarlyHeadLayer::new().dialect(dialect);
        let late = layer.layer(failing(5 * SECOND)).oneshot(get()).await.ok().unwrap();
        let mut body = Box::pin(late.into_body());
        let read = read(&mut body, 60 * SECOND).await;
        assert!(read.ended && read.error.is_none());
        assert!(read.text().contains(said), "{}", read.text());
        assert!(body.is_end_stream());
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_late_is_dropped_and_not_polled_again() {
    let handler = service_fn(|_: Request<()>| async {
        tokio::time::sleep(5 * SECOND).await;
        panic!("the handler panics, as the test wants");
        #[expect(unreachable_code, reason = "it has a type")]
        Ok::<_, Infallible>(Response::new(Script::new([Hang])))
    });
    let Ok(response) = EarlyHeadLayer::new().layer(handler).oneshot(get()).await;
    let mut body = Box::pin(response.into_body());
    let panics = std::panic::AssertUnwindSafe(read(&mut body, 60 * SECOND)).catch_unwind().await;
    assert!(panics.is_err());
    // After it the stream is over, and not polled into a future that has panicked.
    assert!(read(&mut body, SECOND).await.ended);
}
