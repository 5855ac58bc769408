//! Mail and the end of a stream: what was sent before goes before the farewell, and no mail puts
//! the end off, its own or one that is asked for.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, advance, timeout};
use tower::{Layer, ServiceExt};
use tower_sse::{
    Event, Expiry, Farewell, KeepAliveLayer, Limit, Registry, RotationLayer, Shutdown,
    ShutdownLayer, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::rig::{
    Client, Failure, Fate, Feed, Handler, HandlerOf, Inner, Piece, get, open, open_with,
};

fn event(data: &str) -> Event {
    Event::new().data(data)
}

fn listed(registry: &Registry) -> SseLayer {
    SseLayer::new().keep_alive(KeepAliveLayer::off()).registry(registry.clone()).hold_limit(8)
}

/// A client that takes a frame each 100 milliseconds, of a stream that is sent much more.
async fn assert_ends_within(limit: Duration, registry: &Registry, mut client: Client) {
    let began = Instant::now();
    let mut last = String::new();
    loop {
        while registry.broadcast(event("x")).sent > 0 {}
        match client.next().await {
            Some(frame) => last = String::from_utf8(frame.unwrap().into()).unwrap(),
            None => break,
        }
        assert!(began.elapsed() < limit, "it goes on, with {last:?}");
        advance(SECOND / 10).await;
    }
    assert!(last.starts_with("event: close\n"), "{last:?}");
}

/// What was sent and not taken by then is still written, at the client's pace.
const MAILBOX: Duration = Duration::from_millis(64 * 100);

#[tokio::test(start_paused = true)]
async fn no_mail_puts_off_the_end_by_a_drain() {
    for finishes in [false, true] {
        let registry = Registry::new();
        let shutdown = Shutdown::builder().rate(1).deadline(60 * SECOND);
        let shutdown = shutdown.build().unwrap();
        let layer = ShutdownLayer::new(shutdown.clone());
        let layer = if finishes { layer.finish_within(20 * SECOND) } else { layer };
        let layer = listed(&registry).shutdown(layer);
        let (_feed, mut client) = open(&mut layer.layer(Handler));
        client.now().await;
        shutdown.trigger();
        assert_ends_within(20 * SECOND + 2 * MAILBOX, &registry, client).await;
        assert_eq!(shutdown.drain().await.closed, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn no_mail_puts_off_the_end_for_age() {
    let registry = Registry::new();
    let aged = RotationLayer::new().max_age(20 * SECOND);
    let (_feed, client) = open(&mut listed(&registry).rotation(aged).layer(Handler));
    assert_ends_within(20 * SECOND + 2 * MAILBOX, &registry, client).await;

    let mut request = get();
    request.extensions_mut().insert(Expiry::after(20 * SECOND));
    let (_feed, client) = open_with(&mut listed(&registry).layer(Handler), request);
    assert_ends_within(20 * SECOND + 2 * MAILBOX, &registry, client).await;
}

/// The handler's own events and its end come through, however much mail there is.
#[tokio::test(start_paused = true)]
async fn mail_leaves_the_stream_its_turn() {
    let registry = Registry::new();
    let (feed, mut client) = open(&mut listed(&registry).layer(Handler));
    client.now().await;
    (0..3).for_each(|n| feed.data(format!("data: own {n}\n\n")));
    drop(feed);
    let mut seen = Vec::new();
    for _ in 0..2_000 {
        while registry.broadcast(event("x")).sent > 0 {}
        let Some(frame) = client.next().await else {
            assert_eq!(seen, ["data: own 0\n\n", "data: own 1\n\n", "data: own 2\n\n"]);
            return;
        };
        let frame = String::from_utf8(frame.unwrap().into()).unwrap();
        seen.extend(Some(frame).filter(|frame| frame.contains("own")));
    }
    panic!("it is still open, and has said {seen:?}");
}

/// A client of a stream that ends by `end`, with mail that was sent before; so many times it has
/// taken a frame of mail then.
async fn ended_after_mail(before: usize, end: impl FnOnce(Feed)) -> Client {
    let registry = Registry::new();
    let (feed, mut client) = open(&mut listed(&registry).layer(Handler));
    client.now().await;
    for _ in 0..before {
        assert_eq!(registry.broadcast(event("x")).sent, 1);
        client.next().await.unwrap().unwrap();
    }
    assert_eq!(registry.broadcast(event("last")).sent, 1);
    end(feed);
    client
}

/// The body has its turn now and then, and what was sent before its last word goes before it.
#[tokio::test(start_paused = true)]
async fn mail_that_was_sent_before_the_stream_ended_is_written() {
    for before in 0..20 {
        let mut client = ended_after_mail(before, drop).await;
        assert_eq!(client.now().await, ("data: last\n\n".into(), Fate::Ended), "{before}");
    }
}

#[tokio::test(start_paused = true)]
async fn mail_that_was_sent_before_the_stream_failed_is_written() {
    for before in 0..20 {
        let mut client = ended_after_mail(before, |feed| feed.give(Piece::Fail)).await;
        assert_eq!(client.now().await, ("data: last\n\n".into(), Fate::Failed), "{before}");
    }
}

#[tokio::test(start_paused = true)]
async fn mail_that_was_sent_before_the_trailers_is_written_before_them() {
    for before in 0..20 {
        let mut client = ended_after_mail(before, |feed| feed.give(Piece::Trailers)).await;
        assert_eq!(client.next().await.unwrap().unwrap(), "data: last\n\n", "{before}");
        let last = poll_fn(|cx| client.body().poll_frame(cx)).await.unwrap().unwrap();
        assert!(last.is_trailers(), "{before}");
        assert!(client.next().await.is_none());
    }
}

/// A body that is always ready never lets its task wait for a timer.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_closed_in_an_endless_event_is_cut_however_busy_it_is() {
    let registry = Registry::new();
    let (feed, mut client) = open(&mut listed(&registry).layer(Handler));
    feed.data("data: far too long");
    client.now().await;
    (0..100).for_each(|_| feed.data(" and longer"));
    assert_eq!(registry.close_where(|_| true, Farewell::close()), 1);
    for _ in 0..20 {
        if client.next().await.is_none() {
            return;
        }
        advance(SECOND).await;
    }
    panic!("it goes on");
}

/// A stream in the middle of an event too long to hold, for which an event waits.
async fn flowing(registry: &Registry, layer: SseLayer) -> (Feed, Client) {
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    assert_eq!(client.now().await, ("data: far too long".into(), Fate::Open));
    assert_eq!(registry.broadcast(event("mail")).sent, 1);
    assert_eq!(client.now().await, (String::new(), Fate::Open));
    (feed, client)
}

async fn assert_mail_is_first(feed: Feed, mut client: Client) {
    assert_eq!(client.now().await, (String::new(), Fate::Open));
    feed.data("!\n\ndata: behind\n\ndata: and");
    let seen = timeout(SECOND, client.rest()).await.expect("it ends");
    assert_eq!(seen, "!\n\ndata: mail\n\ndata: bye\n\n");
}

#[tokio::test(start_paused = true)]
async fn mail_that_waits_for_the_end_of_a_long_event_goes_before_the_farewell() {
    let registry = Registry::new();
    let (feed, client) = flowing(&registry, listed(&registry)).await;
    registry.close_where(|_| true, Farewell::event(event("bye")));
    assert_mail_is_first(feed, client).await;

    let at_once =
        Shutdown::builder().window(Duration::ZERO).farewell(Farewell::bytes("data: bye\n\n"));
    let shutdown = at_once.build().unwrap();
    let (feed, client) = flowing(&registry, listed(&registry).shutdown(shutdown.clone())).await;
    shutdown.trigger();
    assert_mail_is_first(feed, client).await;
    assert_eq!(shutdown.drain().await.closed, 1);

    let aged = RotationLayer::new().max_age(SECOND).farewell(Farewell::bytes("data: bye\n\n"));
    let (feed, client) = flowing(&registry, listed(&registry).rotation(aged)).await;
    advance(SECOND).await;
    assert_mail_is_first(feed, client).await;

    let limit = Limit::builder().max(9).per_key(1, |_| "key").replace_oldest();
    let limit = limit.farewell(Farewell::bytes("data: bye\n\n")).build().unwrap();
    let layer = listed(&registry).limit(limit);
    let (feed, client) = flowing(&registry, layer.clone()).await;
    let _newer = open(&mut layer.layer(Handler));
    assert_mail_is_first(feed, client).await;
}

/// The body of a handler that tells all streams that this one ends.
struct SaysGoodbye(Inner, Registry);

impl Body for SaysGoodbye {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            for data in ["1", "2"] {
                assert_eq!(self.1.broadcast(event(data)).sent, 1);
            }
        }
        polled
    }
}

/// What a client sees of a stream with these pieces whose body sends mail when it ends. It was sent
/// mail before, so that it is the body's turn.
async fn with_goodbyes(layer: SseLayer, content_type: &'static str, pieces: Vec<Piece>) -> String {
    let registry = Registry::new();
    let layer = layer.keep_alive(KeepAliveLayer::off()).registry(registry.clone());
    let to_all = registry.clone();
    let handler = HandlerOf(content_type)
        .map_response(move |answer| answer.map(|body| SaysGoodbye(body, to_all.clone())));
    let (feed, mut client) = open(&mut layer.layer(handler));
    client.now().await;
    assert_eq!(registry.broadcast(event("0")).sent, 1);
    client.next().await.unwrap().unwrap();
    for piece in pieces {
        feed.give(piece);
    }
    drop(feed);
    client.now().await.0
}

#[tokio::test(start_paused = true)]
async fn mail_of_the_last_moment_goes_before_all_that_the_stream_ends_with() {
    let mail = "data: 1\n\ndata: 2\n\n";
    let close = || SseLayer::new().close_at_end(Farewell::bytes("data: bye\n\n"));
    let seen = with_goodbyes(close(), "text/event-stream", Vec::new()).await;
    assert_eq!(seen, format!("{mail}data: bye\n\n"));

    let on_error = ShutdownLayer::new(Shutdown::new()).farewell_on_error(Farewell::bytes("sorry"));
    let failing = SseLayer::new().shutdown(on_error);
    let seen = with_goodbyes(failing, "text/event-stream", vec![Piece::Fail]).await;
    assert_eq!(seen, format!("{mail}sorry"));

    // The last line has no end of its own, and is held in two pieces.
    let (begin, rest) = (format!("\"{}", "a".repeat(600)), format!("{}\"", "b".repeat(600)));
    let pieces = || [&begin, &rest].map(|it| Piece::Data(it.clone().into())).into();
    let seen = with_goodbyes(SseLayer::new(), "application/x-ndjson", pieces()).await;
    assert_eq!(seen, format!("1\n2\n{begin}{rest}"));
    let seen = with_goodbyes(close(), "application/x-ndjson", pieces()).await;
    assert_eq!(seen, format!("1\n2\n{begin}{rest}\ndata: bye\n\n"));
}
