//! A drain ends streams at a rate, and takes the whole window only with many of them.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{Shutdown, ShutdownBuilder, ShutdownLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Feed, Handler, open};

/// Streams that are read, and what is seen of each.
type Reads = Vec<tokio::task::JoinHandle<(Duration, String)>>;

fn streams(shutdown: &Shutdown, count: usize) -> (Vec<Feed>, Vec<Client>) {
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    (0..count).map(|_| open(&mut service)).unzip()
}

/// Reads up to the ends, and notes when they came.
fn read(clients: Vec<Client>) -> Reads {
    let began = Instant::now();
    let read = |client: Client| async move {
        let seen = client.rest().await;
        (began.elapsed(), seen)
    };
    clients.into_iter().map(|client| tokio::spawn(read(client))).collect()
}

/// When so many streams end, in order, and what they see.
async fn ends(builder: ShutdownBuilder, count: usize) -> Vec<(Duration, String)> {
    let shutdown = builder.build().unwrap();
    let (_feeds, clients) = streams(&shutdown, count);
    let reads = read(clients);
    tokio::task::yield_now().await;
    let report = shutdown.drain().await;
    assert_eq!((report.closed, report.streams()), (count, count));
    let mut ends = Vec::new();
    for read in reads {
        ends.push(read.await.unwrap());
    }
    ends.sort();
    ends
}

fn retry(seen: &str) -> Duration {
    let mut decoder = Decoder::new();
    decoder.decode(seen.as_bytes());
    decoder.retry().unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_stream_ends_at_once() {
    let ends = ends(Shutdown::builder(), 1).await;
    assert!(ends[0].0 < Duration::from_millis(10), "{ends:?}");
}

#[tokio::test(start_paused = true)]
async fn streams_end_at_the_rate() {
    for (rate, count) in [(200, 100), (200, 900), (10, 20), (1, 4), (1_000, 2_000)] {
        let ends = ends(Shutdown::builder().rate(rate), count).await;
        let expected = SECOND * u32::try_from(count).unwrap() / rate;
        let last = ends[count - 1].0;
        assert!(last <= expected && last > expected * 7 / 10, "{count} at {rate}: {last:?}");
        // Evenly: in no tenth of this time are there twice as many as in the mean.
        for tenth in 0..10 {
            let (from, to) = (expected * tenth / 10, expected * (tenth + 1) / 10);
            let there = ends.iter().filter(|(at, _)| (from..to).contains(at)).count();
            assert!(there <= count / 5 + 1, "{count} at {rate}: {there} in tenth {tenth}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_streams_end_within_the_window() {
    for (builder, window) in
        [(Shutdown::builder(), 5 * SECOND), (Shutdown::builder().window(SECOND), SECOND)]
    {
        let ends = ends(builder, 10_000).await;
        let last = ends[9_999].0;
        assert!(last <= window && last > window * 9 / 10, "{last:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_are_told_to_come_back_spread_over_the_time_of_the_ends() {
    for (count, longest) in [(1, SECOND), (100, SECOND), (600, 3 * SECOND), (5_000, 5 * SECOND)] {
        let ends = ends(Shutdown::builder(), count).await;
        let retries: Vec<_> = ends.iter().map(|(_, seen)| retry(seen)).collect();
        let (least, most) = (retries.iter().min().unwrap(), retries.iter().max().unwrap());
        assert!(*least >= SECOND / 2 && *most <= longest, "{count}: {least:?} to {most:?}");
        assert!(count == 1 || *most > longest * 9 / 10, "{count}: {most:?}");
    }
    let own = ends(Shutdown::builder().retry(SECOND..=20 * SECOND), 100).await;
    assert!(own.iter().any(|(_, seen)| retry(seen) > 18 * SECOND), "as it was set");
}

/// What is left of many, whatever their numbers were, is spread as evenly as if there had never
/// been others.
#[tokio::test(start_paused = true)]
async fn the_spread_is_that_of_the_streams_that_are_left() {
    let shutdown = Shutdown::builder().rate(10).build().unwrap();
    let (feeds, clients) = streams(&shutdown, 610 * 30);
    let stay = clients.into_iter().step_by(610).collect();
    let reads = read(stay);
    tokio::task::yield_now().await;
    shutdown.drain().await;
    let mut ends = Vec::new();
    for read in reads {
        ends.push(read.await.unwrap().0);
    }
    ends.sort();
    assert!(ends[29] <= 3 * SECOND && ends[29] > 2 * SECOND, "{ends:?}");
    assert!(ends.windows(2).all(|two| two[1] < two[0] + SECOND / 3), "{ends:?}");
    drop(feeds);
}

#[tokio::test(start_paused = true)]
async fn streams_that_open_during_the_notice_make_the_spread_longer() {
    let shutdown = Shutdown::builder().notice(10 * SECOND).rate(100).build().unwrap();
    let (_feeds, early) = streams(&shutdown, 10);
    let mut reads = read(early);
    tokio::task::yield_now().await;
    shutdown.trigger();
    sleep(SECOND).await;
    let (_more_feeds, late) = streams(&shutdown, 290);
    reads.extend(read(late));
    shutdown.triggered().await;
    let closing = Instant::now();
    let mut last = Duration::ZERO;
    for read in reads {
        read.await.unwrap();
        last = closing.elapsed();
    }
    assert!(last > 2 * SECOND && last <= 3 * SECOND, "{last:?}");
    assert_eq!(shutdown.drain().await.closed, 300);
}
