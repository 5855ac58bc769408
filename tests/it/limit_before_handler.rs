//! A slot that is taken before the handler runs: who is refused costs no handler, and what is no
//! stream keeps no slot.

use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use http::{Extensions, Method, Request, Response, StatusCode};
use tower::{Layer, Service, service_fn};
use tower_sse::{Limit, LimitBuilder, LimitLayer, Registry, Shutdown, ShutdownLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{
    Client, Fate, Handler, HandlerOf, Inner, at_once, call, get, open, open_with,
};

/// A handler that counts its calls.
#[derive(Clone, Debug)]
struct Counted<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
}

impl<S> Counted<S> {
    fn new(inner: S) -> (Self, Arc<AtomicUsize>) {
        let calls = Arc::<AtomicUsize>::default();
        (Self { inner, calls: Arc::clone(&calls) }, calls)
    }
}

impl<S: Service<Request<()>>> Service<Request<()>> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> S::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}

fn at_most(max: usize) -> Limit {
    Limit::builder().max(max).retry(7 * SECOND..=7 * SECOND).build().unwrap()
}

fn early(limit: &Limit) -> LimitLayer {
    LimitLayer::new(limit.clone()).before_handler(|request| request.uri.path() != "/late")
}

fn plain() -> Request<()> {
    Request::get("/events").body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_early_never_runs_the_handler() {
    let limit = at_most(1);
    let (handler, calls) = Counted::new(Handler);
    let mut service = SseLayer::new().limit(early(&limit)).layer(handler);
    let first = open(&mut service);
    assert_eq!((limit.open(), calls.load(Ordering::Relaxed)), (1, 1));

    let response = call(&mut service, plain());
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "7");
    let mut source = get();
    source.headers_mut().insert("last-event-id", "41".parse().unwrap());
    let response = call(&mut service, source);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let told = Client::of(response).rest().await;
    assert_eq!(told, ":\nevent: limit\nretry: 7000\ndata: {\"reason\":\"limit\"}\nid: 41\n\n");
    assert_eq!((limit.open(), limit.refused(), calls.load(Ordering::Relaxed)), (1, 2, 1));

    // One that is not named runs it, and is refused after that.
    let late = Request::get("/late").body(()).unwrap();
    assert_eq!(call(&mut service, late).status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((limit.refused(), calls.load(Ordering::Relaxed)), (3, 2));
    drop(first);
    let (_feed, client) = open(&mut service);
    assert_eq!((limit.open(), calls.load(Ordering::Relaxed)), (1, 3));
    drop(client);
    assert_eq!(limit.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_slot_is_held_while_the_handler_thinks_and_is_free_when_the_client_leaves() {
    let limit = at_most(1);
    let thinks = service_fn(|_: Request<()>| pending::<Result<Response<Inner>, Infallible>>());
    let mut service = early(&limit).layer(thinks);
    let mut first = Box::pin(service.call(plain()));
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(limit.open(), 1);
    assert_eq!(call(&mut service, plain()).status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    assert_eq!(limit.open(), 0);
}

/// Also if the handler keeps the extensions of its request.
#[tokio::test(start_paused = true)]
async fn what_is_no_stream_gives_its_slot_back() {
    let limit = at_most(1);
    let kept = Arc::new(std::sync::Mutex::new(Vec::<Extensions>::new()));
    let answer = |status: u16, kind: &'static str, fails: bool| {
        let kept = Arc::clone(&kept);
        service_fn(move |request: Request<()>| {
            kept.lock().unwrap().push(request.extensions().clone());
            let answer = HandlerOf(kind).call(request).now_or_never().unwrap();
            let answer = answer.map(|mut answer| {
                *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                answer
            });
            ready(if fails { Err("the handler's own") } else { answer.map_err(|_| "never") })
        })
    };
    for (method, status, kind, fails) in [
        (Method::HEAD, 200, "text/event-stream", false),
        (Method::GET, 200, "application/json", false),
        (Method::GET, 500, "text/event-stream", false),
        (Method::GET, 204, "text/event-stream", false),
        (Method::GET, 200, "text/event-stream", true),
    ] {
        let mut service = early(&limit).layer(answer(status, kind, fails));
        let request = Request::builder().method(&method).uri("/").body(()).unwrap();
        let mut future = Box::pin(service.call(request));
        let response = future.as_mut().now_or_never().unwrap();
        assert_eq!(response.is_err(), fails);
        assert_eq!(limit.open(), 0, "{method} {status} {kind}");
        // The future is over, and still there.
        drop((response, future));
    }
    let mut service = early(&limit).layer(answer(200, "text/event-stream", false));
    let response = service.call(plain()).await.unwrap();
    assert_eq!(limit.open(), 1, "a stream keeps it");
    drop(response);
    assert_eq!(limit.open(), 0);
}

/// Layers around one handler take one slot, wherever the one stands that takes it early.
#[tokio::test(start_paused = true)]
async fn a_stream_has_one_slot_whichever_layers_it_passes() {
    let limit = at_most(9);
    let plain_layer = LimitLayer::new(limit.clone());
    let all = SseLayer::new().registry(Registry::new());
    let check = |open_now: usize, what: &str| assert_eq!(limit.open(), open_now, "{what}");
    let one = open(&mut early(&limit).layer(plain_layer.layer(Handler)));
    check(1, "around the same limit");
    let two = open(&mut plain_layer.layer(early(&limit).layer(Handler)));
    check(2, "inside of the same limit");
    let three = open(&mut early(&limit).layer(early(&limit).layer(Handler)));
    check(3, "twice");
    let four = open(&mut early(&limit).layer(all.layer(Handler)));
    check(4, "around other layers");
    let five = open(&mut all.layer(early(&limit).layer(Handler)));
    check(5, "inside of other layers");
    // The handler asks a service of its own, and answers with another stream.
    let inner = plain_layer.clone();
    let mut asks = early(&limit).layer(service_fn(move |request: Request<()>| {
        let mut asked = inner.layer(Handler);
        async move {
            let mut answer = asked.call(request).await?;
            let mut own = Handler.call(Request::new(())).await?;
            own.extensions_mut().insert(Arc::new(answer.extensions_mut().clone()));
            drop(answer);
            Ok::<_, Infallible>(own)
        }
    }));
    let six = open(&mut asks);
    check(6, "another stream");
    drop((one, two, three, four, five, six));
    check(0, "all are gone");
}

#[tokio::test(start_paused = true)]
async fn the_limit_nearest_to_the_handler_holds_and_the_outer_slot_is_given_back() {
    let (outer, near) = (at_most(1), at_most(1));
    let mut near_early = early(&outer).layer(early(&near).layer(Handler));
    let first = open(&mut near_early);
    assert_eq!((outer.open(), near.open()), (0, 1));
    assert_eq!(call(&mut near_early, plain()).status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((outer.open(), outer.refused(), near.refused()), (0, 0, 1));
    drop(first);
    let _second = open(&mut early(&outer).layer(LimitLayer::new(near.clone()).layer(Handler)));
    assert_eq!((outer.open(), near.open()), (0, 1));
    let mut none = early(&outer).layer(LimitLayer::off().layer(Handler));
    let _streams = [open(&mut none), open(&mut none)];
    assert_eq!((outer.open(), outer.refused()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_before_the_handler_and_takes_no_slot() {
    let (limit, shutdown, tenant) = (at_most(0), at_once(), Shutdown::new());
    let (handler, calls) = Counted::new(Handler);
    let mut service =
        SseLayer::new().limit(early(&limit)).shutdown(shutdown.clone()).layer(handler.clone());
    // The drain of an outer layer refuses, too, if a nearer one has another.
    let near = SseLayer::new().limit(early(&limit)).shutdown(tenant);
    let mut both = ShutdownLayer::new(shutdown.clone()).layer(near.layer(handler));
    shutdown.trigger();
    let answers =
        [call(&mut service, plain()).into_parts().0, call(&mut both, plain()).into_parts().0];
    for head in answers {
        assert_eq!(head.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(head.headers["retry-after"], "1");
    }
    assert_eq!((limit.open(), limit.refused(), calls.load(Ordering::Relaxed)), (0, 0, 0));
}

fn replacing(max: usize) -> LimitBuilder {
    Limit::builder().max(max).per_key(1, |_| "all").replace_oldest()
}

#[tokio::test(start_paused = true)]
async fn an_older_stream_is_replaced_when_the_new_one_begins_and_not_before() {
    let limit = replacing(9).build().unwrap();
    let layer = early(&limit);
    let mut service = layer.layer(Handler);
    let (_old_feed, mut old) = open(&mut service);
    old.now().await;
    // No stream comes of this one.
    let mut json = layer.layer(HandlerOf("application/json"));
    drop(call(&mut json, plain()));
    assert_eq!(old.now().await.1, Fate::Open);
    let (_new_feed, mut new) = open(&mut service);
    assert!(old.now().await.0.contains("replaced"));
    assert_eq!(new.now().await.1, Fate::Open);
    assert_eq!((limit.open(), limit.refused()), (1, 0));
    drop((new, old));
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

/// One whose handler still thinks is the oldest of its key, too.
#[tokio::test(start_paused = true)]
async fn a_slot_that_was_replaced_while_the_handler_thought_ends_the_stream_that_comes() {
    let limit = replacing(9).build().unwrap();
    let (answer, answers) = tokio::sync::oneshot::channel::<()>();
    let answers = std::sync::Mutex::new(Some(answers));
    let mut thinks = early(&limit).layer(service_fn(move |request: Request<()>| {
        let answers = answers.lock().unwrap().take().unwrap();
        async move {
            answers.await.unwrap();
            Handler.call(request).await
        }
    }));
    let mut first = Box::pin(thinks.call(get()));
    assert!(first.as_mut().now_or_never().is_none());
    let (_feed, mut second) = open(&mut early(&limit).layer(Handler));
    assert_eq!(second.now().await.1, Fate::Open);
    answer.send(()).unwrap();
    let response = first.await.unwrap();
    assert!(Client::of(response).rest().await.contains("replaced"));
    assert_eq!(limit.open(), 1);
}

/// A stream with a content encoding cannot be closed, so its slot cannot be taken over.
#[tokio::test(start_paused = true)]
async fn an_encoded_stream_keeps_the_slot_that_was_taken_early() {
    let limit = replacing(9).build().unwrap();
    let encoded = service_fn(|request: Request<()>| {
        let answer = Handler.call(request).now_or_never().unwrap();
        ready(answer.map(|mut answer: Response<Inner>| {
            answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            answer
        }))
    });
    let mut service = early(&limit).layer(encoded);
    let first = call(&mut service, plain());
    assert_eq!((first.status(), limit.open()), (StatusCode::OK, 1));
    assert_eq!(call(&mut service, plain()).status(), StatusCode::TOO_MANY_REQUESTS);
    drop(first);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_is_refused_early_with_its_status_and_its_stream_has_one_slot() {
    let limit = at_most(1);
    let (handler, calls) = Counted::new(HandlerOf("application/grpc"));
    let mut service = SseLayer::new().limit(early(&limit)).layer(handler);
    let ask = || {
        let request = Request::post("/service/method").header("content-type", "application/grpc");
        request.body(()).unwrap()
    };
    let (_feed, mut stream) = open_with(&mut service, ask());
    stream.bytes_now().await;
    assert_eq!(limit.open(), 1);
    let refused = call(&mut service, ask());
    assert_eq!(refused.status(), StatusCode::OK);
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert_eq!(refused.headers()["content-type"], "application/grpc");
    assert_eq!((limit.refused(), calls.load(Ordering::Relaxed)), (1, 1));
    drop(stream);
    assert_eq!(limit.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_predicate_that_panics_names_nothing() {
    let limit = at_most(0);
    let layer = LimitLayer::new(limit.clone()).before_handler(|_| panic!("as the test wants"));
    let (handler, calls) = Counted::new(Handler);
    let response = call(&mut layer.layer(handler), plain());
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}
