//! What the layers do for calls of gRPC: streams are looked after, and unary calls are left alone.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::task::Poll;

use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use tokio::task::unconstrained;
use tokio::time::advance;
use tower::{Layer, service_fn};
use tower_sse::{
    CloseAtEndLayer, Event, EventIdLayer, Expiry, Farewell, KeepAliveLayer, Limit, Registry,
    RotationLayer, Shutdown, ShutdownLayer, SseLayer, SseService,
};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Failure, Feed, HandlerOf, Inner, Piece, at_once, call};

const GRPC: &str = "application/grpc";

/// A message with its prefix.
fn message(text: &str) -> Vec<u8> {
    [&[0][..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn request() -> Request<()> {
    Request::post("/service/method").header("content-type", GRPC).body(()).unwrap()
}

/// What a client sees of an answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    /// The code and the message of the trailers, as far as they have them.
    pub(crate) trailers: Option<(Option<String>, Option<String>)>,
    pub(crate) failed: bool,
    pub(crate) ended: bool,
}

impl Seen {
    pub(crate) fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), ..Self::default() }
    }

    fn status(code: &str, message: &str) -> Self {
        let trailers = Some((Some(code.to_owned()), Some(message.to_owned())));
        Self { trailers, ended: true, ..Self::default() }
    }

    /// The trailers of the handler, which has none in them.
    pub(crate) fn inner_trailers(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), trailers: Some((None, None)), failed: false, ended: true }
    }
}

/// What can be had of an answer without waiting.
pub(crate) async fn now(client: &mut Client) -> Seen {
    let mut seen = Seen::default();
    unconstrained(poll_fn(|cx| {
        loop {
            let frame = match client.body().poll_frame(cx) {
                Poll::Pending => return Poll::Ready(()),
                Poll::Ready(None) => {
                    seen.ended = true;
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Err(_))) => {
                    seen.failed = true;
                    return Poll::Ready(());
                }
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            assert_eq!(seen.trailers, None, "nothing follows the trailers");
            match frame.into_data() {
                Ok(data) => seen.bytes.extend(data),
                Err(frame) => seen.trailers = frame.into_trailers().ok().map(|it| status_of(&it)),
            }
        }
    }))
    .await;
    seen
}

fn status_of(headers: &HeaderMap) -> (Option<String>, Option<String>) {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    (text("grpc-status"), text("grpc-message"))
}

fn serve(layer: &SseLayer) -> SseService<HandlerOf> {
    layer.layer(HandlerOf(GRPC))
}

pub(crate) fn answer<B>(response: Response<B>) -> (Feed, Client)
where
    B: Body<Data = bytes::Bytes, Error = Failure> + Send + 'static,
{
    let feed = response.extensions().get::<Feed>().unwrap().clone();
    (feed, Client::of(response))
}

fn begin(service: &mut SseService<HandlerOf>) -> (Feed, Client) {
    answer(call(service, request()))
}

/// What a handler answers that gives all this at once. Its body stays open as long as the head.
pub(crate) fn answer_with(
    kind: &'static str,
    request: Request<()>,
    data: &[Vec<u8>],
    last: Option<Piece>,
) -> Ready<Result<Response<Inner>, Infallible>> {
    let response = call(&mut HandlerOf(kind), request);
    let feed = response.extensions().get::<Feed>().unwrap();
    data.iter()
        .cloned()
        .map(|data| Piece::Data(data.into()))
        .chain(last)
        .for_each(|it| feed.give(it));
    ready(Ok(response))
}

