//! Foreign code that panics, and panics again when it is dropped by that: nothing is aborted.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{EarlyHeadLayer, EndReason, EventIdLayer, Registry, SseLayer};

use crate::harness::SECOND;

/// Panics when it is dropped, once it is armed.
#[derive(Debug, Default)]
struct Bomb {
    is_armed: bool,
}

impl Bomb {
    fn go_off(&mut self) -> ! {
        self.is_armed = true;
        panic!("the first panic");
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.is_armed, "the second panic");
    }
}

/// A body that gives these chunks first.
#[derive(Debug, Default)]
struct BodyBomb(Vec<Bytes>, Bomb);

impl Body for BodyBomb {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop() {
            Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            None => self.1.go_off(),
        }
    }
}

/// A handler's future, which takes so long.
#[derive(Debug)]
struct FutureBomb(Pin<Box<tokio::time::Sleep>>, Bomb);

impl Future for FutureBomb {
    type Output = Result<Response<BodyBomb>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.as_mut().poll(cx) {
            Poll::Ready(()) => self.1.go_off(),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn answer(content_type: &'static str, chunks: Vec<Bytes>) -> Response<BodyBomb> {
    let response = Response::builder().header(CONTENT_TYPE, content_type);
    response.body(BodyBomb(chunks, Bomb::default())).unwrap()
}

fn handler(
    content_type: &'static str,
) -> impl Service<Request<()>, Response = Response<BodyBomb>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, Infallible>(answer(content_type, Vec::new())))
    })
}

fn sleeper(
    time: std::time::Duration,
) -> impl Service<Request<()>, Response = Response<BodyBomb>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |_: Request<()>| {
        FutureBomb(Box::pin(tokio::time::sleep(time)), Bomb::default())
    })
}

/// Asks in a task of its own, reads to the end, and says whether the task panicked. The response is
/// dropped by the panic.
async fn dies<S, B>(service: S) -> bool
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    let task = tokio::spawn(async move {
        let request = Request::builder().header("accept", "text/event-stream").body(()).unwrap();
        let mut body = service.oneshot(request).await.unwrap().into_body();
        while poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.is_some() {}
    });
    task.await.is_err_and(|error| error.is_panic())
}

/// A registry that notes why streams ended.
fn noting() -> (Registry, Arc<Mutex<Vec<EndReason>>>) {
    let reasons = Arc::<Mutex<Vec<_>>>::default();
    let noted = Arc::clone(&reasons);
    let registry = Registry::builder().on_close(move |_, reason| {
        noted.lock().unwrap().push(reason);
    });
    (registry.build().unwrap(), reasons)
}

const KINDS: [&str; 4] =
    ["text/event-stream", "application/x-ndjson", "application/grpc", "application/json"];

