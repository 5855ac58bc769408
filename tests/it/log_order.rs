//! All who follow see one order, over topics and patterns, whoever publishes.

use std::thread;
use std::time::Duration;

use http_body_util::BodyExt;
use tower_sse::Hub;
use tower_sse::event_log::{EventLog, MemoryFollower, MemoryLog, Start, Step};

use crate::harness::LONG;
use crate::harness::hub::{all, append, data, follow, next, topic, topics};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_subscribers_of_ten_publishers_see_one_order() {
    const EVENTS: usize = 10 * 1_000;
    let hub = Hub::new(MemoryLog::builder().events(EVENTS).bytes(1 << 30).build().unwrap());
    let subscribers: Vec<_> = (0..100)
        .map(|n| {
            // Of one topic, of several, and by patterns.
            let set = topics([&["t"][..], &["t", "u"], &["*"], &["t", ">"]][n % 4]);
            let mut body = hub.subscribe(set).into_body();
            tokio::spawn(async move {
                let (mut all, mut events) = (String::new(), 0);
                while events < EVENTS {
                    let frame = tokio::time::timeout(LONG, body.frame()).await;
                    let frame = frame.expect("it is woken").unwrap().unwrap();
                    let text = String::from_utf8(frame.into_data().unwrap().into()).unwrap();
                    events += text.matches("\n\n").count();
                    all += &text;
                }
                all
            })
        })
        .collect();
    let publishers: Vec<_> = (0..10)
        .map(|publisher| {
            let hub = hub.clone();
            thread::spawn(move || {
                for n in 0..1_000 {
                    let event = data(format!("{publisher} {n}"));
                    hub.publish_blocking(&topic("t"), event).unwrap();
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for subscriber in subscribers {
        seen.push(subscriber.await.unwrap());
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
    for other in &seen[1..] {
        assert!(*other == seen[0], "another order");
    }
    let mut next = [0; 10];
    for text in seen[0].lines().filter(|line| line.starts_with("data: ")) {
        let (publisher, n) = text["data: ".len()..].split_once(' ').unwrap();
        let next = &mut next[publisher.parse::<usize>().unwrap()];
        assert_eq!(n.parse(), Ok(*next), "each publisher's own order is kept");
        *next += 1;
    }
}

#[test]
fn several_topics_come_in_the_order_in_which_they_were_published() {
    let log = MemoryLog::new();
    let mut live = follow(&log, &["a", "b", "c"], Start::Live);
    let first = append(&log, "a", "0");
    for n in 1..30 {
        append(&log, ["a", "b", "c", "d"][n * 7 % 4], &n.to_string());
    }
    let expected: Vec<String> =
        (0..30).filter(|n| n * 7 % 4 != 3).map(|n: usize| n.to_string()).collect();
    assert_eq!(all(&mut live), expected);
    assert_eq!(all(&mut follow(&log, &["a", "b", "c"], Start::Earliest)), expected);
    assert_eq!(all(&mut follow(&log, &["a", "b", "c"], Start::After(first))), expected[1..]);
}

#[test]
fn patterns_fit_topics_that_are_born_later_and_no_others() {
    let log = MemoryLog::new();
    append(&log, "orders.1", "early");
    let mut one = follow(&log, &["orders.*"], Start::Live);
    let mut deep = follow(&log, &["orders.>"], Start::Live);
    let mut twice = follow(&log, &["orders.*", "*.2", "orders.2"], Start::Live);
    let mut none = follow(&log, &[], Start::Earliest);
    for (name, text) in [
        ("orders.2", "a"),
        ("orders.1", "b"),
        ("orders", "c"),
        ("orders.2.lines", "d"),
        ("news.2", "e"),
        ("orders.3", "f"),
    ] {
        append(&log, name, text);
    }
    assert_eq!(all(&mut one), ["a", "b", "f"]);
    assert_eq!(all(&mut deep), ["a", "b", "d", "f"]);
    assert_eq!(all(&mut twice), ["a", "b", "e", "f"]);
    assert_eq!(all(&mut none), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_pattern_keeps_no_topic_and_follows_it_into_its_next_life() {
    let second = Duration::from_secs(1);
    let log = MemoryLog::builder().age(second).idle(second).build().unwrap();
    let mut follower = follow(&log, &["orders.*"], Start::Live);
    let mut pattern_of_nothing_else = follow(&log, &["orders.*"], Start::Live);
    for life in 0..3 {
        let text = life.to_string();
        append(&log, "orders.1", &text);
        assert_eq!(all(&mut follower), [text], "no false gap");
        tokio::time::advance(3 * second).await;
        assert_eq!(log.topics(), 0, "it ended though it is followed by a pattern");
    }
    // Who did not read was told.
    assert_eq!(all(&mut pattern_of_nothing_else)[0], "gap");
}

#[test]
fn a_late_follower_gets_the_window_if_it_asks_for_it_and_else_new_events() {
    let log = MemoryLog::new();
    for n in 0..5 {
        append(&log, "t", &n.to_string());
    }
    let mut live = follow(&log, &["t"], Start::Live);
    let mut earliest = follow(&log, &["t"], Start::Earliest);
    append(&log, "t", "5");
    assert_eq!(all(&mut live), ["5"]);
    assert_eq!(all(&mut earliest), ["0", "1", "2", "3", "4", "5"]);
}

/// Publishers and followers of overlapping topics, on threads: no follower ever steps back.
#[test]
fn ids_only_rise_while_topics_are_written_at_the_same_time() {
    let log = MemoryLog::builder().events(100_000).bytes(1 << 30).build().unwrap();
    let mut followers: Vec<_> =
        (0..4).map(|_| log.follow(topics(&["a", "b.*", "c"]), Start::Live)).collect();
    thread::scope(|scope| {
        for name in ["a", "b.1", "b.2", "c"] {
            let log = &log;
            scope.spawn(move || (0..5_000).for_each(|n| drop(append(log, name, &n.to_string()))));
        }
        for follower in &mut followers {
            scope.spawn(move || assert_rising(follower, 4 * 5_000));
        }
    });
}

/// The same with topics that are born while others are written, each with its first event.
#[test]
fn ids_only_rise_while_topics_are_born() {
    for _ in 0..400 {
        let log = MemoryLog::new();
        let mut follower = log.follow(topics(&["old", "new.*"]), Start::Live);
        thread::scope(|scope| {
            scope.spawn(|| (0..200).for_each(|n| drop(append(&log, "old", &n.to_string()))));
            scope.spawn(|| (0..200).for_each(|n| drop(append(&log, &format!("new.{n}"), "x"))));
            assert_rising(&mut follower, 400);
        });
    }
}

/// The same where events are lost all the time: what follows a gap is behind the gap's own place.
#[test]
fn ids_only_rise_over_gaps_while_topics_are_born() {
    for _ in 0..400 {
        let log = MemoryLog::builder().events(1).build().unwrap();
        let mut follower = log.follow(topics(&["old", "new.*"]), Start::Live);
        thread::scope(|scope| {
            let writers = [
                scope.spawn(|| (0..200).for_each(|n| drop(append(&log, "old", &n.to_string())))),
                scope.spawn(|| (0..200).for_each(|n| drop(append(&log, &format!("new.{n}"), "x")))),
            ];
            let mut last = 0;
            loop {
                let over = writers.iter().all(thread::ScopedJoinHandle::is_finished);
                let (place, step) = match next(&mut follower) {
                    Some(Step::Event(event)) => (sequence(event.id()), "event"),
                    Some(Step::Gap(gap)) => (sequence(gap.position.as_str()), "gap"),
                    _ if over => break,
                    _ => continue,
                };
                assert!(
                    place > last || step == "gap" && place == last,
                    "{step} {place} behind {last}"
                );
                last = place;
            }
        });
    }
}

fn sequence(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

fn assert_rising(follower: &mut MemoryFollower, events: usize) {
    let (mut last, mut count) = (0, 0);
    while count < events {
        let Some(Step::Event(event)) = next(follower) else {
            thread::yield_now();
            continue;
        };
        let sequence = sequence(event.id());
        assert!(sequence > last, "{sequence} behind {last}");
        (last, count) = (sequence, count + 1);
    }
}
