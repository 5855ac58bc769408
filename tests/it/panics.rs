//! Bodies and hooks that panic: the registry is told, and nothing aborts.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::task::noop_waker;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body::{Body, Frame};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{EndReason, EventIdLayer, Limit, Registry, RegistryLayer, SseBody, SseLayer};

use crate::harness::bodies::Step::{Data, Hang, Panic, Wait};
use crate::harness::bodies::{Script, Step, read};

#[tokio::test(start_paused = true)]
async fn a_stream_whose_body_panics_leaves_the_registry_with_an_error() {
    let (registry, reasons) = noting_registry(false);
    let steps = [Data("data: a\n\n"), Wait(Duration::from_secs(1)), Panic];
    let mut body = respond(&registry, steps);
    let task = tokio::spawn(async move { read(&mut body, FOREVER).await });
    assert!(task.await.unwrap_err().is_panic());
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_during_a_panic_aborts_nothing() {
    let (registry, reasons) = noting_registry(true);
    let mut body = respond(&registry, [Data("data: a\n\n"), Panic]);
    let caught = AssertUnwindSafe(async move { read(&mut body, FOREVER).await }).catch_unwind();
    assert!(caught.await.is_err());
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_harms_no_stream_that_ends_well() {
    let (registry, reasons) = noting_registry(true);
    let mut body = respond(&registry, [Data("data: a\n\n")]);
    let read = read(&mut body, FOREVER).await;
    assert!(read.ended && read.error.is_none());
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Finished]);
}

/// Who catches the panic of one poll may keep the body, and drop it when nobody unwinds.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_kept_after_its_panic_has_ended() {
    let (registry, reasons) = noting_registry(false);
    let mut body = respond(&registry, [Panic]);
    assert!(catch_unwind(AssertUnwindSafe(|| poll_twice(&mut body))).is_err());
    drop(body);
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

/// A stream that goes because the task's other work panics has not failed itself.
#[tokio::test(start_paused = true)]
async fn a_stream_dropped_by_a_panic_elsewhere_is_no_failure_of_its_own() {
    let (registry, reasons) = noting_registry(false);
    let mut body = respond(&registry, [Data("data: a\n\n"), Hang]);
    let task = tokio::spawn(async move {
        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        panic!("elsewhere");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::ClientGone]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_function_that_makes_ids_ends_the_stream_with_an_error() {
    let (registry, reasons) = noting_registry(false);
    let ids = EventIdLayer::with(|_| panic!("the function panics"));
    let layer = SseLayer::new().registry(registry.clone()).event_ids(ids);
    let mut body = respond_with(layer, [Data("data: a\n\n"), Hang]);
    assert!(catch_unwind(AssertUnwindSafe(|| poll_twice(&mut body))).is_err());
    drop(body);
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

/// A body that has nothing to say, and panics when it is dropped.
struct Bomb;

impl Body for Bomb {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the body panics when it is dropped");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_drop_of_a_body_ends_the_stream_with_an_error() {
    let (registry, reasons) = noting_registry(false);
    let handler = service_fn(move |_: Request<()>| {
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        std::future::ready(Ok::<_, Infallible>(response.body(Bomb).unwrap()))
    });
    let service = SseLayer::new().registry(registry.clone()).layer(handler);
    let response = service.oneshot(Request::new(())).now_or_never();
    let mut body = response.unwrap().unwrap().into_body();
    let waker = noop_waker();
    let _ = Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(body))).is_err());
    assert!(registry.is_empty());
    assert_eq!(*reasons.lock().unwrap(), [EndReason::Error]);
}

/// It would take along the streams that the same task serves, as those of an HTTP/2 connection.
#[tokio::test(start_paused = true)]
async fn a_panic_in_a_label_or_a_key_ends_no_stream() {
    let label = |_: &http::request::Parts| -> String { panic!("the label panics") };
    let key = |_: &http::request::Parts| -> String { panic!("the key panics") };
    let (registry, reasons) = noting_registry(false);
    let limit = Limit::builder().per_key(1, key).build().unwrap();
    let layer = SseLayer::new().registry(RegistryLayer::new(registry.clone()).label(label));
    let mut service = layer.limit(limit.clone()).layer(service_fn(|_: Request<()>| {
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        std::future::ready(Ok::<_, Infallible>(response.body(Script::new([Hang])).unwrap()))
    }));
    let served = service.call(Request::new(())).await.unwrap();
    assert_eq!(served.status(), 200);
    assert_eq!(registry.snapshot()[0].label.as_str(), "");
    // Requests without a key that should have one count together.
    assert_eq!(service.call(Request::new(())).await.unwrap().status(), 429);
    assert_eq!((registry.len(), limit.open(), limit.keys()), (1, 1, 1));
    assert!(reasons.lock().unwrap().is_empty());
}

/// The body that is made of these steps.
fn respond<const N: usize>(registry: &Registry, steps: [Step; N]) -> SseBody<Script> {
    respond_with(SseLayer::new().registry(registry.clone()), steps)
}

fn respond_with<const N: usize>(layer: SseLayer, steps: [Step; N]) -> SseBody<Script> {
    let mut body = Some(Script::new(steps));
    let handler = service_fn(move |_: Request<()>| {
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        let response = response.body(body.take().unwrap()).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let response = layer.layer(handler).oneshot(Request::new(())).now_or_never();
    response.unwrap().unwrap().into_body()
}

/// Behind the opening comment comes what the inner body gives.
fn poll_twice(body: &mut SseBody<Script>) {
    let waker = noop_waker();
    for _ in 0..2 {
        let _ = Pin::new(&mut *body).poll_frame(&mut Context::from_waker(&waker));
    }
}

/// A registry that notes why streams ended.
fn noting_registry(panics: bool) -> (Registry, Arc<Mutex<Vec<EndReason>>>) {
    let reasons = Arc::<Mutex<Vec<_>>>::default();
    let noted = Arc::clone(&reasons);
    let registry = Registry::builder().on_close(move |_, reason| {
        noted.lock().unwrap().push(reason);
        assert!(!panics, "the hook panics");
    });
    (registry.build().unwrap(), reasons)
}

const FOREVER: Duration = Duration::from_secs(3600);
