//! The body of a stream: its end, its trailers, its failures, and bodies that are hard to poll.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::task::{ArcWake, noop_waker, waker};
use futures_util::{FutureExt, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{Channel, StreamBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_sse::wire::Decoder;
use tower_sse::{
    EventIdLayer, Farewell, KeepAliveLayer, NoBufferLayer, Shutdown, ShutdownLayer, SseBody,
    SseLayer, SseService,
};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Fail, Flood, Hang, Trailers, Wait};
use crate::harness::bodies::{Broken, Script, read};

#[tokio::test(start_paused = true)]
async fn a_body_that_is_polled_after_its_end_stays_over() {
    for steps in [vec![], vec![Data("data: a\n\n")], vec![Data("data: cut off")]] {
        let mut body = respond(&all(), Script::new(steps));
        assert!(read(&mut body, FOREVER).await.ended);
        for _ in 0..3 {
            assert!(body.is_end_stream());
            assert!(matches!(poll(&mut body), Poll::Ready(None)));
        }
    }
}

/// `stream::unfold` panics when it is polled behind its end, and `StreamBody` passes polls on.
#[tokio::test(start_paused = true)]
async fn an_inner_body_made_by_unfold_is_not_polled_after_its_end() {
    assert_is_fused(&all(), "text/event-stream").await;
    assert_is_fused(&NoBufferLayer::new(), "text/event-stream").await;
}

#[tokio::test(start_paused = true)]
async fn an_inner_body_of_any_kind_is_not_polled_after_its_end() {
    assert_is_fused(&all(), "text/plain").await;
}

async fn assert_is_fused<L>(layer: &L, content_type: &'static str)
where
    L: Layer<Handler<Unfolded>, Service = SseService<Handler<Unfolded>>>,
{
    let stream = futures_util::stream::unfold(0, |n| async move {
        let frame = Frame::data(Bytes::from_static(b"data: a\n\n"));
        (n < 3).then_some((Ok::<_, Infallible>(frame), n + 1))
    });
    let mut body = respond_as(layer, content_type, StreamBody::new(stream.boxed()));
    assert!(read(&mut body, FOREVER).await.ended);
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
}

type Unfolded = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

#[tokio::test(start_paused = true)]
async fn the_inner_body_is_dropped_with_its_end() {
    for steps in [vec![Data("data: a\n\n")], vec![Fail("gone")]] {
        let script = Script::new(steps);
        let dropped = script.drop_flag();
        let mut body = respond(&all(), script);
        assert!(!dropped.load(Ordering::SeqCst));
        read(&mut body, FOREVER).await;
        assert!(dropped.load(Ordering::SeqCst), "though the outer is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn the_inner_body_is_dropped_with_a_farewell() {
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let script = Script::new([Data("data: a\n\n"), Hang]);
    let dropped = script.drop_flag();
    let mut body = respond(&SseLayer::new().shutdown(shutdown.clone()), script);
    shutdown.trigger();
    assert!(read(&mut body, FOREVER).await.ended);
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn trailers_come_after_the_last_whole_event() {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    for events in [vec![Data("data: a\n\n")], vec![Data("data: a\n"), Data("\n")]] {
        let steps = events.into_iter().chain([Trailers(trailers.clone())]);
        let mut body = respond(&all(), Script::new(steps));
        let read = read(&mut body, FOREVER).await;
        assert_eq!(read.text(), ":\ndata: a\nid: 1\n\n");
        assert_eq!(read.trailers.as_ref(), Some(&trailers));
        assert!(read.ended);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_passes_as_it_is_and_the_body_is_over() {
    let steps = [Data("data: a\n\nda"), Wait(SECOND), Fail("upstream gone")];
    let mut body = respond(&all(), Script::new(steps));
    let read = read(&mut body, FOREVER).await;
    assert_eq!(read.text(), ":\ndata: a\nid: 1\n\n");
    assert_eq!(read.error, Some(Broken("upstream gone")));
    assert!(read.ended && body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_farewell_on_error_stands_in_for_it() {
    let layer = ShutdownLayer::new(Shutdown::new()).farewell_on_error(Farewell::close());
    let mut body = respond(&layer, Script::new([Data("data: a\n\nda"), Fail("gone")]));
    let read = read(&mut body, FOREVER).await;
    let text = read.text();
    let farewell = text.strip_prefix("data: a\n\nevent: close\n").unwrap();
    assert!(farewell.starts_with("retry: "), "clients come back: {farewell}");
    assert!(farewell.ends_with("\ndata: {\"reason\":\"error\"}\n\n"), "{farewell}");
    assert_eq!(read.error, None);
    assert!(read.ended);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_not_over_before_everything_was_sent() {
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let layer = all().shutdown(shutdown.clone());
    let mut body = respond(&layer, Script::new([Data("data: a\n\n"), Hang]).exact(0));
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    while !body.is_end_stream() {
        match poll(&mut body) {
            Poll::Ready(Some(frame)) => {
                events.extend(decoder.decode(&frame.unwrap().into_data().unwrap()));
            }
            Poll::Ready(None) => break,
            Poll::Pending => shutdown.trigger(),
        }
    }
    let names: Vec<_> = events.iter().map(|event| &event.event).collect();
    assert_eq!(names, ["message", "close"]);
}

#[tokio::test(start_paused = true)]
async fn empty_frames_are_nothing() {
    let mut body = respond(
        &all(),
        Script::new([
            Data(""),
            Data("data: a"),
            Data(""),
            Data("\n\n"),
            Data(""),
            Wait(SECOND),
            Data(""),
            Data("data: b\n\n"),
            Data(""),
        ]),
    );
    let read = read(&mut body, FOREVER).await;
    assert_eq!(read.text(), ":\ndata: a\nid: 1\n\ndata: b\nid: 2\n\n");
    assert!(read.chunks.iter().all(|(_, text)| !text.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_nothing_can_be_sent_yet_does_not_hog_a_poll() {
    for flood in ["", "d", ":"] {
        let mut body = respond(&all(), Script::new([Flood(flood)]));
        let woken = Arc::new(Woken::default());
        let waker = waker(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        // The opening comment.
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_ready());
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending(), "{flood:?}");
        assert!(*woken.0.lock().unwrap(), "{flood:?} goes on by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_nothing_is_ended_by_a_drain() {
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let mut body = respond(&all().shutdown(shutdown.clone()), Script::new([Flood("")]));
    shutdown.trigger();
    assert!(read(&mut body, FOREVER).await.ended);
}

/// While a long event passes, the stream waits for the moment to cut it; behind it, for its turn.
#[tokio::test(start_paused = true)]
async fn a_long_event_that_has_ended_delays_no_farewell() {
    let shutdown = Shutdown::builder().rate(1).window(10 * SECOND).deadline(20 * SECOND);
    let shutdown = shutdown.build().unwrap();
    let layer = SseLayer::off().hold_limit(8).shutdown(shutdown.clone());
    let long = [Data("data: long, "), Wait(2 * SECOND), Data("longer\n\n"), Hang];
    let short = [Data("data: a\n\n"), Wait(2 * SECOND), Data("data: b\n\n"), Hang];
    // Among others, so that their turn comes later than that.
    let others =
        |count| (0..count).map(|_| respond(&layer, Script::new([Hang]))).collect::<Vec<_>>();
    let _earlier = others(2);
    let mut bodies = [long, short].map(|steps| respond(&layer, Script::new(steps)));
    let _later = others(6);
    shutdown.trigger();
    let [long, short] = &mut bodies;
    let (long, short) = tokio::join!(read(long, FOREVER), read(short, FOREVER));
    for read in [long, short] {
        let (at, farewell) = read.chunks.last().unwrap();
        assert!(farewell.starts_with("event: close\n"), "{:?}", read.chunks);
        assert!(*at > 2_000 && *at < 10_000, "after the window: {:?}", read.chunks);
    }
}

/// A burst uses up the task's budget, and a timer that is polled then says `Pending` without
/// having taken note of who waits for it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_with_a_burst_is_kept_alive_after_it() {
    let (mut events, body) = Channel::<Bytes, Infallible>::new(300);
    for _ in 0..300 {
        let event = Bytes::from_static(b"data: a\n\n");
        events.try_send(Frame::data(event)).unwrap();
    }
    let layer = KeepAliveLayer::every(SECOND).jitter(0.0);
    let mut body = respond(&layer, body);
    // In a task of its own, as servers do: only there is a budget.
    let read = tokio::spawn(async move { read(&mut body, 10 * SECOND).await });
    let text = read.await.unwrap().text();
    drop(events);
    let comments = text.lines().filter(|line| *line == ":").count();
    assert!(comments > 9, "{comments} comments in ten seconds");
}

/// Keepalive and ids.
fn all() -> SseLayer {
    SseLayer::new().event_ids(EventIdLayer::sequential())
}

fn respond<L, B>(layer: &L, body: B) -> SseBody<B>
where
    L: Layer<Handler<B>, Service = SseService<Handler<B>>>,
    B: Body<Data = Bytes> + Send + 'static,
{
    respond_as(layer, "text/event-stream", body)
}

type Handler<B> = tower::util::BoxService<Request<()>, Response<B>, Infallible>;

/// The body that `layer` makes of `body`.
fn respond_as<L, B>(layer: &L, content_type: &'static str, body: B) -> SseBody<B>
where
    L: Layer<Handler<B>, Service = SseService<Handler<B>>>,
    B: Body<Data = Bytes> + Send + 'static,
{
    let mut body = Some(body);
    let handler = service_fn(move |_: Request<()>| {
        let mut response = Response::new(body.take().unwrap());
        let content_type = content_type.parse().unwrap();
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let service = layer.layer(Handler::new(handler));
    let response = service.oneshot(Request::new(())).now_or_never();
    response.unwrap().unwrap().into_body()
}

type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

fn poll<B: Body + Unpin>(body: &mut B) -> Polled<B> {
    let waker = noop_waker();
    Pin::new(body).poll_frame(&mut Context::from_waker(&waker))
}

#[derive(Default)]
struct Woken(Mutex<bool>);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        *this.0.lock().unwrap() = true;
    }
}

const FOREVER: Duration = Duration::from_secs(3600);
