//! A drain ends every stream behind a whole event, with a farewell, and says what it did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::Layer;
use tower_sse::{DrainReport, KeepAliveLayer, Registry, Shutdown, ShutdownLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Fate, Handler, Piece, at_once, open};

/// What a report tells apart from its time.
fn counts(report: &DrainReport) -> [usize; 4] {
    assert_eq!(report.stalled, 0, "nobody waits for so long here");
    [report.closed, report.finished, report.cut, report.forced]
}

const CLOSE: &str = "event: close\nretry: 1000\ndata: {\"reason\":\"shutdown\"}\n\n";

#[tokio::test(start_paused = true)]
async fn the_close_event_is_last_and_comes_in_the_same_tick() {
    let shutdown = at_once();
    let layer = SseLayer::new().shutdown(shutdown.clone());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    assert_eq!(client.now().await, (":\n".into(), Fate::Open));
    feed.data("data: a\n\n");
    shutdown.trigger();
    // What came before the signal was seen is not taken any more: a busy stream ends, too.
    assert_eq!(client.now().await, (CLOSE.into(), Fate::Ended));
    assert!(client.body().is_end_stream() && feed.is_gone());
    assert!(client.during(60 * SECOND).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_is_woken() {
    let shutdown = at_once();
    let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    let read = tokio::spawn(client.rest());
    tokio::task::yield_now().await;
    let began = Instant::now();
    shutdown.trigger();
    assert_eq!(read.await.unwrap(), CLOSE);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn nothing_but_the_farewell_is_polled_for_if_the_signal_came_first() {
    let shutdown = at_once();
    let (feed, mut client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    feed.data("data: a\n\n");
    shutdown.trigger();
    assert_eq!(client.now().await, (CLOSE.into(), Fate::Ended));
    assert!(!feed.was_polled() && feed.is_gone());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_in_the_tick_of_the_signal_ends_once() {
    for ends_first in [true, false] {
        for tail in ["", "data: a\n\n", "data: half"] {
            let shutdown = at_once();
            let (feed, mut client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
            client.now().await;
            if !ends_first {
                shutdown.trigger();
            }
            feed.data(tail);
            drop(feed);
            if ends_first {
                shutdown.trigger();
            }
            let (seen, fate) = client.now().await;
            assert_eq!(fate, Fate::Ended);
            assert_eq!(seen, CLOSE, "{tail}");
            assert_eq!(client.now().await, (String::new(), Fate::Ended));
            assert_eq!(counts(&shutdown.drain().await), [1, 0, 0, 0]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_comment_follows_a_close_event() {
    let shutdown = Shutdown::new();
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::every(SECOND));
    let (_feed, mut client) = open(&mut layer.shutdown(shutdown.clone()).layer(Handler));
    client.during(3 * SECOND).await;
    shutdown.trigger();
    let frames = client.during(60 * SECOND).await;
    let (last, before) = frames.split_last().unwrap();
    assert!(last.1.starts_with("event: close\n"), "{frames:?}");
    assert!(last.0 < 5 * SECOND);
    assert!(before.iter().all(|(_, comment)| comment == ":\n"), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_of_nothing_is_over_at_once() {
    let began = Instant::now();
    let report = Shutdown::new().drain().await;
    assert_eq!((counts(&report), report.elapsed), ([0; 4], Duration::ZERO));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[test]
fn a_drain_of_nothing_needs_no_runtime() {
    assert!(Shutdown::new().drain().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_report_adds_up() {
    let (registry, shutdown) = (Registry::new(), at_once());
    let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone()).hold_limit(8);
    let mut service = layer.layer(Handler);
    // Before the drain: not counted.
    drop(open(&mut service));
    let mut open_ones: Vec<_> = (0..10).map(|_| open(&mut service)).collect();
    for (_, client) in &mut open_ones {
        client.now().await;
    }
    let (feed, mut flowing) = open_ones.pop().unwrap();
    feed.data("data: far too long");
    flowing.now().await;
    let _unpolled = open(&mut service);
    shutdown.trigger();
    drop(open_ones.pop()); // its client goes away
    let (_feeds, clients): (Vec<_>, Vec<_>) = open_ones.into_iter().unzip();
    let reads: Vec<_> = clients.into_iter().map(|it| tokio::spawn(it.rest())).collect();
    tokio::spawn(flowing.rest());
    let report = shutdown.drain().await;
    assert_eq!(counts(&report), [8, 1, 1, 1]);
    assert_eq!(report.elapsed, 10 * SECOND);
    assert_eq!(registry.len(), 1);
    for read in reads {
        assert_eq!(read.await.unwrap(), CLOSE);
    }
}

#[tokio::test(start_paused = true)]
async fn each_way_to_end_is_counted_for_what_it_is() {
    let shutdown = Shutdown::builder().rate(1).build().unwrap();
    let layer = SseLayer::new().shutdown(shutdown.clone()).hold_limit(8);
    let mut service = layer.layer(Handler);
    let mut streams: Vec<_> = (0..4).map(|_| open(&mut service)).collect();
    for (feed, client) in &mut streams {
        feed.data("data: far too long");
        client.now().await;
    }
    shutdown.trigger();
    streams[0].0.data("!\n\n");
    streams[1].0.give(Piece::Fail);
    let (feeds, clients): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    let reads: Vec<_> = clients.into_iter().map(|it| tokio::spawn(it.rest())).collect();
    let mut feeds = feeds;
    drop(feeds.remove(2));
    assert_eq!(counts(&shutdown.drain().await), [1, 1, 2, 0]);
    let seen: Vec<String> = join_all(reads).await.into_iter().map(Result::unwrap).collect();
    assert!(seen[0].starts_with("!\n\nevent: close\n"), "{seen:?}");
    assert_eq!(seen[1..], ["", "", ""]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_bodies_that_are_not_polled_up_to_its_deadline() {
    let shutdown = at_once();
    let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    let drain = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.drain().await }
    });
    sleep(9 * SECOND).await;
    assert!(!drain.is_finished());
    let report = drain.await.unwrap();
    assert_eq!((counts(&report), report.elapsed), ([0, 0, 0, 1], 10 * SECOND));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn draining_twice_tells_the_same() {
    let shutdown = Shutdown::builder().rate(1).window(2 * SECOND).build().unwrap();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let streams: Vec<_> = (0..20).map(|_| open(&mut service)).collect();
    let (_feeds, clients): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    for client in clients {
        tokio::spawn(client.rest());
    }
    let drains = join_all((0..5).map(|_| shutdown.drain())).await;
    assert_eq!(counts(&drains[0]), [20, 0, 0, 0]);
    assert!(drains[0].elapsed < 2 * SECOND);
    assert!(drains.iter().all(|drain| drain == &drains[0]), "{drains:?}");
    advance(60 * SECOND).await;
    assert_eq!(shutdown.drain().await, drains[0], "later, it took as long as it did");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_dropped_ends_the_streams_all_the_same() {
    let shutdown = Shutdown::new();
    let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    assert!(timeout(Duration::ZERO, shutdown.drain()).await.is_err());
    assert!(client.rest().await.starts_with("event: close\n"));
}

#[tokio::test(start_paused = true)]
async fn two_shutdowns_have_nothing_to_do_with_each_other() {
    let (one, other) = (at_once(), at_once());
    let (_feed, mut of_one) = open(&mut ShutdownLayer::new(one.clone()).layer(Handler));
    let mut service = ShutdownLayer::new(other.clone()).layer(Handler);
    let (feed, mut of_other) = open(&mut service);
    assert_eq!(of_other.now().await.1, Fate::Open);
    one.trigger();
    assert_eq!(of_one.now().await.1, Fate::Ended);
    assert_eq!(counts(&one.drain().await), [1, 0, 0, 0]);
    feed.data("data: a\n\n");
    assert_eq!(of_other.now().await, ("data: a\n\n".into(), Fate::Open));
    assert!(one.is_draining() && !other.is_draining());
    let (feed, mut newer) = open(&mut service);
    feed.data("data: b\n\n");
    assert_eq!(newer.now().await, ("data: b\n\n".into(), Fate::Open));
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_over_when_the_hooks_were_told() {
    let shutdown = at_once();
    let (hooked, early) = (shutdown.clone(), Arc::new(AtomicBool::new(false)));
    let was_early = Arc::clone(&early);
    let registry = Registry::builder().on_close(move |_, _| {
        // An application that waits for the drain and exits would never get here.
        was_early.store(hooked.drain().now_or_never().is_some(), Ordering::Relaxed);
    });
    let layer = SseLayer::new().registry(registry.build().unwrap()).shutdown(shutdown.clone());
    let (_feed, client) = open(&mut layer.layer(Handler));
    shutdown.trigger();
    client.rest().await;
    assert!(!early.load(Ordering::Relaxed));
}

#[tokio::test]
async fn any_thread_and_any_future_can_trigger() {
    let triggers: [fn(Shutdown); 3] = [
        |shutdown| drop(thread::spawn(move || shutdown.trigger())),
        |shutdown| drop(tokio::spawn(shutdown.trigger_on(std::future::ready(7)))),
        |shutdown| drop(tokio::spawn(async move { shutdown.drain().await })),
    ];
    for trigger in triggers {
        let shutdown = at_once();
        let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
        let told = join_all((0..3).map(|_| shutdown.triggered()));
        let on_never = shutdown.trigger_on(std::future::pending::<()>());
        trigger(shutdown.clone());
        let (seen, ..) = tokio::join!(client.rest(), told, on_never);
        assert_eq!(seen, CLOSE);
        shutdown.triggered().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_is_dropped_triggers_nothing() {
    let shutdown = Shutdown::new();
    drop(shutdown.trigger_on(std::future::ready(())));
    let waiting = shutdown.trigger_on(std::future::pending::<()>());
    assert!(timeout(SECOND, waiting).await.is_err());
    assert!(!shutdown.is_draining());
}

#[test]
fn settings_that_cannot_work_are_named() {
    let shutdown = Shutdown::builder;
    #[rustfmt::skip]
    let table = [
        (shutdown().window(11 * SECOND), "window"),
        (shutdown().window(3 * SECOND).deadline(2 * SECOND), "window"),
        (shutdown().rate(0), "rate"),
        (shutdown().retry(2 * SECOND..=SECOND), "retry"),
        (shutdown().retry(Duration::ZERO..=SECOND), "retry"),
        (shutdown().deadline(Duration::MAX), "deadline"),
        (shutdown().window(Duration::MAX).deadline(Duration::MAX), "deadline"),
        (shutdown().notice(Duration::MAX), "notice"),
        (shutdown().stall_limit(Duration::MAX), "stall_limit"),
        (shutdown().stall_limit(Duration::from_micros(999)), "stall_limit"),
    ];
    for (builder, setting) in table {
        let error = builder.build().unwrap_err();
        assert_eq!(error.setting(), setting);
        assert!(error.to_string().contains(setting), "{error}");
    }
    assert!(shutdown().deadline(Duration::ZERO).build().is_ok());
    assert!(shutdown().stall_limit(Duration::ZERO).build().is_ok());
    assert!(shutdown().window(10 * SECOND).retry(SECOND..=Duration::MAX).build().is_ok());
}
