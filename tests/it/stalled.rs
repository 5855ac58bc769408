//! A client that takes nothing for the stall limit loses its connection, and its stream has ended
//! for that reason.
//!
//! On real sockets; what only needs a clock is in the second half.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::{advance, sleep, sleep_until};
use tower::Layer;
use tower_sse::{DrainReport, EndReason, KeepAliveLayer, Registry, Shutdown, SseLayer};

use crate::harness::SECOND;
use crate::harness::net::Version::{H1, H2};
use crate::harness::rig::{Handler, open};
use crate::harness::server::{App, GUARDED, Kind, assert_is_told};
use crate::harness::slow::Pace;

const LIMIT: Duration = Duration::from_millis(600);

fn shutdown() -> Shutdown {
    // Not all at once: a server that is woken may find room for one frame more.
    let shutdown = Shutdown::builder().rate(1).window(LIMIT / 2).deadline(60 * SECOND);
    shutdown.stall_limit(LIMIT).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stall_limit_alone_ends_a_client_that_stopped_reading() {
    for kind in GUARDED {
        for version in [H1, H2] {
            let what = format!("{kind:?} {version:?}");
            let app = App::start(kind, shutdown()).await;
            let reader = app.reader(version, "/ticks", Pace::Full).await;
            // Its client may be stuck before this task learns that its response has begun.
            let began = Instant::now();
            let stopped = app.reader(version, "/firehose", Pace::Stop).await;
            assert_eq!(app.ends(1).await, ["stalled"], "{what}");
            let took = began.elapsed();
            println!("{what}: ended after {took:?}");
            assert!(took > LIMIT && took < 10 * LIMIT, "{what}: {took:?}");
            assert_eq!(app.registry.len(), 1, "{what}: the other client stays");
            app.task.abort();
            drop((reader, stopped));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_during_a_drain_is_reported_as_stalled() {
    join_all(GUARDED.map(async |kind| {
        let mut app = App::start(kind, shutdown()).await;
        let reader = tokio::spawn(app.reader(H1, "/ticks", Pace::Full).await.rest());
        let stopped = app.reader(H1, "/firehose", Pace::Stop).await;
        app.stuck(1).await;
        let (report, took) = app.drain().await;
        assert_is_told(&reader.await.unwrap());
        assert_eq!((report.closed, report.stalled, report.streams()), (1, 1, 2), "{report:?}");
        assert!(took < 30 * SECOND, "{kind:?}: long before the deadline: {took:?}");
        drop(stopped);
    }))
    .await;
}

/// The server fills its buffers when it cannot write any more, so it asks for more up to the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_asked_for_up_to_the_end_learns_it_from_its_connection() {
    let app = App::start(Kind::Axum, shutdown()).await;
    let stopped = app.reader(H1, "/steady", Pace::Stop).await;
    assert_eq!(app.ends(1).await, ["stalled"]);
    app.task.abort();
    drop(stopped);
}

/// Streams of a handler whose client is the test, and why they ended.
struct Watched {
    shutdown: Shutdown,
    ended: Arc<Mutex<Vec<EndReason>>>,
    layer: SseLayer,
}

fn watched() -> Watched {
    let shutdown = Shutdown::builder().window(Duration::ZERO).deadline(60 * SECOND);
    let shutdown = shutdown.stall_limit(30 * SECOND).build().unwrap();
    let ended = Arc::<Mutex<Vec<_>>>::default();
    let seen = Arc::clone(&ended);
    let registry = Registry::builder().on_close(move |_, reason| seen.lock().unwrap().push(reason));
    let layer = SseLayer::new()
        .keep_alive(KeepAliveLayer::every(20 * SECOND).jitter(0.0))
        .registry(registry.build().unwrap())
        .shutdown(shutdown.clone());
    Watched { shutdown, ended, layer }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_last_frame_was_the_last_thing_asked_for_is_stalled() {
    for (waits, reason) in [(20, EndReason::ClientGone), (30, EndReason::Stalled)] {
        let watched = watched();
        let (feed, mut client) = open(&mut watched.layer.layer(Handler));
        client.now().await;
        // Long before it, and no evidence of anything.
        client.during(100 * SECOND).await;
        advance(40 * SECOND).await;
        feed.data("data: a\n\n");
        client.next().await;
        advance(waits * SECOND).await;
        drop(client);
        assert_eq!(*watched.ended.lock().unwrap(), [reason], "{waits}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_frame_every_two_seconds_and_leaves_is_gone() {
    for (burst, slow) in (1..20).flat_map(|burst| (1..20).map(move |slow| (burst, slow))) {
        let watched = watched();
        let (feed, mut client) = open(&mut watched.layer.layer(Handler));
        client.now().await;
        for frame in 0..burst + slow {
            feed.data("data: a\n\n");
            client.next().await;
            if frame >= burst {
                advance(2 * SECOND).await;
            }
        }
        drop(client);
        let ended = watched.ended.lock().unwrap().clone();
        assert_eq!(ended, [EndReason::ClientGone], "{slow} frames after a burst of {burst}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_quiet_and_asked_for_is_not_stalled() {
    let watched = watched();
    let (feed, mut client) = open(&mut watched.layer.layer(Handler));
    feed.data("data: a\n\n");
    client.during(1000 * SECOND).await;
    drop(client);
    assert_eq!(*watched.ended.lock().unwrap(), [EndReason::ClientGone]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_asked_for_its_keepalive_is_stalled() {
    for (waits, reason) in [(30, EndReason::ClientGone), (45, EndReason::Stalled)] {
        let watched = watched();
        let (_feed, mut client) = open(&mut watched.layer.layer(Handler));
        // It looks at the time every half of an interval.
        client.during(61 * SECOND).await;
        advance(waits * SECOND).await;
        drop(client);
        assert_eq!(*watched.ended.lock().unwrap(), [reason], "{waits}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_stream_of_a_drain_is_in_one_count() {
    // When clients go away whose streams are not polled since the trigger.
    let begin = tokio::time::Instant::now();
    let (soon, late, too_late) = (begin + 10 * SECOND, begin + 40 * SECOND, begin + 60 * SECOND);
    let watched = watched();
    let mut service = watched.layer.layer(Handler);
    let mut clients: Vec<_> = (0..10).map(|_| open(&mut service)).collect();
    for (_, client) in &mut clients {
        client.now().await;
    }
    let drain = tokio::spawn({
        let shutdown = watched.shutdown.clone();
        async move { shutdown.drain().await }
    });
    sleep(Duration::ZERO).await;
    let mut clients = clients.into_iter();
    let told: Vec<_> = clients.by_ref().take(3).collect();
    for (_, client) in told {
        client.rest().await;
    }
    sleep_until(soon).await;
    drop(clients.next());
    sleep_until(late).await;
    drop((clients.next(), clients.next()));
    sleep_until(too_late).await;
    // At the very moment of the report, and after it.
    drop(clients.next());
    let report = drain.await.unwrap();
    let DrainReport { closed, finished, cut, stalled, forced, .. } = report;
    assert_eq!([closed, finished, cut, stalled, forced], [3, 1, 0, 2, 4]);
    drop(clients);
    assert_eq!(watched.shutdown.drain().await, report);
    let count = |reason| watched.ended.lock().unwrap().iter().filter(|it| **it == reason).count();
    assert_eq!(count(EndReason::Stalled), 6, "at the deadline it is not the client that went");
    assert_eq!(count(EndReason::ClientGone), 1);
}