fn everything(registry: &Registry, shutdown: &Shutdown) -> SseLayer {
    SseLayer::new()
        .keep_alive(KeepAliveLayer::every(SECOND).json_line(""))
        .event_ids(EventIdLayer::sequential())
        .close_at_end(CloseAtEndLayer::default())
        .registry(registry.clone())
        .shutdown(shutdown.clone())
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_is_untouched_and_never_registered_before_and_in_a_drain() {
    let (registry, limit) = (Registry::new(), Limit::new(1));
    let shutdown = at_once();
    let opened = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&opened);
    let hooked = Registry::builder()
        .on_open(move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        })
        .build()
        .unwrap();
    let layer = everything(&hooked, &shutdown).limit(limit.clone());
    let one = message("a message");
    let cut: Vec<Vec<u8>> = one.chunks(3).map(<[u8]>::to_vec).collect();
    // The one place of the limit is taken, and streams are refused: that is nothing to such calls.
    let (_feed, mut stream) =
        begin(&mut SseLayer::new().limit(limit.clone()).layer(HandlerOf(GRPC)));
    assert_eq!(now(&mut stream).await, Seen::default());
    assert_eq!(limit.open(), 1);
    for draining in [false, true] {
        if draining {
            shutdown.trigger();
        }
        for pieces in [vec![one.clone()], cut.clone(), vec![], vec![message("")]] {
            let unary = service_fn(|request| {
                let kind = "application/grpc+proto";
                answer_with(kind, request, &pieces, Some(Piece::Trailers))
            });
            let response = call(&mut layer.layer(unary), request());
            assert_eq!(response.status(), StatusCode::OK);
            let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
            assert_eq!(names, ["content-type"]);
            let mut client = Client::of(response);
            assert_eq!(now(&mut client).await, Seen::inner_trailers(pieces.concat()));
            assert_eq!(limit.open(), 1);
        }
    }
    assert_eq!(limit.refused(), 0);
    assert_eq!(opened.load(std::sync::atomic::Ordering::SeqCst), 0);
    assert!(registry.is_empty() && hooked.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_a_stream_once_it_has_to_be_waited_for_or_has_a_second_message() {
    let (registry, shutdown) = (Registry::new(), at_once());
    let layer = everything(&registry, &shutdown);
    let (_feed, mut waits) = begin(&mut serve(&layer));
    assert!(registry.is_empty(), "it may be a unary call yet");
    assert_eq!(now(&mut waits).await, Seen::default());
    assert_eq!(registry.len(), 1);

    let two = [message("a"), message("b")];
    let at_once = service_fn(|request| answer_with(GRPC, request, &two, None));
    let (_head, mut body) = call(&mut layer.layer(at_once), request()).into_parts();
    let mut first = || {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap(),
            other => panic!("{other:?}"),
        }
    };
    for (frame, streams) in [(&two[0], 1), (&two[1], 2)] {
        assert_eq!(first(), frame[..]);
        assert_eq!(registry.len(), streams, "with the first message it may be a unary call");
    }
}

