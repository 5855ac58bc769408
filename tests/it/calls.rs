//! What the layers do for calls of gRPC-Web and of Connect, whose status is the last message.

use std::convert::Infallible;
use std::future::ready;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use tokio::task::yield_now;
use tokio::time::advance;
use tower::{Layer, service_fn};
use tower_sse::{
    Event, Expiry, Farewell, KeepAliveLayer, Limit, Registry, Shutdown, SseLayer, SseService,
};

use crate::grpc::{Seen, answer, answer_with, now};
use crate::harness::SECOND;
use crate::harness::rig::{Client, Feed, HandlerOf, Piece, at_once, call};

const WEB: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";
const CONNECT: &str = "application/connect+json";

/// A message as this content type has it.
fn message(kind: &str, flag: u8, text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap().to_be_bytes();
    let message = [&[flag][..], &len, text.as_bytes()].concat();
    if kind == TEXT { BASE64_STANDARD.encode(message).into_bytes() } else { message }
}

/// The last message of a call that the server ends, with this more in its headers.
fn last(kind: &str, code: (&str, &str), text: &str, more: &str) -> Vec<u8> {
    if kind == CONNECT {
        let name = code.1;
        let text = format!(r#"{{"error":{{"code":"{name}","message":"{text}"}}}}"#);
        return message(kind, 2, &text);
    }
    message(kind, 0x80, &format!("grpc-status:{}\r\ngrpc-message:{text}\r\n{more}", code.0))
}

/// The last message of a call that ends well.
fn own_last(kind: &str) -> Vec<u8> {
    if kind == CONNECT { message(kind, 2, "{}") } else { message(kind, 0x80, "grpc-status:0\r\n") }
}

const UNAVAILABLE: (&str, &str) = ("14", "unavailable");
const EXHAUSTED: (&str, &str) = ("8", "resource_exhausted");
const UNAUTHENTICATED: (&str, &str) = ("16", "unauthenticated");
const SHUTS_DOWN: &str = "the server shuts down";

fn request() -> Request<()> {
    Request::post("/service/method").body(()).unwrap()
}

fn begin(service: &mut SseService<HandlerOf>) -> (Feed, Client) {
    answer(call(service, request()))
}

/// A client has this, and that was all.
fn ended(bytes: impl Into<Vec<u8>>) -> Seen {
    Seen { bytes: bytes.into(), ended: true, ..Seen::default() }
}

/// What a client makes of a call that was refused: the status in the head, or the last message.
async fn refused<B>(kind: &str, response: Response<B>) -> Result<HeaderMap, Seen>
where
    B: Body<Data = Bytes, Error = crate::harness::rig::Failure> + Send + 'static,
{
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], kind);
    let headers = response.headers().clone();
    let seen = now(&mut Client::of(response)).await;
    if headers.contains_key("grpc-status") {
        assert_eq!(seen, ended([]), "nothing follows a status in the head");
        return Ok(headers);
    }
    Err(seen)
}

