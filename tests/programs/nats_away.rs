//! While NATS is away streams wait and publishers are told; then nothing is lost, and nothing comes
//! twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower_sse::event_log::{BrokerError, EventLog, NatsFollower, NatsLog, Start};

use crate::harness::nats;
use crate::harness::nats::{
    LONG, Nats, Way, all, append, data, is_quiet, said, settings, topic, topics,
};
use crate::harness::process::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load_loses_and_repeats_nothing() {
    let mut nats = Nats::start().await;
    let (a, b) = (nats.log().await, nats.log().await);
    let followers = [
        a.follow(topics(&["t"]), Start::Live),
        b.follow(topics(&["t"]), Start::Live),
        b.follow(topics(&["*", "u.v"]), Start::Live),
    ];
    let over = Arc::new(AtomicBool::new(false));
    let (counted, mut count) = watch::channel(0);
    let publishing = tokio::spawn({
        let (log, over) = (a.clone(), Arc::clone(&over));
        async move {
            let (mut kept, mut n) = (Vec::new(), 0);
            while !over.load(Ordering::Relaxed) {
                match log.append(&topic("t"), data(n.to_string())).await {
                    Ok(_) => {
                        kept.push(n);
                        counted.send_replace(kept.len());
                    }
                    // Of these nobody knows.
                    Err(BrokerError::TimedOut | BrokerError::Refused(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                n += 1;
            }
            kept
        }
    });
    let reading = followers.map(|follower| tokio::spawn(read_to_end(follower)));
    // By events and not by time, of which a busy machine needs more.
    for kills in 1..=4 {
        timeout(LONG, count.wait_for(|kept| *kept >= 40 * kills)).await.unwrap().unwrap();
        if kills < 4 {
            nats.kill();
            sleep(Duration::from_millis(300)).await;
            nats.restart().await;
        }
    }
    over.store(true, Ordering::Relaxed);
    let kept = publishing.await.unwrap();
    append(&b, "t", "end").await;
    for reading in reading {
        let read = reading.await.unwrap();
        assert!(read.is_sorted_by(|a, b| a < b), "nothing comes twice");
        let lost: Vec<_> = kept.iter().filter(|n| read.binary_search(n).is_err()).collect();
        assert!(lost.is_empty(), "{} of {}: {lost:?}", lost.len(), kept.len());
    }
}

async fn read_to_end(mut follower: NatsFollower) -> Vec<usize> {
    let mut read = Vec::new();
    loop {
        match &*said(&mut follower).await {
            "end" => return read,
            n => read.push(n.parse().unwrap()),
        }
    }
}

/// How long an append waits that is refused since the log is away.
///
/// A log has several connections, and appends may have one that has not noticed the cut when
/// another has. What is sent on it may have been taken, as far as the log knows.
async fn time_until_away(log: &NatsLog) -> Duration {
    let refused = eventually("appends have noticed the cut", async || {
        let began = Instant::now();
        match log.append(&topic("t"), data("never")).await {
            Err(BrokerError::TimedOut) => None,
            refused => Some((refused, began.elapsed())),
        }
    });
    let (refused, waited) = refused.await;
    assert!(matches!(refused, Err(BrokerError::Away(_))), "{refused:?}");
    waited
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_goes_on_where_it_was() {
    let nats = Nats::start().await;
    let mut way = Way::to(&nats).await;
    let patient = settings().away_timeout(Duration::from_secs(10));
    let patient =
        patient.append_timeout(Duration::from_secs(10)).connect(&way.url()).await.unwrap();
    let hasty = settings().away_timeout(Duration::ZERO).connect(&way.url()).await.unwrap();
    let timed = settings().away_timeout(Duration::from_millis(500));
    let timed = timed.connect(&way.url()).await.unwrap();
    let other = nats.log().await;
    let mut before = patient.follow(topics(&["t"]), Start::Live);
    let first = append(&other, "t", "0").await;
    assert_eq!(said(&mut before).await, "0");

    way.close().await;
    let cut = Instant::now();
    while hasty.is_connected() || timed.is_connected() || patient.is_connected() {
        sleep(Duration::from_millis(5)).await;
    }
    let timed_out = Duration::from_millis(500);
    let waited = time_until_away(&hasty).await;
    assert!(waited < timed_out, "at once: {waited:?}");
    let waited = time_until_away(&timed).await;
    assert!(waited >= timed_out, "{waited:?}");
    let refused = timed.latest(&topics(&["t"])).await;
    assert!(matches!(refused, Err(BrokerError::Away(_))), "{refused:?}");

    // The others go on, and who comes meanwhile waits.
    for n in 1..=50 {
        append(&other, "t", &n.to_string()).await;
    }
    let mut back = hasty.follow(topics(&["t"]), nats::after(&first));
    let mut live = timed.follow(topics(&["t"]), Start::Live);
    let mut earliest = timed.follow(topics(&["t", "u"]), Start::Earliest);
    for follower in [&mut before, &mut back, &mut live, &mut earliest] {
        assert!(is_quiet(follower).await);
    }
    let waiting = tokio::spawn({
        let log = patient.clone();
        async move { append(&log, "t", "late").await }
    });
    sleep(Duration::from_secs(3).saturating_sub(cut.elapsed())).await;
    way.open().await;
    let late = waiting.await.unwrap();
    let expected: Vec<_> = (1..=50).map(|n| n.to_string()).chain(["late".to_owned()]).collect();
    for follower in [&mut before, &mut back] {
        assert_eq!(all(follower, 51).await, expected);
    }
    assert_eq!(all(&mut earliest, 52).await[1..], expected);
    // It began where its node was, and so may get what others did while that was cut off.
    while said(&mut live).await != "late" {}
    let ends = append(&other, "t", "end").await;
    assert!(ends.as_str() > late.as_str() || ends.as_str().len() > late.as_str().len());
    for follower in [&mut before, &mut back, &mut earliest, &mut live] {
        assert_eq!(said(follower).await, "end");
        assert!(is_quiet(follower).await);
    }
}

/// What was sent when the connection was lost is sent again, and is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_sent_again_is_there_once() {
    let nats = Nats::start().await;
    let mut way = Way::to(&nats).await;
    let log = settings().connect(&way.url()).await.unwrap();
    let over = Arc::new(tokio::sync::Notify::new());
    let publishing = nats::publish(log.clone(), "t", Arc::clone(&over));
    for _ in 0..20 {
        sleep(Duration::from_millis(37)).await;
        way.close().await;
        way.open().await;
    }
    over.notify_one();
    let count = publishing.await.unwrap();
    let mut follower = nats.log().await.follow(topics(&["t"]), Start::Earliest);
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut follower, count).await, expected);
    assert!(is_quiet(&mut follower).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_ask_for_the_far_past_and_leave_leave_no_consumer() {
    let nats = Nats::start().await;
    let log = nats.log_with(settings().window_events(1).replays(4)).await;
    for n in 0..300 {
        append(&log, "t", &n.to_string()).await;
    }
    let mut most = 0;
    let stream = nats.stream().await;
    for n in 0..400 {
        let mut follower = log.follow(topics(&["t"]), Start::Earliest);
        // Some leave when their consumer is being made, some while they read.
        let next = said(&mut follower);
        let _ = timeout(Duration::from_micros(n % 40 * 100), next).await;
        drop(follower);
        if n % 50 == 0 {
            most = most.max(stream.get_info().await.unwrap().state.consumer_count);
        }
    }
    let gone = async {
        // The one that reads the stream stays.
        while stream.get_info().await.unwrap().state.consumer_count > 1 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    // Less than the half minute after which the server would delete them.
    timeout(Duration::from_secs(15), gone).await.expect("consumers are deleted");
    assert!(most <= 5, "{most} at a time");
}
