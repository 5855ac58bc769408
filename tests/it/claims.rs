//! Heads that name a stream of the layers, where the body does not tell whether it is that one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyStream, StreamBody};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{
    CloseAtEndLayer, Event, Farewell, NoBufferLayer, Registry, SseBody, SseLayer, SseService,
};

use crate::harness::SECOND;
use crate::harness::layers::events;
use crate::harness::rig::{Client, Failure, Fate, Handler, Inner, at_once, call, get, open};

type OwnBody = UnsyncBoxBody<Bytes, Failure>;

/// The head of an inner service's response, with another body, whose size says nothing.
fn with_body<S>(
    body: impl Fn(SseBody<Inner>) -> S + Clone,
) -> impl Service<Request<()>, Response = Response<OwnBody>, Error = Infallible>
where
    S: Stream<Item = Result<Bytes, Failure>> + Send + 'static,
{
    let inner: SseService<Handler> = NoBufferLayer::new().layer(Handler);
    service_fn(move |request: Request<()>| {
        let (inner, body) = (inner.clone(), body.clone());
        async move {
            let response = inner.oneshot(request).await?;
            let frames = |inner| body(inner).map(|data| data.map(Frame::data));
            Ok(response.map(|inner| OwnBody::new(StreamBody::new(frames(inner)))))
        }
    })
}

/// The frames of `body`, each in two pieces. The second is held back.
fn in_pieces(body: SseBody<Inner>) -> impl Stream<Item = Result<Bytes, Failure>> {
    BodyStream::new(body).flat_map(|frame| {
        stream::iter(match frame.map(|frame| frame.into_data().unwrap_or_default()) {
            Ok(mut data) => vec![Ok(data.split_to(data.len().saturating_sub(2))), Ok(data)],
            failure => vec![failure],
        })
    })
}

/// Its last bytes come when it is over, and nothing is to follow them.
#[tokio::test(start_paused = true)]
async fn what_a_middleware_holds_back_of_a_stream_that_is_over_is_no_stream_of_its_own() {
    for is_drained in [true, false] {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&opened);
        let registry = Registry::builder().on_open(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let shutdown = at_once();
        let layers = SseLayer::new()
            .registry(registry.build().unwrap())
            .shutdown(shutdown.clone())
            .close_at_end(CloseAtEndLayer::new(Farewell::close()));
        let (feed, mut client) = open(&mut layers.layer(with_body(in_pieces)));
        feed.data("data: a\n\n");
        assert_eq!(client.now().await, (":\ndata: a\n\n".to_owned(), Fate::Open));
        match is_drained {
            true => shutdown.trigger(),
            false => drop(feed),
        }
        let (text, fate) = client.now().await;
        assert_eq!((text.matches("event: ").count(), fate), (1, Fate::Ended), "{text}");
        assert!(text.starts_with("event: close\n") && text.ends_with("}\n\n"), "{text}");
        assert_eq!(opened.load(Ordering::Relaxed), 1, "{text}");
    }
}

/// A frame may begin with a comment and end within an event.
#[tokio::test(start_paused = true)]
async fn mail_waits_for_the_end_of_an_event_that_a_comment_came_with() {
    let own = |inner: SseBody<Inner>| {
        let first = stream::iter([Ok(Bytes::from_static(b": note\ndata: one\n"))]);
        let rest = stream::once(async {
            sleep(2 * SECOND).await;
            Ok(Bytes::from_static(b"data: two\n\n"))
        });
        // It keeps the stream that its head names.
        let silence = stream::once(async move {
            let _kept = inner;
            std::future::pending().await
        });
        first.chain(rest).chain(silence)
    };
    let registry = Registry::new();
    let layers = SseLayer::new().registry(registry.clone());
    let mut client = Client::of(call(&mut layers.layer(with_body(own)), get()));
    let mut text = client.now().await.0;
    registry.broadcast(Event::new().data("mail"));
    for (_, piece) in client.during(5 * SECOND).await {
        text.push_str(&piece);
    }
    let data: Vec<_> = events(&text).into_iter().map(|(_, data, _)| data).collect();
    assert_eq!(data, ["one\ntwo", "mail"], "{text}");
}