#[tokio::test(start_paused = true)]
async fn a_body_that_panics_in_a_poll_and_again_when_it_is_dropped_aborts_nothing() {
    for kind in KINDS {
        let (registry, reasons) = noting();
        let layer = SseLayer::new().registry(registry.clone());
        assert!(dies(layer.layer(handler(kind))).await, "{kind}");
        assert!(registry.is_empty(), "{kind}");
        let is_stream = matches!(kind, "text/event-stream" | "application/x-ndjson");
        let expected = if is_stream { &[EndReason::Error][..] } else { &[] };
        assert_eq!(*reasons.lock().unwrap(), expected, "{kind}");
        assert!(dies(EarlyHeadLayer::new().layer(handler(kind))).await, "{kind}");
        assert!(dies(layer.layer(EarlyHeadLayer::new().layer(handler(kind)))).await, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_in_a_poll_and_again_when_it_is_dropped_aborts_nothing() {
    let (registry, reasons) = noting();
    let layer = SseLayer::new().registry(registry.clone());
    assert!(dies(layer.layer(sleeper(SECOND))).await);
    assert!(reasons.lock().unwrap().is_empty(), "there was no stream");
    // Before the head is sent, and after it.
    for time in [SECOND, 10 * SECOND] {
        assert!(dies(EarlyHeadLayer::new().layer(sleeper(time))).await, "{time:?}");
        assert!(dies(layer.layer(EarlyHeadLayer::new().layer(sleeper(time)))).await, "{time:?}");
    }
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

#[tokio::test(start_paused = true)]
async fn a_function_that_panics_over_a_body_that_panics_when_it_is_dropped_aborts_nothing() {
    let (registry, reasons) = noting();
    let ids = EventIdLayer::with(|_| panic!("the first panic"));
    let service = service_fn(|_: Request<()>| {
        let mut response = answer("text/event-stream", vec![Bytes::from_static(b"data: x\n\n")]);
        response.body_mut().1.is_armed = true;
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let layer = SseLayer::new().registry(registry.clone()).event_ids(ids);
    assert!(dies(layer.layer(service)).await);
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

/// Bytes that are another's, whose drop is foreign code, too.
#[derive(Debug)]
struct Owned(&'static [u8]);

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        panic!("the owner panics when it is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_panic_when_a_panic_drops_them_abort_nothing() {
    let (registry, reasons) = noting();
    let service = service_fn(|_: Request<()>| {
        // The half of an event is held until the rest comes, which never does. Less than this is
        // copied.
        let half = Bytes::from_owner(Owned(&[b'x'; 1024]));
        std::future::ready(Ok::<_, Infallible>(answer("text/event-stream", vec![half])))
    });
    assert!(dies(SseLayer::new().registry(registry.clone()).layer(service)).await);
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

#[cfg(feature = "resume")]
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_kept_may_panic_twice_too() {
    let layer = tower_sse::ResumeLayer::new(|_| Some(("stream", "ann")));
    assert!(dies(layer.layer(handler("application/json"))).await);
    assert!(dies(layer.layer(sleeper(SECOND))).await);
}

#[cfg(feature = "hub")]
mod hub {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use futures_util::FutureExt;
    use tower::service_fn;
    use tower_sse::event_log::{EventLog, Follow, MemoryLog, MemoryLogError};
    use tower_sse::event_log::{Start, Step, Topic, Topics};
    use tower_sse::hub::{Snapshot, SnapshotRequest};
    use tower_sse::{Event, EventId, Hub};

    use super::{Bomb, FutureBomb, Request, SECOND, dies};
    use crate::harness::bodies::read;
    use crate::harness::hub::topic;

    #[derive(Clone, Debug, Default)]
    struct LogBomb(MemoryLog);

    impl EventLog for LogBomb {
        type Error = MemoryLogError;
        type Follower = Bomb;

        async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
            self.0.append_now(topic, event)
        }

        fn follow(&self, _: Topics, _: Start) -> Bomb {
            Bomb::default()
        }

        async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
            self.0.latest(topics).await
        }
    }

    impl Follow for Bomb {
        fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Step>> {
            self.go_off()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_that_panics_in_a_poll_and_again_when_it_is_dropped_aborts_nothing() {
        let hub = Hub::new(LogBomb::default());
        let service = service_fn(move |_: Request<()>| {
            let response = hub.subscribe(topic("t")).into_response();
            std::future::ready(Ok::<_, Infallible>(response))
        });
        assert!(dies(service).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_that_panics_in_a_poll_and_again_when_it_is_dropped_sends_the_client_away() {
        let snapshot = Snapshot::by(|_: SnapshotRequest| {
            let bomb = FutureBomb(Box::pin(tokio::time::sleep(SECOND)), Bomb::default());
            bomb.map(|made| made.map(|_| Event::new()))
        });
        let mut body = Hub::default().subscribe(topic("t")).snapshot(snapshot).into_body();
        let read = read(&mut body, 10 * SECOND).await;
        assert!(read.ended);
        assert_eq!(read.text(), "event: reconnect\ndata: {\"reason\":\"error\"}\n\n");
    }
}
