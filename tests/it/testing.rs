//! The harness for tests of streams tells what a client sees.

use std::time::Duration;

use tokio::time::timeout;
use tower::{Layer, Service, service_fn};
use tower_sse::testing::{End, Reader, Source, SourceBody, SourceError};
use tower_sse::{KeepAliveLayer, SseBody, SseLayer};

use crate::harness::SECOND;

/// A stream under these layers, from both ends.
async fn stream(layer: SseLayer) -> (Source, Reader<SseBody<SourceBody>>) {
    let (source, body) = Source::new();
    let mut response = Some(body.into_response());
    let handler = service_fn(move |_: http::Request<()>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(response.take().unwrap()))
    });
    let response = layer.layer(handler).call(http::Request::new(())).await.unwrap();
    (source, Reader::of(response))
}

#[tokio::test(start_paused = true)]
async fn a_reader_sees_whole_events_and_how_the_stream_ended() {
    let (source, mut client) = stream(SseLayer::new()).await;
    source.send("id: 7\nretry: 5000\nda");
    assert!(client.ready().await.is_empty());
    source.send("ta: a\n\nevent: b\ndata: c\n\ndata: lost");
    let events = client.ready().await;
    let seen: Vec<_> = events.iter().map(|event| (&*event.event, &*event.data)).collect();
    assert_eq!(seen, [("message", "a"), ("b", "c")]);
    assert_eq!((client.retry(), client.last_event_id()), (Some(5 * SECOND), "7"));
    assert_eq!(client.retry(), None, "there was none since");
    assert_eq!((client.end(), source.is_dropped()), (None, false));
    source.fail();
    assert!(client.rest().await.is_empty());
    assert!(matches!(client.end(), Some(End::Failed(SourceError { .. }))));
    assert!(source.is_dropped());
    assert_eq!(client.partial_frames(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reader_counts_keepalives_and_waits_for_what_comes() {
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::every(SECOND).jitter(0.0));
    let (source, mut client) = stream(layer).await;
    assert!(timeout(Duration::from_millis(4_500), client.next()).await.is_err());
    let silent = client.comments();
    assert!((5..=9).contains(&silent), "{silent}");
    source.send("data: a\r\n\r\n");
    drop(source);
    assert_eq!(client.rest().await.len(), 1);
    assert_eq!(client.end(), Some(&End::Clean));
    assert!(client.bytes().ends_with(b"data: a\r\n\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_counts_frames_that_end_in_the_middle_of_an_event() {
    let (source, mut client) = stream(SseLayer::new().hold_limit(4)).await;
    source.send("data: longer than the limit");
    assert!(client.ready().await.is_empty());
    assert_eq!(client.partial_frames(), 1);
    source.send("\n\n");
    assert_eq!(client.ready().await.len(), 1);
    assert_eq!(client.partial_frames(), 1);
}
