//! A topic that is forgotten makes room in NATS, and whoever missed its events is told.

use std::time::Duration;

use async_nats::jetstream;
use tokio::time::{sleep, timeout};
use tower_sse::Hub;
use tower_sse::event_log::{EventLog, GapReason, NatsLog, Start};

use crate::harness::nats::{
    LONG, Nats, Way, after, all, append, gap, is_quiet, said, settings, topic, topics,
};

const SOON: Duration = Duration::from_millis(300);

/// Waits until the stream has so many messages.
async fn has(nats: &Nats, messages: u64) {
    let stream = nats.stream().await;
    let has = async {
        while stream.get_info().await.unwrap().state.messages != messages {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, has).await.unwrap_or_else(|_| panic!("there are not {messages} messages"));
}

/// Forgets a topic of which there are three events, and returns when it is gone.
async fn forget(nats: &Nats, log: &NatsLog, name: &str) {
    let before = nats.stream().await.get_info().await.unwrap().state.messages;
    log.forget(&topic(name), Duration::ZERO).await.unwrap();
    // One message says so.
    has(nats, before - 2).await;
}

#[tokio::test]
async fn a_topic_that_is_forgotten_goes_after_its_time_unless_it_goes_on() {
    for nats in Nats::start_each_version().await {
        let log = nats.log().await;
        let first = append(&log, "over", "0").await;
        for n in 1..50 {
            append(&log, "over", &n.to_string()).await;
        }
        append(&log, "goes.on", "a").await;
        for name in ["over", "goes.on", "never.was"] {
            log.forget(&topic(name), SOON).await.unwrap();
        }
        append(&log, "goes.on", "b").await;
        // What comes later of it is forgotten again.
        has(&nats, 3).await;
        let other = nats.log().await;
        for log in [&log, &other] {
            let mut goes_on = log.follow(topics(&["goes.on"]), Start::Earliest);
            assert_eq!(all(&mut goes_on, 2).await, ["a", "b"]);
        }
        let mut missed = other.follow(topics(&["over"]), after(&first));
        assert_eq!(gap(&mut missed).await.reason, GapReason::Expired);
        let mut earliest = other.follow(topics(&["over"]), Start::Earliest);
        assert!(is_quiet(&mut earliest).await, "that is no gap");
        // It begins anew.
        append(&log, "over", "x").await;
        for follower in [&mut missed, &mut earliest] {
            assert_eq!(said(follower).await, "x");
        }
        // A topic of which nothing is left leaves one message, however often it is forgotten.
        log.forget(&topic("over"), Duration::ZERO).await.unwrap();
        sleep(SOON).await;
        log.forget(&topic("over"), Duration::ZERO).await.unwrap();
        sleep(SOON).await;
        has(&nats, 3).await;
    }
}

/// The events of the other topics are all there, so nothing else shows it.
#[tokio::test]
async fn a_client_of_several_topics_is_told_that_it_missed_events_of_one_that_was_forgotten() {
    for nats in Nats::start_each_version().await {
        let log = nats.log().await;
        append(&log, "a", "1").await;
        append(&log, "a", "2").await;
        let missed = append(&log, "b", "1").await;
        append(&log, "a", "3").await;
        let has_all = append(&log, "b", "2").await;
        append(&log, "b", "3").await;
        forget(&nats, &log, "a").await;
        // This process has them still.
        let mut here = log.follow(topics(&["a", "b"]), after(&missed));
        assert_eq!(all(&mut here, 3).await, ["3", "2", "3"]);
        for window in [1, 2, 3, 100] {
            let other = nats.log_with(settings().window_events(window)).await;
            for names in [&["a", "b"][..], &["*"], &["a", "*"]] {
                let follow = |from: Start| other.follow(topics(names), from);
                // A process that had read none of it is told after the others.
                let mut told = all(&mut follow(after(&missed)), 3).await;
                told.sort();
                assert_eq!(told, ["2", "3", "gap"], "{window} {names:?}");
                let told = all(&mut follow(after(&has_all)), 1).await;
                assert_eq!(told, ["3"], "{window} {names:?}");
                let told = all(&mut follow(Start::Earliest), 3).await;
                assert_eq!(told, ["1", "2", "3"], "{window} {names:?}");
                // And it is told once.
                let mut follower = follow(after(&missed));
                all(&mut follower, 3).await;
                assert!(is_quiet(&mut follower).await);
            }
            // A client of the other topic has nothing to do with it.
            let mut b = other.follow(topics(&["b"]), after(&missed));
            assert_eq!(all(&mut b, 2).await, ["2", "3"]);
            let page = other.read(&topic("a"), after(&missed), 10).await.unwrap();
            assert!(page.gap.is_some(), "{window}");
        }
    }
}

/// The end of one topic is before the place of the client, which is an event of a forgotten one.
#[tokio::test]
async fn a_client_whose_last_event_was_forgotten_is_told_that_another_topic_is_over() {
    for nats in Nats::start_each_version().await {
        let hub = Hub::new(nats.log().await);
        hub.finish(&topic("over")).await.unwrap();
        append(hub.log(), "b", "1").await;
        append(hub.log(), "b", "2").await;
        let place = append(hub.log(), "b", "3").await;
        forget(&nats, hub.log(), "b").await;
        append(hub.log(), "b", "4").await;
        append(hub.log(), "other", "x").await;
        // A process that has read none of it.
        let log = nats.log_with(settings().window_events(1)).await;
        let mut follower = log.follow(topics(&["over", "b"]), after(&place));
        assert_eq!(all(&mut follower, 2).await, ["gap", "4"]);
        assert!(said(&mut follower).await.contains("finished"));
        assert!(is_quiet(&mut follower).await);
    }
}

/// In batches, of which the first ends long before the message that says so.
#[tokio::test]
async fn a_long_replay_is_told_of_a_forgotten_topic_once_and_gets_all_of_the_others() {
    for nats in Nats::start_each_version().await {
        let log = nats.log().await;
        let start = append(&log, "b", "start").await;
        append(&log, "a", "1").await;
        append(&log, "a", "2").await;
        append(&log, "a", "3").await;
        let has_all = append(&log, "b", "has all").await;
        for n in 0..600 {
            append(&log, "b", &n.to_string()).await;
        }
        forget(&nats, &log, "a").await;
        append(&log, "a", "anew").await;
        for window in [1, 300, 10_000] {
            let other = nats.log_with(settings().window_events(window)).await;
            let mut expected: Vec<_> = (0..600).map(|n| n.to_string()).collect();
            expected.push("anew".to_owned());
            for (from, gaps) in [(after(&start), 1), (after(&has_all), 0), (Start::Earliest, 0)] {
                let mut follower = other.follow(topics(&["a", "b"]), from.clone());
                let mut seen = Vec::new();
                while seen.last().is_none_or(|last| last != "anew") {
                    seen.push(said(&mut follower).await);
                }
                let told = seen.iter().filter(|it| **it == "gap").count();
                assert_eq!(told, gaps, "{window} {from:?}");
                seen.retain(|it| !["gap", "start", "has all"].contains(&&**it));
                assert_eq!(seen, expected, "{window} {from:?}");
            }
        }
    }
}

/// It was there all the time, and its node was not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_node_was_away_is_told_of_events_that_were_forgotten_meanwhile() {
    let nats = Nats::start().await;
    let mut way = Way::to(&nats).await;
    let (cut_off, other) = (settings().connect(&way.url()).await.unwrap(), nats.log().await);
    // Else the stream would begin after what is forgotten, and that would show it.
    append(&other, "c", "stays").await;
    let mut follower = cut_off.follow(topics(&["a"]), Start::Live);
    let mut both = cut_off.follow(topics(&["a", "b"]), Start::Live);
    append(&other, "a", "0").await;
    assert_eq!((said(&mut follower).await, said(&mut both).await), ("0".into(), "0".into()));
    way.close().await;
    append(&other, "a", "1").await;
    append(&other, "b", "1").await;
    append(&other, "a", "2").await;
    forget(&nats, &other, "a").await;
    way.open().await;
    assert_eq!(gap(&mut follower).await.reason, GapReason::Expired);
    assert_eq!(all(&mut both, 2).await, ["1", "gap"]);
    append(&other, "a", "3").await;
    assert_eq!((said(&mut follower).await, said(&mut both).await), ("3".into(), "3".into()));
}

