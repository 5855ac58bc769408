//! A report counts each stream once, whatever leaves at its moment.

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use tower::Layer;
use tower_sse::{Shutdown, ShutdownLayer};

use crate::harness::rig::{Client, Feed, Handler, open};

const STREAMS: usize = 400;
const THREADS: usize = 4;
const ROUNDS: u32 = 50;

/// Streams that are polled once, and their clients in as many parts as there are threads.
async fn streams(shutdown: &Shutdown) -> Vec<Vec<(Feed, Client)>> {
    let mut service = ShutdownLayer::new(shutdown.clone()).layer(Handler);
    let mut parts: Vec<Vec<_>> = (0..THREADS).map(|_| Vec::new()).collect();
    for n in 0..STREAMS {
        let (feed, mut client) = open(&mut service);
        client.now().await;
        parts[n % THREADS].push((feed, client));
    }
    parts
}

fn shutdown(deadline: Duration) -> Shutdown {
    Shutdown::builder().window(Duration::ZERO).deadline(deadline).build().unwrap()
}

#[tokio::test]
async fn streams_that_leave_at_the_deadline_are_in_one_count() {
    let deadline = Duration::from_millis(5);
    for round in 0..ROUNDS {
        let shutdown = shutdown(deadline);
        let parts = streams(&shutdown).await;
        let began = Instant::now();
        shutdown.trigger();
        let threads = parts.into_iter().map(|part| {
            thread::spawn(move || {
                // From shortly before it on.
                thread::sleep((deadline * 9 / 10).saturating_sub(began.elapsed()));
                drop(part);
            })
        });
        let threads: Vec<_> = threads.collect();
        let report = shutdown.drain().await;
        assert_eq!(report.streams(), STREAMS, "round {round}: {report:?}");
        assert_eq!((report.closed, report.cut), (0, 0));
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(shutdown.drain().await, report);
    }
}

#[tokio::test]
async fn streams_that_leave_at_the_trigger_are_in_one_count_or_in_none() {
    for round in 0..ROUNDS {
        let shutdown = shutdown(Duration::from_secs(10));
        let parts = streams(&shutdown).await;
        let start = Arc::new(Barrier::new(THREADS + 1));
        let threads = parts.into_iter().map(|part| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                drop(part);
            })
        });
        let threads: Vec<_> = threads.collect();
        start.wait();
        shutdown.trigger();
        // All of them have gone, so nobody is waited for and nobody is left over.
        let report = shutdown.drain().await;
        assert!(report.elapsed < Duration::from_secs(9), "round {round}: {report:?}");
        assert_eq!((report.closed, report.forced), (0, 0), "round {round}: {report:?}");
        assert!(report.finished <= STREAMS, "round {round}: {report:?}");
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
