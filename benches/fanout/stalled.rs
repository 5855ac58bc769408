//! A thousand followers, with and without one that does not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;

use crate::TURNS;
use crate::source::{Source, runtime};

/// Prints how long the calls took that publish.
pub(crate) fn measure() {
    println!("\n1,000 followers in process, one event after the other");
    for stalls in [false, true] {
        let (mut calls, mut all) = (Vec::new(), Duration::MAX);
        for _ in 0..TURNS {
            let (turn, took) = runtime().block_on(publish_to_a_thousand(stalls));
            calls.extend(turn);
            all = all.min(took);
        }
        calls.sort_unstable();
        let [median, p99] = [50, 99].map(|percent| calls[calls.len() * percent / 100]);
        let who = if stalls { "one stalled" } else { "none stalled" };
        println!("{who:<14} publish: median {median:?}, p99 {p99:?}; all events: {all:?}");
    }
}

async fn publish_to_a_thousand(stalls: bool) -> (Vec<Duration>, Duration) {
    const EVENTS: usize = 1_000;
    const READERS: usize = 999;
    let source = Source::hub();
    let (seen, mut calls) = (Arc::new(AtomicUsize::new(0)), Vec::with_capacity(EVENTS));
    let idle = stalls.then(|| source.response());
    for _ in 0..READERS {
        let (mut body, seen) = (source.response().into_body(), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Some(frame) = body.frame().await {
                drop(frame);
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::task::yield_now().await;
    let began = Instant::now();
    for n in 1..=EVENTS {
        let start = Instant::now();
        source.publish();
        calls.push(start.elapsed());
        while seen.load(Ordering::Relaxed) < n * READERS {
            tokio::task::yield_now().await;
        }
    }
    drop(idle);
    (calls, began.elapsed())
}
