//! A forced drain has its deadline now: streams are told and end, and nothing is waited for.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;
use tower_sse::{DrainReport, Shutdown, ShutdownLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Fate, Handler, call, get, open};

/// What a forced connection has to send its last bytes.
const LAST_BYTES: Duration = Duration::from_millis(250);

fn slow() -> Shutdown {
    Shutdown::builder().rate(1).window(60 * SECOND).deadline(60 * SECOND).build().unwrap()
}

fn drain(shutdown: &Shutdown) -> tokio::task::JoinHandle<DrainReport> {
    let shutdown = shutdown.clone();
    tokio::spawn(async move { shutdown.drain().await })
}

#[tokio::test(start_paused = true)]
async fn every_stream_is_told_and_ends_at_once() {
    let shutdown = slow();
    let closes = ShutdownLayer::new(shutdown.clone());
    let finishes = closes.clone().finish_within(50 * SECOND);
    let (mut soon, mut late) = (closes.layer(Handler), finishes.layer(Handler));
    let (_feeds, clients): (Vec<_>, Vec<Client>) =
        (0..40).flat_map(|_| [open(&mut soon), open(&mut late)]).unzip();
    let reads: Vec<_> = clients.into_iter().map(|client| tokio::spawn(client.rest())).collect();
    let drain = drain(&shutdown);
    sleep(SECOND).await;
    assert!(!drain.is_finished());
    let forced = Instant::now();
    shutdown.force();
    for read in reads {
        assert!(read.await.unwrap().starts_with("event: close\nretry: "));
    }
    let report = drain.await.unwrap();
    assert_eq!(forced.elapsed(), Duration::ZERO);
    assert_eq!((report.closed, report.streams()), (80, 80));
    assert!(report.elapsed >= SECOND && report.elapsed < 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_force_triggers_a_shutdown_that_was_not_triggered() {
    let shutdown = slow();
    let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    shutdown.force();
    assert!(shutdown.is_draining());
    let began = Instant::now();
    assert!(client.rest().await.starts_with("event: close\n"));
    assert_eq!(shutdown.drain().await.closed, 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_stream_in_the_middle_of_a_long_event_is_cut() {
    let shutdown = slow();
    let layer = SseLayer::off().hold_limit(8).shutdown(shutdown.clone());
    let mut service = layer.layer(Handler);
    let streams: Vec<_> = (0..3).map(|_| open(&mut service)).collect();
    let mut reads = Vec::new();
    for (feed, mut client) in streams {
        feed.data("data: far too long");
        client.now().await;
        reads.push((feed, tokio::spawn(client.rest())));
    }
    let drain = drain(&shutdown);
    sleep(SECOND).await;
    let forced = Instant::now();
    shutdown.force();
    for (_feed, read) in reads {
        assert_eq!(read.await.unwrap(), "");
    }
    let report = drain.await.unwrap();
    assert_eq!((report.cut, report.streams()), (3, 3));
    assert_eq!(forced.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_notice_is_over_at_once() {
    let shutdown = Shutdown::builder().notice(60 * SECOND).build().unwrap();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let (_feed, client) = open(&mut service);
    let read = tokio::spawn(client.rest());
    let drain = drain(&shutdown);
    sleep(SECOND).await;
    let (_late_feed, late) = open(&mut service);
    let late = tokio::spawn(late.rest());
    sleep(SECOND).await;
    let stops = shutdown.triggered();
    let forced = Instant::now();
    shutdown.force();
    stops.await;
    for read in [read, late] {
        assert!(read.await.unwrap().starts_with("event: close\n"));
    }
    let report = drain.await.unwrap();
    assert_eq!(forced.elapsed(), Duration::ZERO);
    assert_eq!((report.closed, report.elapsed), (2, 2 * SECOND));
    let (seen, fate) = Client::of(call(&mut service, get())).now().await;
    assert!(seen.contains("event: draining\n") && fate == Fate::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_notice_without_streams_is_over_at_once() {
    let shutdown = Shutdown::builder().notice(60 * SECOND).build().unwrap();
    let drain = drain(&shutdown);
    sleep(SECOND).await;
    shutdown.force();
    assert_eq!(drain.await.unwrap().elapsed, SECOND);
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_not_polled_are_waited_for_as_long_as_for_their_last_bytes() {
    let shutdown = slow();
    let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    let drain = drain(&shutdown);
    sleep(SECOND).await;
    shutdown.force();
    let report = drain.await.unwrap();
    assert_eq!((report.forced, report.elapsed), (1, SECOND + LAST_BYTES));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_nearer_stays() {
    let shutdown = Shutdown::builder().deadline(SECOND).build().unwrap();
    let (_feed, client) = open(&mut ShutdownLayer::new(shutdown.clone()).layer(Handler));
    let drain = drain(&shutdown);
    sleep(Duration::from_millis(875)).await;
    shutdown.force();
    shutdown.force();
    assert_eq!(drain.await.unwrap().elapsed, SECOND);
    shutdown.force();
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn guarded_connections_send_their_last_bytes_and_are_given_up_then() {
    for triggered in [false, true] {
        let shutdown = slow();
        let (mut server, mut client) = duplex(64);
        let mut guarded = shutdown.guard(server);
        let writes = tokio::spawn(async move {
            // More than the client has room for.
            let written = guarded.write_all(&[7; 100]).await;
            written.and(guarded.flush().await).map(|()| guarded)
        });
        let (idle, _silent_client) = duplex(64);
        server = idle;
        let mut silent = shutdown.guard(server);
        let reads = tokio::spawn(async move { silent.read_u8().await });
        if triggered {
            shutdown.trigger();
        }
        sleep(10 * SECOND).await;
        let forced = Instant::now();
        shutdown.force();
        sleep(LAST_BYTES / 2).await;
        client.read_exact(&mut [0; 100]).await.unwrap();
        let mut guarded = writes.await.unwrap().unwrap();
        assert!(guarded.read_u8().await.unwrap_err().to_string().contains("deadline"));
        assert!(reads.await.unwrap().unwrap_err().to_string().contains("deadline"));
        assert_eq!(forced.elapsed(), LAST_BYTES, "triggered before: {triggered}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_to_come_back_spread_over_the_range_all_the_same() {
    let shutdown = Shutdown::new();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let (_feeds, clients): (Vec<_>, Vec<_>) = (0..1_000).map(|_| open(&mut service)).unzip();
    shutdown.force();
    let mut halves = [0, 0];
    for client in clients {
        let seen = client.rest().now_or_never().expect("it ends at once");
        let retry = seen.lines().find_map(|line| line.strip_prefix("retry: ")).unwrap();
        halves[usize::from(retry.parse::<u64>().unwrap() > 2_750)] += 1;
    }
    assert!(halves.iter().all(|half| (450..550).contains(half)), "{halves:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_trigger_goes_on() {
    let shutdown = slow();
    let triggered = shutdown.triggered();
    assert!(timeout(SECOND, triggered).await.is_err());
    shutdown.force();
    shutdown.triggered().now_or_never().expect("the notice is over");
}
