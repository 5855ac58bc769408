//! A refusal that comes after the head of its stream is written in the stream.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{Shutdown, SseLayer};

use crate::harness::rig::{Client, Failure, Fate, HandlerOf, at_once, call, get};

type OwnBody = UnsyncBoxBody<Bytes, Failure>;

/// A body that lets go of the stream that its head names when it is polled first, and gives
/// nothing.
fn forgetful(
    content_type: &'static str,
    shutdown: &Shutdown,
) -> impl Service<Request<()>, Response = Response<OwnBody>, Error = Infallible> + Clone {
    let inner = SseLayer::new().shutdown(shutdown.clone()).layer(HandlerOf(content_type));
    service_fn(move |request: Request<()>| {
        let inner = inner.clone();
        async move {
            let (head, body) = inner.oneshot(request).await?.into_parts();
            let own = futures_util::stream::once(async move {
                drop(body);
                std::future::pending().await
            });
            Ok(Response::from_parts(head, OwnBody::new(StreamBody::new(own))))
        }
    })
}

/// The layers around make a stream anew when a body goes on without the one that its head names. By
/// then the head is sent.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_after_the_head_is_written_in_the_framing_of_the_stream() {
    for (content_type, refusal) in [
        ("text/event-stream", ":\nevent: draining\nretry: 1000\ndata: {}\n\n"),
        ("application/x-ndjson", "{\"type\":\"close\",\"reason\":\"draining\"}\n"),
        ("application/json-seq", "\u{1e}{\"type\":\"close\",\"reason\":\"draining\"}\n"),
        // A message with the flag of the last one, and 66 bytes.
        (
            "application/connect+json",
            "\u{2}\0\0\0\u{42}{\"error\":{\"code\":\"unavailable\",\"message\":\"the server shuts down\"}}",
        ),
    ] {
        let shutdown = at_once();
        let layers = SseLayer::new().shutdown(shutdown.clone());
        let response = call(&mut layers.layer(forgetful(content_type, &shutdown)), get());
        assert_eq!(response.headers()["content-type"], content_type);
        shutdown.trigger();
        let mut client = Client::of(response);
        assert_eq!(client.now().await, (refusal.to_owned(), Fate::Ended), "{content_type}");
    }
}