#[tokio::test(start_paused = true)]
async fn messages_leave_whole_and_no_byte_is_written_between_them() {
    let (registry, shutdown) = (Registry::new(), at_once());
    let (feed, mut client) = begin(&mut serve(&everything(&registry, &shutdown)));
    assert_eq!(now(&mut client).await, Seen::default());
    let (a, b) = (message("a\n\n"), message("b"));
    feed.data([&a[..], &b[..3]].concat());
    assert_eq!(now(&mut client).await, Seen::bytes(a));
    for _ in 0..10 {
        advance(SECOND).await;
        assert_eq!(registry.broadcast(Event::new().data("{}")).sent, 1);
        assert_eq!(now(&mut client).await, Seen::default());
    }
    feed.data(b[3..].to_vec());
    assert_eq!(now(&mut client).await, Seen::bytes(b));
    feed.give(Piece::Trailers);
    assert_eq!(now(&mut client).await, Seen::inner_trailers([]), "inner trailers always pass");
    assert!(registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_stream_after_a_whole_message_with_unavailable() {
    for pushback in [false, true] {
        let mut closing = Farewell::close();
        if pushback {
            closing = closing.grpc_pushback();
        }
        let shutdown = Shutdown::builder().window(std::time::Duration::ZERO).retry(SECOND..=SECOND);
        let shutdown = shutdown.farewell(closing).build().unwrap();
        let mut service = serve(&SseLayer::new().shutdown(shutdown.clone()));
        let (feed, mut client) = begin(&mut service);
        feed.data([message("a"), message("b")[..4].to_vec()].concat());
        assert_eq!(now(&mut client).await, Seen::bytes(message("a")));
        shutdown.trigger();
        let trailers = poll_fn(|cx| client.body().poll_frame(cx)).await.unwrap().unwrap();
        let trailers = trailers.into_trailers().unwrap();
        let expected = (Some("14".to_owned()), Some("the server shuts down".to_owned()));
        assert_eq!(status_of(&trailers), expected);
        let told = trailers.get("grpc-retry-pushback-ms").map(|it| it.to_str().unwrap());
        assert_eq!(told, pushback.then_some("1000"));
        assert!(feed.is_gone() && client.body().is_end_stream());
        assert_eq!(now(&mut client).await, Seen { ended: true, ..Seen::default() });

        // Who comes now is refused in the head, which clients may try again.
        let refused = call(&mut service, request());
        assert_eq!(refused.status(), StatusCode::OK);
        assert_eq!(status_of(refused.headers()), expected);
        assert_eq!(refused.headers()["content-type"], GRPC);
        assert_eq!(refused.headers().contains_key("grpc-retry-pushback-ms"), pushback);
        assert!(refused.body().is_end_stream());
    }
}

#[tokio::test(start_paused = true)]
async fn each_end_by_the_server_has_its_status() {
    let registry = Registry::new();
    let layer = SseLayer::new().registry(registry.clone());
    let (_feed, mut client) = begin(&mut serve(&layer));
    now(&mut client).await;
    registry.close_where(|_| true, Farewell::close());
    assert_eq!(now(&mut client).await, Seen::status("14", "the server closed the stream"));

    let (_feed, mut client) =
        begin(&mut serve(&layer.clone().rotation(RotationLayer::new().max_age(SECOND))));
    now(&mut client).await;
    advance(2 * SECOND).await;
    assert_eq!(now(&mut client).await, Seen::status("14", "the stream has reached its age"));

    let mut expiring = request();
    expiring.extensions_mut().insert(Expiry::at(std::time::SystemTime::now() - SECOND));
    let (_feed, mut client) = answer(call(&mut serve(&layer), expiring));
    assert_eq!(now(&mut client).await, Seen::status("16", "the credential has expired"));
    assert!(registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_above_a_limit_is_refused_as_exhausted() {
    let limit = Limit::new(1);
    let mut service = serve(&SseLayer::new().limit(limit.clone()));
    let (_feed, mut client) = begin(&mut service);
    // Two whose heads are out before either is known to be a stream.
    let (_other, mut late) = begin(&mut service);
    now(&mut client).await;
    let full = "too many streams are open";
    assert_eq!(now(&mut late).await, Seen::status("8", full), "told late");
    let refused = call(&mut service, request());
    assert_eq!(status_of(refused.headers()), (Some("8".into()), Some(full.into())));
    assert!(refused.body().is_end_stream());
    assert_eq!((limit.open(), limit.refused()), (1, 2));
    drop(client);
    assert_eq!(limit.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_passes_as_it_is_or_becomes_a_status_where_that_is_asked_for() {
    let (feed, mut client) = begin(&mut serve(&SseLayer::new()));
    now(&mut client).await;
    feed.give(Piece::Fail);
    assert_eq!(now(&mut client).await, Seen { failed: true, ..Seen::default() });

    let closing = ShutdownLayer::new(at_once()).farewell_on_error(Farewell::close());
    let (feed, mut client) = begin(&mut serve(&SseLayer::new().shutdown(closing)));
    now(&mut client).await;
    feed.data(message("a")[..3].to_vec());
    feed.give(Piece::Fail);
    assert_eq!(now(&mut client).await, Seen::status("13", "the stream failed"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_in_a_message_passes_so_that_its_client_sees_it() {
    let registry = Registry::new();
    let (feed, mut client) = begin(&mut serve(&SseLayer::new().registry(registry.clone())));
    now(&mut client).await;
    feed.data(message("abc")[..6].to_vec());
    drop(feed);
    let cut = Seen { bytes: message("abc")[..6].to_vec(), ended: true, ..Seen::default() };
    assert_eq!(now(&mut client).await, cut);
}

#[tokio::test(start_paused = true)]
async fn other_kinds_of_calls_pass_as_they_are() {
    for other in ["application/grpcx", "application/grpc-webx", "application/connect"] {
        let registry = Registry::new();
        let layer = SseLayer::new().registry(registry.clone());
        let (_feed, mut client) = begin(&mut layer.layer(HandlerOf(other)));
        assert_eq!(now(&mut client).await, Seen::default());
        assert!(registry.is_empty(), "{other}");
    }
}
