//! A dialect adds headers to the event streams that the server begins by itself, and to no others.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{HeaderMap, Request};
use tower::{Layer, ServiceExt};
use tower_sse::{Dialect, EarlyHeadLayer, Limit, Shutdown, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::Hang;
use crate::harness::rig::{Handler, call, get};
use crate::harness::thinking::{answer, thinking};

const STREAM: HeaderName = HeaderName::from_static("x-stream");

fn dialect() -> Dialect {
    let dialect = Dialect::builder()
        .header(STREAM, HeaderValue::from_static("v0"))
        .header(STREAM, HeaderValue::from_static("v1"));
    // Of a stream nobody knows the length.
    let dialect = dialect.header(CONTENT_LENGTH, HeaderValue::from_static("1"));
    dialect.header(TRANSFER_ENCODING, HeaderValue::from_static("gzip")).build()
}

/// The head of the answer of a handler that thinks for so long.
async fn head(layers: &SseLayer, early: EarlyHeadLayer, seconds: u32, status: u16) -> HeaderMap {
    let answer = answer(status, "text/event-stream", || vec![Hang]);
    let (handler, _) = thinking(seconds * SECOND, answer);
    let Ok(response) = layers.clone().layer(early.layer(handler)).oneshot(get()).await;
    response.into_parts().0.headers
}

#[tokio::test(start_paused = true)]
async fn an_early_head_has_the_headers_of_its_dialect_and_that_of_a_handler_has_not() {
    let early = || EarlyHeadLayer::after(SECOND);
    let around = SseLayer::new().dialect(dialect());
    for (layers, early) in [(around, early()), (SseLayer::new(), early().dialect(dialect()))] {
        let late = head(&layers, early.clone(), 5, 200).await;
        assert_eq!(late.get_all(STREAM).iter().collect::<Vec<_>>(), ["v1"]);
        assert_eq!(late["content-type"], "text/event-stream");
        assert!(!late.contains_key(CONTENT_LENGTH) && !late.contains_key(TRANSFER_ENCODING));
        for status in [200, 503] {
            let in_time = head(&layers, early.clone(), 0, status).await;
            assert!(in_time.contains_key("x-handler") && !in_time.contains_key(STREAM));
        }
    }
    let none = head(&SseLayer::new(), early(), 5, 200).await;
    assert!(!none.contains_key(STREAM));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_has_the_headers_of_the_dialect_if_it_is_a_stream() {
    let draining = Shutdown::new();
    draining.trigger();
    let layers = || SseLayer::new().dialect(dialect());
    for layers in [layers().limit(Limit::new(0)), layers().shutdown(draining.clone())] {
        let mut service = layers.layer(Handler);
        let stream = call(&mut service, get());
        assert_eq!(
            (stream.status().as_u16(), &stream.headers()[STREAM]),
            (200, &"v1".parse().unwrap())
        );
        assert!(!stream.headers().contains_key(CONTENT_LENGTH));
        let status = call(&mut service, Request::post("/").body(()).unwrap());
        assert!(!status.status().is_success() && !status.headers().contains_key(STREAM));
    }
}

/// By which its client tells such a stream from others.
#[tokio::test(start_paused = true)]
async fn the_head_of_the_ai_sdk_names_its_protocol() {
    let layers = SseLayer::new().dialect(Dialect::vercel_ui_message());
    let early = head(&layers, EarlyHeadLayer::after(SECOND), 5, 200).await;
    assert_eq!(early["x-vercel-ai-ui-message-stream"], "v1");
}