#[tokio::test(start_paused = true)]
async fn messages_leave_whole_and_a_drain_ends_a_stream_with_a_last_message() {
    for kind in [WEB, TEXT, CONNECT] {
        for pushback in [false, true] {
            let mut closing = Farewell::close();
            if pushback {
                closing = closing.grpc_pushback();
            }
            let shutdown =
                Shutdown::builder().window(std::time::Duration::ZERO).retry(SECOND..=SECOND);
            let shutdown = shutdown.farewell(closing).build().unwrap();
            let registry = Registry::new();
            let layer = SseLayer::new()
                .keep_alive(KeepAliveLayer::every(SECOND).json_line(""))
                .registry(registry.clone())
                .shutdown(shutdown.clone());
            let mut service = layer.layer(HandlerOf(kind));
            let (feed, mut client) = begin(&mut service);
            assert_eq!(now(&mut client).await, Seen::default());
            let (a, b) = (message(kind, 0, "ab"), message(kind, 1, "b"));
            feed.data([&a[..], &b[..5]].concat());
            assert_eq!(now(&mut client).await, Seen::bytes(a));
            for _ in 0..10 {
                advance(SECOND).await;
                registry.broadcast(Event::new().data("{}"));
                assert_eq!(now(&mut client).await, Seen::default(), "{kind}");
            }
            feed.data(b[5..].to_vec());
            assert_eq!(now(&mut client).await, Seen::bytes(b.clone()));
            feed.data(b[..5].to_vec());
            assert_eq!((now(&mut client).await, registry.len()), (Seen::default(), 1));

            shutdown.trigger();
            let more = if pushback { "grpc-retry-pushback-ms:1000\r\n" } else { "" };
            assert_eq!(now(&mut client).await, ended(last(kind, UNAVAILABLE, SHUTS_DOWN, more)));
            assert!(feed.is_gone() && client.body().is_end_stream() && registry.is_empty());

            // Who comes now is refused at once.
            match refused(kind, call(&mut service, request())).await {
                Ok(head) => {
                    assert_eq!(
                        (&head["grpc-status"], &head["grpc-message"]),
                        (&"14".parse().unwrap(), &SHUTS_DOWN.parse().unwrap())
                    );
                    assert_eq!(head.contains_key("grpc-retry-pushback-ms"), pushback);
                    assert_ne!(kind, CONNECT);
                }
                Err(seen) => {
                    assert_eq!(seen, ended(last(kind, UNAVAILABLE, SHUTS_DOWN, "")));
                    assert_eq!(kind, CONNECT);
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_message_of_the_stream_itself_passes_and_nothing_follows_it() {
    for kind in [WEB, TEXT, CONNECT] {
        let (registry, shutdown) = (Registry::new(), at_once());
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        let (feed, mut client) = begin(&mut layer.layer(HandlerOf(kind)));
        assert_eq!(now(&mut client).await, Seen::default());
        let whole = [message(kind, 0, "a"), own_last(kind)].concat();
        feed.data(whole.clone());
        feed.data(message(kind, 0, "late"));
        assert_eq!(now(&mut client).await, ended(whole), "{kind}");
        shutdown.trigger();
        assert_eq!(now(&mut client).await, ended([]));
        assert!(feed.is_gone() && registry.is_empty());
        assert_eq!(shutdown.drain().await.closed, 0, "it had ended by itself");
    }
}

#[tokio::test(start_paused = true)]
async fn a_unary_call_of_grpc_web_is_untouched_before_and_in_a_drain_and_at_a_limit() {
    for kind in [WEB, TEXT] {
        let (registry, limit, shutdown) = (Registry::new(), Limit::new(1), at_once());
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        let layer = layer.limit(limit.clone());
        let (_feed, mut stream) =
            begin(&mut SseLayer::new().limit(limit.clone()).layer(HandlerOf(kind)));
        now(&mut stream).await;
        assert_eq!(limit.open(), 1);
        let both = [message(kind, 0, "an answer"), own_last(kind)].concat();
        let apart = vec![message(kind, 0, "an answer"), own_last(kind)];
        for draining in [false, true] {
            if draining {
                shutdown.trigger();
            }
            for pieces in [
                vec![both.clone()],
                apart.clone(),
                both.chunks(1).map(<[u8]>::to_vec).collect(),
                both.chunks(7).map(<[u8]>::to_vec).collect(),
                vec![own_last(kind)],
            ] {
                let sent = pieces.concat();
                // Each reads as much as one poll of a task may.
                yield_now().await;
                let unary = service_fn(|request| answer_with(kind, request, &pieces, None));
                let response = call(&mut layer.layer(unary), request());
                let names: Vec<_> =
                    response.headers().keys().map(http::HeaderName::as_str).collect();
                assert_eq!(names, ["content-type"]);
                // Its body is not at its end, but after its last message it is no stream.
                let seen = now(&mut Client::of(response)).await;
                assert_eq!((seen.bytes, seen.trailers, registry.len()), (sent, None, 0), "{kind}");
            }
        }
        assert_eq!((limit.open(), limit.refused()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_above_a_limit_is_refused_as_exhausted_in_the_head_or_in_its_last_message() {
    let full = "too many streams are open";
    for kind in [WEB, TEXT, CONNECT] {
        let limit = Limit::new(1);
        let mut service = SseLayer::new().limit(limit.clone()).layer(HandlerOf(kind));
        let (_feed, mut client) = begin(&mut service);
        // One whose head is out before it is known to be a stream.
        let late = (kind != CONNECT).then(|| begin(&mut service));
        now(&mut client).await;
        if let Some((_feed, mut late)) = late {
            assert_eq!(now(&mut late).await, ended(last(kind, EXHAUSTED, full, "")));
        }
        match refused(kind, call(&mut service, request())).await {
            Ok(head) => assert_eq!(head["grpc-status"], "8"),
            Err(seen) => assert_eq!(seen, ended(last(kind, EXHAUSTED, full, ""))),
        }
        assert_eq!(limit.open(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_after_half_a_message_just_ends() {
    let limit = Limit::new(1);
    let mut service = SseLayer::new().limit(limit.clone()).layer(HandlerOf(WEB));
    let ((_feed, mut client), (half, mut late)) = (begin(&mut service), begin(&mut service));
    now(&mut client).await;
    let begun = message(WEB, 0, "a message")[..8].to_vec();
    half.data(begun.clone());
    assert_eq!(now(&mut late).await, ended(begun), "a status would be read as part of it");
}

#[tokio::test(start_paused = true)]
async fn an_expired_credential_and_a_failure_are_told_in_the_last_message() {
    for kind in [WEB, TEXT, CONNECT] {
        let mut expiring = request();
        expiring.extensions_mut().insert(Expiry::at(std::time::SystemTime::now() - SECOND));
        let (_feed, mut client) =
            answer(call(&mut SseLayer::new().layer(HandlerOf(kind)), expiring));
        let expected = last(kind, UNAUTHENTICATED, "the credential has expired", "");
        assert_eq!(now(&mut client).await, ended(expected));

        let closing = tower_sse::ShutdownLayer::new(at_once()).farewell_on_error(Farewell::close());
        let (feed, mut client) =
            begin(&mut SseLayer::new().shutdown(closing).layer(HandlerOf(kind)));
        now(&mut client).await;
        feed.data(message(kind, 0, "a")[..3].to_vec());
        feed.give(Piece::Fail);
        let expected = last(kind, ("13", "internal"), "the stream failed", "");
        assert_eq!(now(&mut client).await, ended(expected));
    }
}

/// Whether an answer is one message is found out by reading it.
#[tokio::test(start_paused = true)]
async fn an_answer_above_a_limit_is_not_read_for_ever_if_its_frames_have_no_bytes() {
    let handler = service_fn(|_: Request<()>| {
        let mut polls = 0;
        let frames = stream::repeat_with(move || {
            polls += 1;
            assert!(polls < 100_000, "it is read for ever");
            Ok::<_, Infallible>(Frame::data(Bytes::new()))
        });
        let response = Response::builder().header("content-type", WEB);
        ready(Ok::<_, Infallible>(response.body(StreamBody::new(frames)).unwrap()))
    });
    let response = call(&mut SseLayer::new().limit(Limit::new(0)).layer(handler), request());
    assert_eq!(response.headers()["grpc-status"], EXHAUSTED.0);
}
