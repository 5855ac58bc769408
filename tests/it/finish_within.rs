//! A route whose answers cannot be resumed may finish them, but not for ever.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_sse::{
    DrainReport, Farewell, KeepAliveLayer, Registry, Shutdown, ShutdownLayer, SseLayer,
};

use crate::harness::LONG;
use crate::harness::SECOND;
use crate::harness::rig::{Fate, Handler, open};

#[tokio::test(start_paused = true)]
async fn a_route_may_finish_while_the_others_close_in_their_slot() {
    let shutdown = Shutdown::builder().window(SECOND).build().unwrap();
    let feeds = ShutdownLayer::new(shutdown.clone());
    let answers = feeds.clone().finish_within(8 * SECOND);
    let (_news_feed, news) = open(&mut feeds.layer(Handler));
    // Nearer to the handler wins.
    let (feed, mut answer) = open(&mut feeds.layer(answers.layer(Handler)));
    let (_endless_feed, endless) = open(&mut answers.layer(Handler));
    shutdown.trigger();

    let began = Instant::now();
    assert!(news.rest().await.starts_with("event: close\n"));
    assert!(began.elapsed() < SECOND);
    for n in 1..=5 {
        sleep(SECOND).await;
        feed.data(format!("data: {n}\n\n"));
        assert_eq!(answer.now().await, (format!("data: {n}\n\n"), Fate::Open));
    }
    drop(feed);
    assert_eq!(answer.now().await, (String::new(), Fate::Ended));
    assert!(endless.rest().await.starts_with("event: close\n"));
    assert_eq!(began.elapsed(), 8 * SECOND);
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.finished, report.forced), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_whatever_the_limit() {
    for limit in [10 * SECOND, 60 * SECOND, Duration::MAX] {
        let shutdown = Shutdown::new();
        let layer = ShutdownLayer::new(shutdown.clone()).finish_within(limit);
        let (feed, client) = open(&mut layer.layer(Handler));
        let read = tokio::spawn(client.rest());
        shutdown.trigger();
        let report = shutdown.drain().await;
        assert_eq!((report.closed, report.forced), (1, 0));
        // At 95 % of it.
        let last_call = 9 * SECOND + SECOND / 2;
        assert!(report.elapsed.abs_diff(last_call) < SECOND / 10, "{:?}", report.elapsed);
        assert!(read.await.unwrap().starts_with("event: close\n"));
        drop(feed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_closes_at_once() {
    let shutdown = Shutdown::new();
    let layer = ShutdownLayer::new(shutdown.clone()).finish_within(Duration::ZERO);
    let (_feed, mut client) = open(&mut layer.layer(Handler));
    shutdown.trigger();
    assert_eq!(client.now().await.1, Fate::Ended);
}

/// A stream in the middle of an event that is too long to hold, and its registry.
fn long(shutdown: &Shutdown) -> (Registry, SseLayer) {
    let registry = Registry::new();
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::off()).hold_limit(8);
    (registry.clone(), layer.registry(registry).shutdown(shutdown.clone()))
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_end_of_a_long_event() {
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let (_, layer) = long(&shutdown);
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    client.now().await;
    shutdown.trigger();
    feed.data(", and longer");
    assert_eq!(client.now().await, (", and longer".into(), Fate::Open));
    sleep(5 * SECOND).await;
    feed.data(" still\n\ndata: b\n\n");
    let (seen, fate) = client.now().await;
    assert!(seen.starts_with(" still\n\nevent: close\n"), "{seen}");
    assert_eq!((fate, seen.contains("data: b")), (Fate::Ended, false));
    assert_eq!(shutdown.drain().await.closed, 1);
}

#[test]
fn a_long_event_that_never_ends_is_cut_before_the_deadline() {
    // With a window as long as the deadline some slots are behind the moment of the cut.
    for window in [0, 5, 10] {
        let (done, is_done) = mpsc::channel();
        // On a thread of its own: if a stream spins, the clock does not go on.
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            done.send(runtime.block_on(cut_all(window * SECOND))).unwrap();
        });
        let report = is_done.recv_timeout(LONG).expect("streams spin");
        assert_eq!((report.cut, report.closed, report.forced), (64, 0, 0), "{window}");
    }
}

async fn cut_all(window: Duration) -> DrainReport {
    let builder = Shutdown::builder().rate(1).window(window).deadline(10 * SECOND);
    let shutdown = builder.build().unwrap();
    let (_, layer) = long(&shutdown);
    let mut service = layer.layer(Handler);
    let mut feeds = Vec::new();
    for _ in 0..64 {
        let (feed, mut client) = open(&mut service);
        feed.data("data: far too long");
        client.now().await;
        feeds.push(feed);
        tokio::spawn(client.rest());
    }
    shutdown.drain().await
}

#[tokio::test(start_paused = true)]
async fn streams_close_in_time_with_a_window_as_long_as_the_deadline() {
    let shutdown = Shutdown::builder().window(SECOND).deadline(SECOND).build().unwrap();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let streams: Vec<_> = (0..2_000).map(|_| open(&mut service)).collect();
    let (_feeds, clients): (Vec<_>, Vec<_>) = streams.into_iter().unzip();
    for client in clients {
        tokio::spawn(client.rest());
    }
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.forced), (2_000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_kick_does_not_outlive_the_drain() {
    for kick_first in [true, false] {
        let builder = Shutdown::builder().window(Duration::ZERO).deadline(2 * SECOND);
        let shutdown = builder.build().unwrap();
        let (registry, layer) = long(&shutdown);
        let (feed, mut client) = open(&mut layer.layer(Handler));
        feed.data("data: far too long");
        client.now().await;
        let kick = || registry.close_where(|_| true, Farewell::close());
        if kick_first {
            kick();
            client.now().await;
        }
        shutdown.trigger();
        client.now().await;
        if !kick_first {
            kick();
        }
        let read = tokio::spawn(client.rest());
        let report = shutdown.drain().await;
        assert_eq!((report.cut, report.forced), (1, 0), "kick first: {kick_first}");
        assert_eq!(read.await.unwrap(), "");
        drop(feed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kick_comes_before_the_slot_of_a_drain() {
    let shutdown = Shutdown::new();
    let (registry, layer) = long(&shutdown);
    let mut service = layer.layer(Handler);
    let mut streams: Vec<_> = (0..3).map(|_| open(&mut service)).collect();
    shutdown.trigger();
    for (_, client) in &mut streams {
        client.now().await;
    }
    assert!(registry.close_where(|_| true, Farewell::close()) > 0);
    for (_, client) in &mut streams {
        assert_eq!(client.now().await.1, Fate::Ended);
    }
    assert!(registry.is_empty());
}

/// The time of the farewell passes while nothing can be written.
#[tokio::test(start_paused = true)]
async fn a_farewell_that_became_due_in_a_long_event_is_sent_right_after_the_event() {
    let shutdown = Shutdown::new();
    let layer = ShutdownLayer::new(shutdown.clone()).finish_within(2 * SECOND);
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::off()).shutdown(layer).hold_limit(8);
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    assert_eq!(client.now().await, ("data: far too long".into(), Fate::Open));
    shutdown.trigger();
    assert_eq!(client.during(5 * SECOND).await, []);
    feed.data("!\n\ndata: not any more\n\n");
    let (seen, fate) = client.now().await;
    assert!(seen.starts_with("!\n\nevent: close\n"), "{seen}");
    assert_eq!(fate, Fate::Ended);
}
