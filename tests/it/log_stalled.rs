//! A follower that does not read delays nobody, and takes no memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use http_body_util::BodyExt;
use tower_sse::Hub;
use tower_sse::event_log::{EventLog, MemoryLog, Start, Step};

use crate::harness::hub::{append, chunk, data, next, topic};

/// What it costs is in the bench `fanout`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stalled_follower_of_a_thousand_delays_no_other() {
    const EVENTS: usize = 300;
    let hub = Hub::new(MemoryLog::builder().events(64).build().unwrap());
    let mut stalled = hub.subscribe(topic("t")).into_body();
    assert!(chunk(&mut stalled).is_pending());
    let seen = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..999)
        .map(|_| {
            let (mut body, seen) = (hub.subscribe(topic("t")).into_body(), Arc::clone(&seen));
            tokio::spawn(async move {
                for _ in 0..EVENTS {
                    let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
                    assert!(!frame.starts_with(b"event: gap"), "it kept up");
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 0..EVENTS {
        let published = hub.publish(&topic("t"), data("x".repeat(100))).now_or_never();
        published.expect("nobody is waited for").unwrap();
        // A live topic: all have the event before the next one comes, but for the stalled one.
        while seen.load(Ordering::Relaxed) < (n + 1) * 999 {
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(hub.log().window(&topic("t")).0, 64);
    // It is told what it missed when it goes on.
    let std::task::Poll::Ready(Some(gap)) = chunk(&mut stalled) else { panic!("nothing") };
    assert!(gap.starts_with(b"event: gap\n"));
}

#[test]
fn a_topic_that_nobody_reads_takes_no_more_than_its_window() {
    let log = MemoryLog::builder().events(8).build().unwrap();
    let mut followers: Vec<_> =
        (0..1_000).map(|_| log.follow((&topic("t")).into(), Start::Live)).collect();
    for n in 0..10_000 {
        append(&log, "t", &n.to_string());
    }
    assert_eq!(log.window(&topic("t")).0, 8);
    for follower in &mut followers {
        assert!(matches!(next(follower), Some(Step::Gap(_))));
        assert!(matches!(next(follower), Some(Step::Event(_))));
    }
}
