//! A handler that asks a layered service of its own with its request, and answers with a stream of
//! its own: the outer layers look after the response that comes out.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, StreamBody};
use tokio::time::sleep;
use tower::util::MapResponseLayer;
use tower::{Layer, ServiceExt, service_fn};
use tower_sse::{
    EventIdLayer, KeepAliveLayer, Limit, LimitLayer, NoBufferLayer, Registry, RegistryLayer,
    Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang, Wait};
use crate::harness::bodies::{Broken, Script, read};
use crate::harness::layers::{Boxed, boxed, handler_of};

type BoxBody = UnsyncBoxBody<Bytes, Broken>;

/// What the handler does with the response of its inner service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inner {
    DropUnread,
    /// Reads a frame and drops the rest.
    ReadAndDrop,
    /// Keeps it beside its own stream, unread.
    Keep,
    /// Drops the body, and puts its own under the inner head.
    TakeHead,
    /// Reads a frame, drops the rest, and puts its own body under the inner head.
    ReadAndTakeHead,
    /// Sends its own events before those of the inner stream.
    Relay,
    /// Sends its own events after the first one of the inner stream.
    PeekAndRelay,
    /// Has a task of its own send what the inner stream says.
    RelayByTask,
    /// Keeps it beside its own stream, which it puts under the inner head.
    KeepUnderHead,
    /// Sends its own events after those of the inner stream, under its head.
    RelayUnderHead,
}

const ALL: [Inner; 8] = [
    Inner::DropUnread,
    Inner::ReadAndDrop,
    Inner::Keep,
    Inner::TakeHead,
    Inner::ReadAndTakeHead,
    Inner::Relay,
    Inner::PeekAndRelay,
    Inner::RelayByTask,
];

/// A handler whose own stream says `data: own`, 3 seconds after it is asked for.
fn handler(inner: Boxed, does: Inner) -> Boxed {
    boxed(service_fn(move |request: Request<()>| {
        let inner = inner.clone();
        async move {
            let (head, mut body) = inner.oneshot(request).await?.into_parts();
            let own = Script::new([Wait(3 * SECOND), Data("data: own\n\n"), Hang]);
            let mut response = Response::new(());
            response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            let body = match does {
                Inner::DropUnread => own.boxed_unsync(),
                Inner::ReadAndDrop => {
                    let _ = body.frame().await;
                    own.boxed_unsync()
                }
                Inner::Keep => own.map_frame(move |frame| (frame, &body).0).boxed_unsync(),
                Inner::TakeHead => {
                    response = Response::from_parts(head, ());
                    drop(body);
                    own.boxed_unsync()
                }
                Inner::ReadAndTakeHead => {
                    response = Response::from_parts(head, ());
                    let _ = body.frame().await;
                    drop(body);
                    own.boxed_unsync()
                }
                Inner::KeepUnderHead => {
                    response = Response::from_parts(head, ());
                    own.map_frame(move |frame| (frame, &body).0).boxed_unsync()
                }
                Inner::RelayUnderHead => {
                    response = Response::from_parts(head, ());
                    let relayed = BodyStream::new(body).take(3).take_until(sleep(2 * SECOND));
                    frames(relayed.chain(BodyStream::new(own)))
                }
                Inner::Relay => {
                    let relayed = BodyStream::new(own).take(1).chain(BodyStream::new(body));
                    frames(relayed.chain(futures_util::stream::pending()))
                }
                Inner::PeekAndRelay => {
                    let first = body.frame().await.unwrap();
                    let first = tokio_stream::once(first);
                    let rest =
                        futures_util::stream::select(BodyStream::new(own), BodyStream::new(body));
                    frames(first.chain(rest))
                }
                Inner::RelayByTask => {
                    let (sender, receiver) = tokio::sync::mpsc::channel(8);
                    tokio::spawn(async move {
                        while let Some(frame) = body.frame().await {
                            if sender.send(frame).await.is_err() {
                                break;
                            }
                        }
                    });
                    tokio::task::yield_now().await;
                    let relayed = tokio_stream::wrappers::ReceiverStream::new(receiver);
                    frames(futures_util::stream::select(BodyStream::new(own), relayed))
                }
            };
            Ok::<_, Infallible>(response.map(|()| body))
        }
    }))
}

