//! The service: readiness, errors, cancellation, clones.

use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_sse::{
    EndReason, EventIdLayer, KeepAliveLayer, NoBufferLayer, Registry, RegistryLayer, Shutdown,
    ShutdownLayer, SseBody, SseFuture, SseLayer, SseService,
};
use tower_test::mock::{self, Mock};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang};
use crate::harness::bodies::{Broken, Script, read};

type Inner = Mock<Request<()>, Response<Script>>;

/// A layer around a service, and what asks that one.
type Mocked = (mock::Spawn<SseService<Inner>>, mock::Handle<Request<()>, Response<Script>>);

/// Each layer around a service of its own.
fn each_layer() -> Vec<Mocked> {
    vec![
        mock::spawn_layer(KeepAliveLayer::every(SECOND)),
        mock::spawn_layer(KeepAliveLayer::off()),
        mock::spawn_layer(EventIdLayer::sequential()),
        mock::spawn_layer(EventIdLayer::off()),
        mock::spawn_layer(NoBufferLayer::new()),
        mock::spawn_layer(NoBufferLayer::off()),
        mock::spawn_layer(RegistryLayer::new(Registry::new())),
        mock::spawn_layer(RegistryLayer::off()),
        mock::spawn_layer(ShutdownLayer::new(Shutdown::new())),
        mock::spawn_layer(ShutdownLayer::off()),
        mock::spawn_layer(SseLayer::new()),
        mock::spawn_layer(SseLayer::off()),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_layer_is_ready_when_the_inner_service_is() {
    for (mut service, mut handle) in each_layer() {
        handle.allow(0);
        assert!(service.poll_ready().is_pending());
        assert!(!service.is_woken());
        handle.allow(1);
        assert!(service.is_woken());
        assert!(matches!(service.poll_ready(), Poll::Ready(Ok(()))));
        // As tower asks for it: ready once is one call.
        let response = service.call(Request::new(()));
        assert!(service.poll_ready().is_pending());
        let (_, reply) = handle.next_request().await.unwrap();
        reply.send_response(stream([]));
        assert!(response.await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_called_before_it_is_ready() {
    for (mut service, mut handle) in each_layer() {
        handle.allow(0);
        assert!(service.poll_ready().is_pending());
        assert!(handle.poll_request().is_pending());
        handle.allow(1);
        assert!(service.poll_ready().is_ready());
        assert!(handle.poll_request().is_pending(), "ready is no call");
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_passes_as_it_is() {
    for (mut service, mut handle) in each_layer() {
        handle.send_error(Broken("not ready"));
        let Poll::Ready(Err(error)) = service.poll_ready() else {
            panic!("no error");
        };
        assert_eq!(error.downcast_ref(), Some(&Broken("not ready")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_call_passes_as_it_is() {
    for (mut service, mut handle) in each_layer() {
        assert!(service.poll_ready().is_ready());
        let response = service.call(Request::new(()));
        let (_, reply) = handle.next_request().await.unwrap();
        reply.send_error(Broken("no answer"));
        let error = response.await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Broken("no answer")));
    }
    // And with its own type, not boxed.
    let answer = || std::future::ready(Err::<Response<Script>, _>(Broken("x")));
    let failing = service_fn(move |_: Request<()>| answer());
    let error: Broken = SseLayer::new().layer(failing).oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(error, Broken("x"));
}

#[tokio::test(start_paused = true)]
async fn a_request_passes_as_it_is() {
    for (mut service, mut handle) in each_layer() {
        assert!(service.poll_ready().is_ready());
        let request = Request::post("/a?b=c").header("x-own", "1").extension(7_u8);
        let _response = service.call(request.body(()).unwrap());
        let (request, _reply) = handle.next_request().await.unwrap();
        assert_eq!(
            (request.method().as_str(), request.uri().to_string()),
            ("POST", "/a?b=c".into())
        );
        assert_eq!(request.headers().len(), 1);
        assert_eq!(request.extensions().get::<u8>(), Some(&7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_lists_nothing() {
    let (registry, reasons) = noting_registry();
    let (mut service, mut handle) =
        mock::spawn_layer::<_, _, _>(RegistryLayer::new(registry.clone()));
    assert!(service.poll_ready().is_ready());
    let mut response = Box::pin(service.call(Request::new(())));
    assert!((&mut response).now_or_never().is_none());
    let (_request, reply) = handle.next_request().await.unwrap();
    drop(response);
    reply.send_response(stream([Hang]));
    assert!(registry.is_empty());
    assert!(reasons.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_given_up_leaves_once() {
    let (registry, reasons) = noting_registry();
    let shutdown = Shutdown::new();
    let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
    for polls in [0, 1, 3] {
        let body = Script::new([Data("data: a\n\n"), Data("data: b\n\n"), Hang]);
        let dropped = body.drop_flag();
        let mut response = Some(with_body(body));
        let handler = tower::util::BoxService::new(service_fn(move |_: Request<()>| {
            std::future::ready(Ok::<_, Broken>(response.take().unwrap()))
        }));
        let response = layer.layer(handler).oneshot(Request::new(())).await.unwrap();
        assert_eq!(registry.len(), 1);
        let mut body = response.into_body();
        for _ in 0..polls {
            let frame = std::future::poll_fn(|cx| {
                http_body::Body::poll_frame(std::pin::Pin::new(&mut body), cx)
            });
            frame.await.unwrap().unwrap();
        }
        drop(body);
        assert!(registry.is_empty());
        assert!(dropped.load(Ordering::SeqCst));
        assert_eq!(std::mem::take(&mut *reasons.lock().unwrap()), [EndReason::ClientGone]);
    }
    // Nobody is waited for.
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.forced, report.elapsed), (0, 0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn clones_share_their_settings_and_not_their_streams() {
    let registry = Registry::new();
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, Broken>(stream([Data("data: a\n\n"), Hang])));
    let layer = SseLayer::new().event_ids(EventIdLayer::sequential()).registry(registry.clone());
    let one = layer.layer(handler);
    let other = one.clone();
    drop(layer);
    let mut bodies = Vec::new();
    for service in [one.clone(), other, one] {
        bodies.push(service.oneshot(Request::new(())).await.unwrap().into_body());
    }
    assert_eq!(registry.len(), 3);
    for body in &mut bodies {
        assert_eq!(read(body, SECOND).await.text(), ":\ndata: a\nid: 1\n\n");
    }
    drop(bodies);
    assert!(registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_service_that_is_ready_is_asked_by_itself() {
    let (mut service, mut handle) = mock::spawn_layer(SseLayer::new());
    let mut clone: mock::Spawn<SseService<Inner>> = service.clone();
    handle.allow(1);
    assert!(service.poll_ready().is_ready());
    let _response = service.call(Request::new(()));
    assert!(clone.poll_ready().is_pending());
    handle.allow(1);
    assert!(clone.is_woken());
    assert!(clone.poll_ready().is_ready());
}

#[test]
fn a_service_shows_what_is_inside() {
    let mut service = SseLayer::new().layer("inner");
    assert_eq!(service.get_ref(), &"inner");
    *service.get_mut() = "other";
    assert!(format!("{service:?}").contains("other"));
    assert_eq!(service.into_inner(), "other");
}

/// What is inside decides what the outside is.
#[test]
fn types_can_be_cloned_sent_shared_and_shown() {
    fn is<T: Clone + Send + Sync + Debug + 'static>() {}
    fn is_sent<T: Send + Sync + Unpin + 'static>() {}
    fn is_service<S: Service<Request<()>, Response = Response<SseBody<Full<Bytes>>>>>() {}
    type Handler = tower::util::BoxCloneSyncService<Request<()>, Response<Full<Bytes>>, Broken>;

    is::<SseService<()>>();
    is::<SseLayer>();
    is::<KeepAliveLayer>();
    is::<EventIdLayer>();
    is::<NoBufferLayer>();
    is::<RegistryLayer>();
    is::<ShutdownLayer>();
    is::<Registry>();
    is::<Shutdown>();
    is_sent::<SseBody<Full<Bytes>>>();
    is_sent::<SseFuture<std::future::Ready<Result<Response<Full<Bytes>>, Broken>>>>();
    is_service::<SseService<Handler>>();
}

fn stream<const N: usize>(steps: [crate::harness::bodies::Step; N]) -> Response<Script> {
    with_body(Script::new(steps))
}

fn with_body(body: Script) -> Response<Script> {
    let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
    response.body(body).unwrap()
}

/// A registry that notes why streams ended.
fn noting_registry() -> (Registry, Arc<Mutex<Vec<EndReason>>>) {
    let reasons = Arc::<Mutex<Vec<_>>>::default();
    let noted = Arc::clone(&reasons);
    let registry =
        Registry::builder().on_close(move |_, reason| noted.lock().unwrap().push(reason));
    (registry.build().unwrap(), reasons)
}
