//! Wakers that panic, as those of a foreign executor may: no other task stays asleep.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::Request;
use http_body::Body;
use tower::{Layer, ServiceExt};
use tower_sse::{Event, Registry, Shutdown, SseBody, SseLayer};

use crate::harness::bodies::Script;
use crate::harness::bodies::Step::Hang;
use crate::harness::layers::handler_of;
use crate::harness::wakes::{Panicking, Wakes};

/// A stream of this layer that waits, polled with this waker.
fn waiting(layer: &SseLayer, waker: &Waker) -> SseBody<Script> {
    let handler = handler_of(|| vec![Hang]);
    let response: Result<_, Infallible> =
        layer.layer(handler).oneshot(Request::new(())).now_or_never().unwrap();
    let mut body = response.unwrap().into_body();
    while poll(&mut body, waker).is_ready() {}
    body
}

fn poll<B: Body<Data = Bytes> + Unpin>(body: &mut B, waker: &Waker) -> Poll<Option<Bytes>> {
    let polled = Pin::new(body).poll_frame(&mut Context::from_waker(waker));
    polled.map(|frame| frame.map(|frame| frame.ok().unwrap().into_data().ok().unwrap()))
}

/// The waker of the n-th of several tasks: each third one panics.
fn nth(n: usize, good: &Waker) -> Waker {
    if n % 3 == 0 { Panicking::waker() } else { good.clone() }
}

/// So many streams, of which each third one has a waker that panics, and the wakes of the others.
fn streams(layer: &SseLayer, count: usize) -> (Vec<SseBody<Script>>, Arc<Wakes>) {
    let woken = Arc::new(Wakes::default());
    let good = Waker::from(Arc::clone(&woken));
    ((0..count).map(|n| waiting(layer, &nth(n, &good))).collect(), woken)
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_keeps_no_stream_from_what_is_sent_to_all() {
    let registry = Registry::new();
    let layer = SseLayer::new().registry(registry.clone());
    let (mut streams, woken) = streams(&layer, 300);
    for round in 1..3 {
        assert_eq!(registry.broadcast(Event::new().data("x")).sent, 300);
        assert_eq!(woken.count(), round * 200, "each of the others is woken");
        for (n, stream) in streams.iter_mut().enumerate() {
            let its = nth(n, &Waker::from(Arc::clone(&woken)));
            let Poll::Ready(Some(bytes)) = poll(stream, &its) else {
                panic!("the {n}th stream has nothing");
            };
            assert_eq!(bytes, "data: x\n\n");
            assert!(poll(stream, &its).is_pending());
        }
    }
    for info in registry.snapshot() {
        assert!(registry.send(info.id, Event::new().data("y")).is_ok());
    }
    assert_eq!(woken.count(), 3 * 200);
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_keeps_no_stream_and_no_other_task_from_a_drain() {
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let (mut streams, woken) = streams(&SseLayer::new().shutdown(shutdown.clone()), 300);
    let others = Arc::new(Wakes::default());
    let good = Waker::from(Arc::clone(&others));
    let mut waiting: Vec<_> = (0..30).map(|_| Box::pin(shutdown.triggered())).collect();
    poll_all(&mut waiting, &good);
    shutdown.trigger();
    assert_eq!((woken.count(), others.count()), (200, 20));
    assert!(waiting.iter_mut().all(|it| it.as_mut().poll(&mut cx()).is_ready()));

    let mut waiting: Vec<_> = (0..30).map(|_| Box::pin(shutdown.drain())).collect();
    poll_all(&mut waiting, &good);
    for stream in &mut streams {
        let Poll::Ready(Some(bytes)) = poll(stream, Waker::noop()) else {
            panic!("the stream is not closed");
        };
        assert!(bytes.starts_with(b"event: close\n"), "{bytes:?}");
    }
    assert_eq!(others.count(), 20);
    streams.clear();
    assert_eq!(others.count(), 40);
    assert!(waiting.iter_mut().all(|it| it.as_mut().poll(&mut cx()).is_ready()));
}

/// Polls futures that wait, each third one with a waker that panics.
fn poll_all(waiting: &mut [Pin<Box<impl Future>>], good: &Waker) {
    for (n, future) in waiting.iter_mut().enumerate() {
        let its = nth(n, good);
        assert!(future.as_mut().poll(&mut Context::from_waker(&its)).is_pending());
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[cfg(feature = "hub")]
mod logs {
    use std::task::Waker;

    use tower_sse::event_log::{MemoryLog, Start};

    use super::{Arc, Wakes, nth};
    use crate::harness::hub::{append, follow, next, next_for, said, topic};
    use crate::harness::wakes::PanickingDrop;

    #[test]
    fn a_waker_that_panics_keeps_no_follower_from_an_event_and_no_event_from_the_log() {
        for names in [&["a"][..], &["a", "b"], &["*"]] {
            let (log, woken) = (MemoryLog::new(), Arc::new(Wakes::default()));
            let good = Waker::from(Arc::clone(&woken));
            let mut followers: Vec<_> = (0..30).map(|_| follow(&log, names, Start::Live)).collect();
            for round in 1..4 {
                for (n, follower) in followers.iter_mut().enumerate() {
                    assert!(next_for(follower, &nth(n, &good)).is_none());
                }
                append(&log, "a", "x");
                assert_eq!(woken.count(), round * 20, "{names:?}");
                for follower in &mut followers {
                    assert_eq!(said(&next(follower).unwrap()), "x");
                }
            }
        }
    }

    #[test]
    fn a_waker_that_panics_when_it_is_dropped_leaves_nothing_of_its_follower() {
        for names in [&["a"][..], &["a", "b"], &["*"]] {
            let log = MemoryLog::new();
            let mut follower = follow(&log, names, Start::Live);
            let waker = PanickingDrop::waker();
            assert!(next_for(&mut follower, &waker).is_none());
            drop(waker);
            drop(follower);
            append(&log, "a", "x");
            assert_eq!(log.followers(&topic("a")), 0, "{names:?}");
        }
    }
}

#[cfg(feature = "resume")]
#[tokio::test(start_paused = true)]
async fn a_reader_whose_waker_panics_keeps_no_other_reader_from_the_stream() {
    use crate::harness::SECOND;
    use crate::harness::bodies::Step::{Data, Wait};
    use crate::harness::bodies::read;
    use crate::harness::resume::{Handled, ask, layer, request, seen, service};
    use tower_sse::resume::Join;

    let layer = layer().join_by(|_| Some(Join::FromBeginning)).close_event(SECOND);
    let service = service(layer, &Handled::default(), || {
        vec![Wait(SECOND), Data("data: 1\n\n"), Wait(SECOND), Data("data: 2\n\n"), Wait(SECOND)]
    });
    let mut first = ask(&service, request(None)).await.into_body();
    let other = tokio::spawn({
        let service = service.clone();
        async move { seen(&service, request(None), 10 * SECOND).await }
    });
    for _ in 0..3 {
        while poll(&mut first, &Panicking::waker()).is_ready() {}
        tokio::time::sleep(SECOND).await;
    }
    let other = other.await.unwrap();
    assert_eq!(other.data(), ["1", "2", "{\"reason\":\"finished\"}"]);
    assert!(other.ended);
    let rest = read(&mut first, SECOND).await;
    assert!(rest.ended && rest.text().contains("finished"), "{rest:?}");
}
