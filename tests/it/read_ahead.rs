//! A body that is read before all layers have seen its response counts all the same.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use tokio_stream::StreamExt;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{
    EventIdLayer, Expiry, KeepAliveLayer, Limit, LimitLayer, NoBufferLayer, Registry,
    RegistryLayer, RotationLayer, Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::bodies::Step::{Data, Hang};
use crate::harness::bodies::{Broken, read};
use crate::harness::layers::{Boxed, boxed, events, handler_of};

/// Middleware that loses what the outer layers ask, and reads one frame ahead.
fn peeking(inner: Boxed) -> Boxed {
    peeking_and_dropping(inner, true, false)
}

/// Middleware that reads one frame ahead, and drops the extensions of the request or the response.
fn peeking_and_dropping(inner: Boxed, of_request: bool, of_response: bool) -> Boxed {
    boxed(service_fn(move |mut request: Request<()>| {
        let inner = inner.clone();
        async move {
            if of_request {
                request.extensions_mut().clear();
            }
            let (mut head, mut body) = inner.oneshot(request).await?.into_parts();
            if of_response {
                head.extensions.clear();
            }
            let first = body.frame().await.unwrap();
            let rest = http_body_util::BodyStream::new(body);
            let frames = tokio_stream::once(first).chain(rest);
            let body: UnsyncBoxBody<Bytes, Broken> = StreamBody::new(frames).boxed_unsync();
            Ok::<_, Infallible>(Response::from_parts(head, body))
        }
    }))
}

async fn ask<S, B>(service: S) -> B
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes, Error = Broken>,
{
    let Ok(response) = service.oneshot(Request::new(())).await;
    // As a server does when it has sent the head.
    response.into_body()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_read_ahead_counts_until_it_ends() {
    let limit = Limit::new(1);
    let near = KeepAliveLayer::every(Duration::from_secs(10));
    let inner = near.layer(handler_of(|| vec![Data("data: a\n\n"), Hang]));
    let body = ask(LimitLayer::new(limit.clone()).layer(peeking(boxed(inner)))).await;
    assert_eq!(limit.open(), 1);
    drop(body);
    assert_eq!(limit.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_read_ahead_is_listed_and_ended_by_a_drain() {
    let (registry, shutdown) = (Registry::new(), Shutdown::new());
    let near = KeepAliveLayer::every(Duration::from_secs(10));
    let inner = near.layer(handler_of(|| vec![Data("data: a\n\n"), Hang]));
    let inner = boxed(EventIdLayer::sequential().layer(inner));
    let service = RegistryLayer::new(registry.clone()).layer(peeking(inner));
    let mut body = ask(ShutdownLayer::new(shutdown.clone()).layer(service)).await;
    assert_eq!(registry.len(), 1);
    shutdown.trigger();
    let read = read(&mut body, Duration::from_secs(30)).await;
    assert!(read.ended);
    assert_eq!(events(&read.text()), events(CLIENT_SEES), "{}", read.text());
    assert!(registry.is_empty());
}

/// Whoever says it, and whichever layer is left to see to it.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_read_ahead_ends_when_its_credential_expires() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let layers = || {
        [
            SseLayer::off().no_buffer(NoBufferLayer::new()).rotation(RotationLayer::new()),
            SseLayer::off().registry(Registry::new()).rotation(RotationLayer::new()),
            SseLayer::new().keep_alive(KeepAliveLayer::off()),
        ]
    };
    for (of_request, of_response) in [(false, false), (true, false), (false, true), (true, true)] {
        for (outer, inner) in
            layers().into_iter().flat_map(|it| layers().map(|in_| (it.clone(), in_)))
        {
            for (by_request, by_response) in [(3, None), (3, Some(5)), (5, Some(3)), (9, None)] {
                let what = format!("{of_request} {of_response} {by_request} {by_response:?}");
                let handler = handler_of(|| vec![Data("data: a\n\n"), Hang]);
                let inner = boxed(inner.layer(handler));
                let service = peeking_and_dropping(inner, of_request, of_response);
                let said = move |mut response: Response<UnsyncBoxBody<Bytes, Broken>>| {
                    if let Some(at) = by_response {
                        response.extensions_mut().insert(Expiry::after(minutes(at)));
                    }
                    response
                };
                let service = outer.layer(service.map_response(said));
                let mut request = Request::new(());
                request.extensions_mut().insert(Expiry::after(minutes(by_request)));
                let mut body = service.oneshot(request).await.unwrap().into_body();
                let read = read(&mut body, minutes(100)).await;
                assert!(read.ended, "{what}");
                let (at, last) = read.chunks.last().unwrap();
                assert!(last.contains("expired"), "{what}: {last}");
                let earliest = by_response.map_or(by_request, |it| it.min(by_request));
                assert_eq!(*at, minutes(earliest).as_millis(), "{what}");
            }
        }
    }
}

const CLIENT_SEES: &str = "data: a\nid: 1\n\n\
    event: close\ndata: {\"reason\":\"shutdown\"}\nid: 1\n\n";
