//! A message is in NATS once, although its publisher was not told and tried again.

use std::time::Duration;

use async_nats::jetstream;
use tokio::time::{sleep, timeout};
use tower_sse::event_log::{Appended, BrokerError, EventLog, Start};

use crate::harness::nats::{LONG, Nats, Way, all, append, data, is_quiet, settings, topic, topics};
use crate::harness::once::{is_done, message, once, publish_over_a_broken_way};

/// The answer is lost, as if the connection broke between the two.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_answer_was_lost_is_there_once_when_it_is_tried_again() {
    for nats in Nats::start_each_version().await {
        let mut way = Way::to(&nats).await;
        let hasty = settings().append_timeout(Duration::from_millis(500));
        let log = hasty.connect(&way.url()).await.unwrap();
        let other = nats.log().await;
        append(&log, "t", "0").await;
        way.lose_answers();
        let unknown = log.append_once(&topic("t"), data("1"), &message("m")).await.unwrap();
        assert_eq!(unknown, Err(BrokerError::TimedOut));
        way.close().await;
        way.open().await;
        let again = is_done(&log, "t", "1", "m").await;
        assert!(again.is_repeat);
        // Another node is told the same, also of another event.
        assert_eq!(once(&other, "t", "other", "m").await, again);
        append(&log, "t", "2").await;
        for log in [&log, &other] {
            let mut follower = log.follow(topics(&["t"]), Start::Earliest);
            assert_eq!(all(&mut follower, 3).await, ["0", "1", "2"]);
            let mut follower = log.follow(topics(&["t"]), Start::After(again.id.clone()));
            assert_eq!(all(&mut follower, 1).await, ["2"]);
        }
    }
}

/// The log itself sends an event again when its connection is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_one_call_sends_twice_is_no_repeat() {
    let nats = Nats::start().await;
    let mut way = Way::to(&nats).await;
    let log = settings().append_timeout(Duration::from_secs(30)).connect(&way.url()).await.unwrap();
    let stream = nats.stream().await;
    way.lose_answers();
    let call = tokio::spawn({
        let log = log.clone();
        async move { once(&log, "t", "1", "m").await }
    });
    let has_it = async {
        while stream.get_info().await.unwrap().state.messages == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, has_it).await.expect("it is sent");
    way.close().await;
    way.open().await;
    let first = timeout(LONG, call).await.unwrap().unwrap();
    assert!(!first.is_repeat, "nobody else had appended it");
    assert_eq!(once(&log, "t", "1", "m").await, Appended::repeat(first.id));
    assert_eq!(stream.get_info().await.unwrap().state.messages, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_there_once_though_nats_was_killed_before_it_answered() {
    for mut nats in Nats::start_each_version().await {
        let way = Way::to(&nats).await;
        let hasty = settings().append_timeout(Duration::from_millis(500));
        let log = hasty.connect(&way.url()).await.unwrap();
        way.lose_answers();
        log.append_once(&topic("t"), data("1"), &message("m")).await.unwrap().unwrap_err();
        nats.kill();
        nats.restart().await;
        // Of a publisher that was restarted, too.
        let log = nats.log().await;
        assert!(is_done(&log, "t", "1", "m").await.is_repeat);
        append(&log, "t", "2").await;
        let mut follower = log.follow(topics(&["t"]), Start::Earliest);
        assert_eq!(all(&mut follower, 2).await, ["1", "2"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_tried_until_they_are_taken_are_there_once_and_in_order() {
    let nats = Nats::start().await;
    let mut way = Way::to(&nats).await;
    let hasty = settings().append_timeout(Duration::from_millis(300));
    let log = hasty.connect(&way.url()).await.unwrap();
    let pause = Duration::from_millis(37);
    let count = publish_over_a_broken_way(log, &mut way, pause).await;
    let mut follower = nats.log().await.follow(topics(&["t"]), Start::Earliest);
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut follower, count).await, expected);
    assert!(is_quiet(&mut follower).await);
}

#[tokio::test]
async fn a_message_id_is_taken_for_the_window_of_the_stream_and_no_longer() {
    let nats = Nats::start().await;
    let short = settings().append_timeout(Duration::from_millis(200));
    let log = nats.log_with(short.duplicate_window(Duration::from_millis(200))).await;
    let first = once(&log, "t", "1", "m").await;
    let second = async {
        loop {
            let again = once(&log, "t", "2", "m").await;
            if !again.is_repeat {
                return again;
            }
            assert_eq!(again.id, first.id);
            sleep(Duration::from_millis(20)).await;
        }
    };
    let second = timeout(LONG, second).await.expect("the server forgets it");
    assert_ne!(second.id, first.id);
    let mut follower = log.follow(topics(&["t"]), Start::Earliest);
    assert_eq!(all(&mut follower, 2).await, ["1", "2"]);
}

/// Of a shorter one a message would be taken twice within the window that was asked for.
#[tokio::test]
async fn a_stream_with_a_shorter_window_than_the_one_that_is_set_is_refused() {
    let nats = Nats::start().await;
    let minute = Duration::from_secs(60);
    let window = async |log: &str| {
        let client = async_nats::connect(nats.url()).await.unwrap();
        let stream = jetstream::new(client).get_stream(log).await.unwrap();
        stream.cached_info().config.duplicate_window
    };
    nats.log_with(settings().duplicate_window(minute)).await;
    assert_eq!(window("sse").await, minute);
    // What is not set is as it is, and a longer one does no harm.
    nats.log().await;
    nats.log_with(settings().duplicate_window(minute / 2)).await;
    assert_eq!(window("sse").await, minute);
    let refused = settings().duplicate_window(2 * minute).connect(&nats.url()).await.unwrap_err();
    assert!(refused.to_string().contains("duplicate_window"), "{refused}");
    nats.log_with(settings().stream("default").prefix("default")).await;
    assert_eq!(window("default").await, 2 * minute);
    for wrong in [
        settings().duplicate_window(Duration::from_millis(99)),
        settings().age(minute).duplicate_window(2 * minute),
        settings().append_timeout(minute).duplicate_window(minute / 2),
    ] {
        assert!(wrong.connect(&nats.url()).await.is_err());
    }
}

/// The log's id names the event that is there.
#[tokio::test]
async fn the_id_of_a_repeat_is_that_of_the_first_event_although_that_was_another() {
    let nats = Nats::start().await;
    let (a, b) = (nats.log().await, nats.log().await);
    let first = once(&a, "t", "the first", "m").await;
    let repeat = once(&b, "t", "another", "m").await;
    assert_eq!(repeat, Appended::repeat(first.id));
    append(&a, "t", "next").await;
    let mut follower = b.follow(topics(&["t"]), Start::After(repeat.id));
    assert_eq!(all(&mut follower, 1).await, ["next"]);
}