#[tokio::test]
async fn a_log_that_is_dropped_leaves_no_task_for_what_it_was_to_forget() {
    let nats = Nats::start().await;
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let log = nats.log().await;
    append(&log, "t", "1").await;
    for n in 0..100 {
        log.forget(&topic(&format!("t.{n}")), LONG).await.unwrap();
    }
    log.forget(&topic("t"), LONG).await.unwrap();
    let many = metrics.num_alive_tasks();
    assert!(many < before + 20, "no task for each: {many}");
    drop(log);
    let ended = async {
        while metrics.num_alive_tasks() > before {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG / 4, ended).await.expect("tasks end");
}

/// As one that was made by an earlier version, or by somebody else.
#[tokio::test]
async fn a_stream_that_allows_no_roll_ups_keeps_a_topic_as_any_other() {
    let nats = Nats::start().await;
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let config = jetstream::stream::Config {
        name: "sse".to_owned(),
        subjects: vec!["sse.>".to_owned()],
        ..Default::default()
    };
    context.create_stream(config).await.unwrap();
    let log = nats.log().await;
    append(&log, "a", "1").await;
    log.forget(&topic("a"), Duration::ZERO).await.unwrap();
    sleep(SOON).await;
    has(&nats, 1).await;
    assert_eq!(said(&mut log.follow(topics(&["a"]), Start::Earliest)).await, "1");
}