fn frames<S>(stream: S) -> BoxBody
where
    S: futures_util::Stream<Item = Result<Frame<Bytes>, Broken>> + Send + 'static,
{
    StreamBody::new(stream).boxed_unsync()
}

/// What the outer layers use.
#[derive(Clone)]
struct Outer {
    registry: Registry,
    shutdown: Shutdown,
    limit: Limit,
}

impl Outer {
    /// With a limit of one stream, which refuses or replaces.
    fn new(replaces: bool) -> Self {
        let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
        let limit = match replaces {
            true => Limit::builder().per_key(1, |_| "key").replace_oldest().build().unwrap(),
            false => Limit::new(1),
        };
        Self { registry: Registry::new(), shutdown, limit }
    }

    fn keep_alive() -> KeepAliveLayer {
        KeepAliveLayer::every(10 * SECOND).jitter(0.0)
    }

    /// Around `service`, in one or each in a layer of its own, with what `between` says between.
    fn around(&self, mut service: Boxed, in_one: bool) -> Boxed {
        if in_one {
            let layer = SseLayer::new()
                .keep_alive(Self::keep_alive())
                .event_ids(EventIdLayer::sequential())
                .registry(self.registry.clone())
                .shutdown(self.shutdown.clone())
                .limit(self.limit.clone());
            return boxed(layer.layer(service));
        }
        service = boxed(LimitLayer::new(self.limit.clone()).layer(service));
        service = boxed(ShutdownLayer::new(self.shutdown.clone()).layer(service));
        service = boxed(NoBufferLayer::new().layer(service));
        service = boxed(RegistryLayer::new(self.registry.clone()).layer(service));
        service = boxed(EventIdLayer::sequential().layer(service));
        boxed(Self::keep_alive().layer(service))
    }
}

/// The inner services, and whether each serves a stream.
fn inner_services(outer: &Outer) -> Vec<(&'static str, Boxed)> {
    let events = || handler_of(|| vec![Data("data: inner\n\n"), Hang]);
    let drained = Shutdown::new();
    drained.trigger();
    let seconds = Duration::from_secs(1)..=Duration::from_secs(1);
    let full = Limit::builder().max(0).retry(seconds).build().unwrap();
    vec![
        ("keep alive", boxed(KeepAliveLayer::every(10 * SECOND).layer(events()))),
        ("event ids", boxed(EventIdLayer::sequential().layer(events()))),
        ("no buffer", boxed(NoBufferLayer::new().layer(events()))),
        ("no buffer off", boxed(NoBufferLayer::off().layer(events()))),
        ("registry", boxed(RegistryLayer::new(outer.registry.clone()).layer(events()))),
        ("other registry", boxed(RegistryLayer::new(Registry::new()).layer(events()))),
        ("shutdown", boxed(ShutdownLayer::new(outer.shutdown.clone()).layer(events()))),
        ("other shutdown", boxed(ShutdownLayer::new(Shutdown::new()).layer(events()))),
        ("limit", boxed(LimitLayer::new(outer.limit.clone()).layer(events()))),
        ("other limit", boxed(LimitLayer::new(Limit::new(5)).layer(events()))),
        ("everything", outer.around(boxed(events()), true)),
        ("everything off", boxed(SseLayer::off().layer(events()))),
        ("full", boxed(LimitLayer::new(full).layer(events()))),
        ("draining", boxed(ShutdownLayer::new(drained).layer(events()))),
    ]
}

type Between = fn(Boxed) -> Boxed;

