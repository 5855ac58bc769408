//! Streams that a handler makes with a service of its own, and that are not those of its response:
//! whatever becomes of them, hooks and drains are told of the end of each that they were told of.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tower::{Layer, Service, service_fn};
use tower_sse::{
    KeepAliveLayer, Limit, LimitLayer, Registry, RegistryLayer, Shutdown, ShutdownLayer, SseBody,
};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Failure, Fate, Feed, Handler, Inner, call, get, open};

/// How many streams hooks were told of, and how many ends.
#[derive(Clone, Debug, Default)]
struct Told(Arc<[AtomicUsize; 2]>);

impl Told {
    fn registry(&self) -> Registry {
        let (opened, closed) = (self.clone(), self.clone());
        let builder = Registry::builder().on_open(move |_| opened.count(0));
        builder.on_close(move |_, _| closed.count(1)).build().unwrap()
    }

    fn count(&self, what: usize) {
        self.0[what].fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|n| self.0[n].load(Ordering::Relaxed))
    }
}

/// The bodies of the streams that a handler keeps unread.
type Kept = Arc<Mutex<Vec<SseBody<Inner>>>>;

/// A handler that asks a layered service of its own twice with its request, keeps the answers, and
/// answers with a stream of its own.
fn asking_twice(
    kept: &Kept,
    before_answer: impl Fn() + Clone,
) -> impl Service<Request<()>, Response = Response<Inner>, Error = Infallible> {
    let kept = Arc::clone(kept);
    service_fn(move |request: Request<()>| {
        let mut inner = KeepAliveLayer::every(SECOND).layer(Handler);
        for _ in 0..2 {
            let answer = call(&mut inner, request.clone());
            kept.lock().unwrap().push(answer.into_body());
        }
        before_answer();
        std::future::ready(Ok(call(&mut Handler, get())))
    })
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_of_the_end_of_each_stream_that_a_handler_kept_for_itself() {
    let (told, kept) = (Told::default(), Kept::default());
    let registry = told.registry();
    let mut service = RegistryLayer::new(registry.clone()).layer(asking_twice(&kept, || ()));
    let (_feed, mut client) = open(&mut service);
    client.now().await;
    assert_eq!(registry.len(), 1, "the client counts once");
    drop(client);
    kept.lock().unwrap().clear();
    let [opened, closed] = told.counts();
    assert_eq!((registry.len(), closed), (0, opened));
}

#[tokio::test(start_paused = true)]
async fn hooks_are_told_of_the_end_of_each_stream_that_a_handler_made_for_a_request_that_is_refused()
 {
    let (told, kept) = (Told::default(), Kept::default());
    let (tenant, server) = (Shutdown::new(), Shutdown::new());
    let registry = told.registry();
    let trigger = server.clone();
    let handler = asking_twice(&kept, move || trigger.trigger());
    let service = RegistryLayer::new(registry.clone()).layer(handler);
    let mut service =
        ShutdownLayer::new(server.clone()).layer(ShutdownLayer::new(tenant.clone()).layer(service));
    let response = service.call(get()).now_or_never().unwrap().unwrap();
    assert!(Client::of(response).now().await.0.contains("draining"));
    kept.lock().unwrap().clear();
    let [opened, closed] = told.counts();
    assert_eq!((registry.len(), closed), (0, opened));
    assert_eq!((tenant.drain().await.streams(), server.drain().await.forced), (0, 0));
}

/// The drain begins while the handler runs, so both streams that it has made are of the drain.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_no_stream_that_a_handler_kept_for_itself() {
    let kept = Kept::default();
    let shutdown = Shutdown::builder().notice(SECOND).build().unwrap();
    let trigger = shutdown.clone();
    let handler = asking_twice(&kept, move || trigger.trigger());
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(handler);
    let (_feed, client) = open(&mut service);
    let (report, seen) = tokio::join!(shutdown.drain(), client.rest());
    assert!(seen.contains("event: close"), "{seen:?}");
    kept.lock().unwrap().clear();
    assert_eq!((report.forced, report.closed), (0, 1), "{report}");
}

/// A handler that begins to read a stream of a layered service of its own, and relays it as its
/// own.
fn relaying() -> impl Service<
    Request<()>,
    Response = Response<impl Body<Data = Bytes, Error = Failure> + Send + 'static>,
    Error = Infallible,
> {
    service_fn(|request: Request<()>| async {
        let mut answer = call(&mut KeepAliveLayer::off().layer(Handler), request);
        let feed = answer.extensions_mut().remove::<Feed>().unwrap();
        feed.data("data: 1\n\n");
        let mut body = answer.into_body();
        let first = body.frame().await;
        let relayed = stream::iter(first).chain(BodyStream::new(body));
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok(response.extension(feed).body(StreamBody::new(relayed)).unwrap())
    })
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_not_replaced_by_the_one_in_which_it_is_relayed() {
    let limit = Limit::builder().per_key(1, |_| "key").replace_oldest().build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(relaying());
    let (feed, mut client) = open(&mut service);
    assert_eq!(client.now().await, ("data: 1\n\n".into(), Fate::Open));
    feed.data("data: 2\n\n");
    assert_eq!(client.now().await, ("data: 2\n\n".into(), Fate::Open));
    assert_eq!(limit.open(), 1);
    let (_newer_feed, newer) = open(&mut service);
    let (seen, fate) = client.now().await;
    assert!(seen.contains(r#"{"reason":"replaced"}"#), "{seen:?}");
    assert_eq!((fate, limit.open()), (Fate::Ended, 1));
    drop(client);
    assert_eq!(limit.open(), 1);
    drop(newer);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_encoded_stream_is_not_replaced_if_a_stream_of_its_handler_had_its_permit() {
    let limit = Limit::builder().per_key(1, |_| "key").replace_oldest().build().unwrap();
    let kept = Kept::default();
    let encoding = service_fn(move |request: Request<()>| {
        let inner = call(&mut KeepAliveLayer::every(SECOND).layer(Handler), request);
        kept.lock().unwrap().push(inner.into_body());
        let mut answer = call(&mut Handler, get());
        answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let mut service = LimitLayer::new(limit.clone()).layer(encoding);
    let _open = call(&mut service, get());
    let second = call(&mut LimitLayer::new(limit.clone()).layer(Handler), get());
    let (seen, _) = Client::of(second).now().await;
    assert!(seen.contains("event: limit"), "{seen:?}");
    assert_eq!(limit.open(), 1);
}
