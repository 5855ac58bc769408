//! A drain leaves no stream behind, whatever races with it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Poll, ready};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::Barrier;
use tokio::time::{Instant, timeout};
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{EndReason, KeepAliveLayer, Registry, Shutdown, ShutdownLayer, SseLayer};

use crate::harness::LONG;
use crate::harness::rig::{Client, Feed, Handler, at_once, open};

/// The names of the events in a stream.
fn names(stream: &str) -> Vec<String> {
    let events = Decoder::new().decode(stream.as_bytes());
    events.into_iter().map(|event| event.event).collect()
}

/// A drain that ends nothing for longer than the test waits, if it is not forced.
fn slow() -> Shutdown {
    let long = 10 * LONG;
    let builder = Shutdown::builder().notice(long).rate(1).window(long).deadline(long);
    builder.build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_that_open_during_the_trigger_are_drained() {
    streams_open_while(at_once(), Shutdown::trigger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn streams_that_open_while_a_drain_is_forced_are_drained() {
    streams_open_while(slow(), Shutdown::force).await;
    let shutdown = slow();
    shutdown.trigger();
    streams_open_while(shutdown, Shutdown::force).await;
}

/// Opens streams in many tasks while `act` begins to close them in another thread.
async fn streams_open_while(shutdown: Shutdown, act: fn(&Shutdown)) {
    const TASKS: usize = 50;
    const EACH: usize = 200;
    let registry = Registry::new();
    let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
    let service = layer.layer(Handler);
    let start = Arc::new(Barrier::new(TASKS + 1));
    let opened = Arc::new(AtomicUsize::new(0));
    let opens: Vec<_> = (0..TASKS)
        .map(|_| {
            let (mut service, start) = (service.clone(), Arc::clone(&start));
            let opened = Arc::clone(&opened);
            tokio::spawn(async move {
                start.wait().await;
                let mut reads: Vec<(Feed, _)> = Vec::new();
                for _ in 0..EACH {
                    let (feed, client) = open(&mut service);
                    opened.fetch_add(1, Ordering::Relaxed);
                    reads.push((feed, tokio::spawn(client.rest())));
                    tokio::task::yield_now().await;
                }
                let mut seen = Vec::new();
                for (_feed, read) in reads {
                    let read = timeout(LONG, read).await;
                    seen.push(names(&read.expect("a stream is left behind").unwrap()));
                }
                seen
            })
        })
        .collect();
    let trigger = {
        let (shutdown, opened) = (shutdown.clone(), Arc::clone(&opened));
        thread::spawn(move || {
            while opened.load(Ordering::Relaxed) < TASKS * EACH / 3 {
                std::hint::spin_loop();
            }
            act(&shutdown);
        })
    };
    start.wait().await;
    let (mut closed, mut refused) = (0, 0);
    for open in opens {
        for seen in open.await.unwrap() {
            match seen.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["close"] => closed += 1,
                ["draining"] => refused += 1,
                ref other => panic!("a stream saw {other:?}"),
            }
        }
    }
    trigger.join().unwrap();
    assert_eq!(closed + refused, TASKS * EACH);
    assert!(closed > 0 && refused > 0, "{closed} and {refused}: no race at all");
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.finished, report.forced), (closed, 0, 0));
    assert!(registry.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_trigger_between_two_polls_is_never_lost() {
    signal_between_two_polls(at_once, Shutdown::trigger).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_force_right_after_a_trigger_is_never_lost() {
    let trigger_and_force = |shutdown: &Shutdown| {
        shutdown.trigger();
        shutdown.force();
    };
    signal_between_two_polls(slow, trigger_and_force).await;
}

async fn signal_between_two_polls(shutdown: fn() -> Shutdown, signal: fn(&Shutdown)) {
    for _ in 0..1_000 {
        let shutdown = shutdown();
        let layer = SseLayer::new().keep_alive(KeepAliveLayer::off()).shutdown(shutdown.clone());
        let (feed, client) = open(&mut layer.layer(Handler));
        let read = tokio::spawn(client.rest());
        let feeding = tokio::spawn(async move {
            for _ in 0..3 {
                feed.data("data: a\n\n");
                tokio::task::yield_now().await;
            }
            feed
        });
        let trigger = tokio::task::spawn_blocking(move || signal(&shutdown));
        let seen = timeout(LONG, read).await.expect("a signal is lost");
        assert_eq!(names(&seen.unwrap()).last().unwrap(), "close");
        trigger.await.unwrap();
        feeding.await.unwrap();
    }
}

#[test]
fn a_drain_does_not_wait_for_a_stream_that_leaves_during_the_trigger() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let (give, take) = mpsc::channel::<(Client, Arc<AtomicUsize>)>();
    let leaving = thread::spawn(move || {
        for (n, (client, ready)) in take.into_iter().enumerate() {
            ready.fetch_add(1, Ordering::SeqCst);
            while ready.load(Ordering::SeqCst) < 2 {
                thread::yield_now();
            }
            // Sooner or later in the course of the trigger.
            (0..n % 512).for_each(|_| std::hint::spin_loop());
            drop(client);
            ready.fetch_add(1, Ordering::SeqCst);
        }
    });
    for _ in 0..5_000 {
        let shutdown = at_once();
        let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
        let ready = Arc::new(AtomicUsize::new(0));
        give.send((client, Arc::clone(&ready))).unwrap();
        while ready.load(Ordering::SeqCst) < 1 {
            thread::yield_now();
        }
        ready.fetch_add(1, Ordering::SeqCst);
        shutdown.trigger();
        while ready.load(Ordering::SeqCst) < 3 {
            thread::yield_now();
        }
        let report = shutdown.drain().now_or_never().expect("a drain waits for nobody");
        assert!((report.closed, report.forced) == (0, 0) && report.finished <= 1, "{report:?}");
    }
    drop(give);
    leaving.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_other_runtimes_are_drained() {
    const EACH: usize = 100;
    let (registry, shutdown) = (Registry::new(), at_once());
    let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
    let service = layer.layer(Handler);
    let runtimes: Vec<_> = (0..4)
        .map(|_| {
            let mut service = service.clone();
            thread::spawn(move || {
                let mut runtime = tokio::runtime::Builder::new_current_thread();
                let runtime = runtime.enable_all().build().unwrap();
                runtime.block_on(async {
                    let streams = (0..EACH).map(|_| open(&mut service));
                    let (_feeds, clients): (Vec<Feed>, Vec<_>) = streams.unzip();
                    let reads: Vec<_> =
                        clients.into_iter().map(|it| tokio::spawn(it.rest())).collect();
                    let mut closed = 0;
                    for read in reads {
                        closed += usize::from(names(&read.await.unwrap()) == ["close"]);
                    }
                    closed
                })
            })
        })
        .collect();
    while registry.len() < 4 * EACH {
        tokio::task::yield_now().await;
    }
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.forced), (4 * EACH, 0));
    for runtime in runtimes {
        assert_eq!(runtime.join().unwrap(), EACH);
    }
    assert!(registry.is_empty());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_streams_are_drained_in_one_tick_and_polled_once_each() {
    let ends = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ends);
    let registry = Registry::builder().on_close(move |_, reason| {
        count.fetch_add(usize::from(reason == EndReason::Closed), Ordering::Relaxed);
    });
    let (registry, shutdown) = (registry.build().unwrap(), at_once());
    let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
    let mut service = layer.layer(Handler);
    let streams = (0..10_000).map(|_| open(&mut service));
    let (_feeds, clients): (Vec<Feed>, Vec<Client>) = streams.unzip();
    let polls = Arc::new(AtomicUsize::new(0));
    let reads = clients.into_iter().map(|mut client| {
        let polls = Arc::clone(&polls);
        tokio::spawn(async move {
            let mut text = Vec::new();
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                loop {
                    match ready!(client.body().poll_frame(cx)) {
                        Some(frame) => text.extend(frame.unwrap().into_data().unwrap()),
                        None => return Poll::Ready(()),
                    }
                }
            })
            .await;
            String::from_utf8(text).unwrap()
        })
    });
    let reads: Vec<_> = reads.collect();
    while polls.load(Ordering::Relaxed) < 10_000 {
        tokio::task::yield_now().await;
    }
    polls.store(0, Ordering::Relaxed);

    let began = Instant::now();
    let report = shutdown.drain().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!((report.closed, report.forced), (10_000, 0));
    assert!(registry.is_empty());
    assert_eq!(ends.load(Ordering::Relaxed), 10_000);
    for read in reads {
        assert_eq!(names(&read.await.unwrap()), ["close"]);
    }
    assert_eq!(polls.load(Ordering::Relaxed), 10_000);
}