/// What stands between the outer layers and the handler.
fn betweens() -> [(&'static str, Between); 2] {
    let dropping = |inner: Boxed| {
        boxed(
            MapResponseLayer::new(|mut response: Response<BoxBody>| {
                response.extensions_mut().clear();
                response
            })
            .layer(inner),
        )
    };
    [("nothing", |inner| inner), ("dropped extensions", dropping)]
}

fn ask_for_events() -> Request<()> {
    Request::get("/").header("accept", "text/event-stream").body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_outer_layer_looks_after_the_response_that_comes_out() {
    let is_any = |_: &str| true;
    assert_looked_after(&ALL, is_any).await;
}

/// A middleware may have good reason to use the inner head, and to wrap the body: so the head is
/// believed until the body goes on without the inner stream.
#[tokio::test(start_paused = true)]
async fn a_head_that_names_another_stream_is_believed_until_the_body_shows_otherwise() {
    // Until then what the inner layers have set for themselves holds.
    let sets_nothing_else =
        |name: &str| !["other", "off", "full", "draining"].iter().any(|word| name.contains(word));
    assert_looked_after(&[Inner::KeepUnderHead, Inner::RelayUnderHead], sets_nothing_else).await;
}

async fn assert_looked_after(uses: &[Inner], names: impl Fn(&str) -> bool) {
    let mut wrong = Vec::new();
    for &does in uses {
        for (between, put_between) in betweens() {
            for (in_one, replaces) in [(true, false), (true, true), (false, false), (false, true)] {
                let kinds = inner_services(&Outer::new(replaces)).len();
                for n in 0..kinds {
                    // New ones for each: a drain has no second time.
                    let outer = Outer::new(replaces);
                    let (name, inner) = inner_services(&outer).swap_remove(n);
                    if !names(name) {
                        continue;
                    }
                    let what = format!("{does:?} of {name}, {between}, {in_one} {replaces}");
                    let service = outer.around(put_between(handler(inner, does)), in_one);
                    let faults = faults(&outer, service, does).await;
                    wrong.extend(faults.into_iter().map(|fault| format!("{what}: {fault}")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} faults:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is not as it should be.
async fn faults(outer: &Outer, service: Boxed, does: Inner) -> Vec<String> {
    // An inner stream that the handler has begun to read is another one, and listed as such.
    let is_read = matches!(does, Inner::PeekAndRelay | Inner::RelayByTask);
    let most = if is_read { 2 } else { 1 };
    let mut faults = Vec::new();
    let mut check = |is_right: bool, what: String| {
        if !is_right {
            faults.push(what);
        }
    };
    let response = service.clone().oneshot(ask_for_events()).await.unwrap();
    let headers = format!("{:?}", response.headers());
    check(response.status() == StatusCode::OK, format!("status {}", response.status()));
    check(headers.contains("x-accel-buffering"), format!("head {headers}"));
    let listed = outer.registry.len();
    check((1..=most).contains(&listed), format!("{listed} listed"));
    check(outer.limit.open() == 1, format!("{} permits", outer.limit.open()));
    let mut body = response.into_body();
    let text = read(&mut body, 30 * SECOND).await.text();
    check(text.starts_with(":\n"), format!("opening {text:?}"));
    check(!text.contains("event: close\n"), format!("closed {text:?}"));
    check(text.contains("data: own\nid: "), format!("ids {text:?}"));
    let (_, silence) = text.split_once("data: own\nid: ").unwrap_or_default();
    check(silence.contains(":\n"), format!("silence {text:?}"));
    let listed = outer.registry.len();
    check((1..=most).contains(&listed), format!("later {listed} listed"));
    check(outer.limit.open() == 1, format!("later {} permits", outer.limit.open()));
    outer.shutdown.trigger();
    let last = read(&mut body, 30 * SECOND).await;
    check(last.ended, "no end".to_owned());
    let text = last.text();
    check(text.matches("event: close\n").count() == 1, format!("close {text:?}"));
    drop(body);
    // For a task that sends what it reads.
    sleep(30 * SECOND).await;
    check(outer.registry.is_empty(), format!("{} left", outer.registry.len()));
    check(outer.limit.open() == 0, format!("{} permits left", outer.limit.open()));
    faults
}
