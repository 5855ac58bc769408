//! Ten thousand streams that a drain ends are spread over its window, and so are their returns.

use std::time::Duration;

use tokio::time::Instant;
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{DrainReport, Shutdown, ShutdownLayer};

use crate::harness::rig::{Client, Feed, Handler, LIKELY, open, unevenness};

const WINDOW: Duration = Duration::from_secs(20);
const LEAST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(12);

/// When a stream ended, and after how long its client comes back, each in the share of its range.
type End = (f64, f64);

fn shutdown() -> Shutdown {
    let builder = Shutdown::builder().rate(1).window(WINDOW).deadline(Duration::from_secs(25));
    builder.retry(LEAST..=MOST).build().unwrap()
}

/// Drains, and notes how each stream ends.
async fn ends_of(shutdown: &Shutdown, clients: Vec<Client>) -> (Vec<End>, DrainReport) {
    let began = Instant::now();
    let reads: Vec<_> = clients
        .into_iter()
        .map(|client| {
            tokio::spawn(async move {
                let seen = client.rest().await;
                let mut decoder = Decoder::new();
                let events = decoder.decode(seen.as_bytes());
                assert_eq!(events.len(), 1, "{seen}");
                assert_eq!(events[0].event, "close");
                let retry = decoder.retry().unwrap();
                assert!((LEAST..=MOST).contains(&retry));
                let ended = began.elapsed();
                // Timers go off at whole milliseconds.
                assert!(ended <= WINDOW);
                let (least, most) = (LEAST.as_secs_f64(), MOST.as_secs_f64());
                let back = (retry.as_secs_f64() - least) / (most - least);
                (ended.as_secs_f64() / WINDOW.as_secs_f64(), back)
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let report = shutdown.drain().await;
    let mut ends = Vec::new();
    for read in reads {
        ends.push(read.await.unwrap());
    }
    (ends, report)
}

/// Says what is wrong with values that should be spread evenly from zero to one.
fn assert_even(values: impl Iterator<Item = f64>, what: &str) {
    let mut values: Vec<f64> = values.collect();
    let uneven = unevenness(&mut values);
    assert!(uneven < LIKELY, "{what}: {uneven}");
    let mean = values.len() / 20;
    for (bin, low) in (0_u32..20).map(|bin| (bin, f64::from(bin) / 20.0)) {
        let in_bin = values.iter().filter(|&&it| it >= low && it < low + 0.05).count();
        assert!(in_bin <= 2 * mean, "{what}: {in_bin} in bin {bin}");
    }
}

#[tokio::test(start_paused = true)]
async fn ends_and_returns_are_spread_evenly() {
    let shutdown = shutdown();
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let (_feeds, clients): (Vec<Feed>, Vec<_>) = (0..10_000).map(|_| open(&mut service)).unzip();
    let (ends, report) = ends_of(&shutdown, clients).await;
    assert_eq!((report.closed, report.forced), (10_000, 0));
    assert!(report.elapsed < WINDOW);
    assert_even(ends.iter().map(|end| end.0), "ends");
    assert_even(ends.iter().map(|end| end.1), "retries");
    // Those that end together do not come back together.
    for tenth in 0_u32..10 {
        let low = f64::from(tenth) / 10.0;
        let together = ends.iter().filter(|end| end.0 >= low && end.0 < low + 0.1);
        assert_even(together.map(|end| end.1), "retries of a tenth");
    }
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_the_streams_that_are_left_are_spread_evenly() {
    // Every so manieth stays; some numbers of them are what spreading by multiples is bad at.
    for every in [2, 5, 8, 13, 64, 100] {
        let shutdown = shutdown();
        let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
        let (_feeds, clients): (Vec<Feed>, Vec<_>) =
            (0..20_000).map(|_| open(&mut service)).unzip();
        let clients = clients.into_iter().enumerate();
        let stay: Vec<_> = clients.filter(|(n, _)| n % every == 0).map(|(_, it)| it).collect();
        let (ends, _) = ends_of(&shutdown, stay).await;
        assert_even(ends.iter().map(|end| end.0), &format!("ends of every {every}th"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_a_few_streams_are_spread_evenly() {
    for count in [2, 3, 10, 100] {
        let shutdown = shutdown();
        let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
        let (_feeds, clients): (Vec<Feed>, Vec<_>) = (0..count).map(|_| open(&mut service)).unzip();
        let (ends, _) = ends_of(&shutdown, clients).await;
        let mut ends: Vec<f64> = ends.into_iter().map(|end| end.0).collect();
        ends.sort_by(f64::total_cmp);
        let closest = ends.windows(2).map(|pair| pair[1] - pair[0]).fold(1.0, f64::min);
        // In shares of the window, which a few streams do not fill.
        let spread = f64::from(count).min(WINDOW.as_secs_f64()) / WINDOW.as_secs_f64();
        assert!(closest > 0.3 / f64::from(count) * spread, "{count}: {closest}");
        assert!(ends[ends.len() - 1] <= spread, "{count}: {ends:?}");
    }
}
