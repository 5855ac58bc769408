//! A log in memory stays as small as its settings say.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use tower_sse::event_log::{MemoryLog, MemoryLogError, Start, Step};
use tower_sse::{Event, Hub, InvalidSetting};

use crate::harness::SECOND;
use crate::harness::hub::{all, append, data, follow, next, next_for, poll, topic};
use crate::harness::wakes::Wakes;

#[test]
fn a_million_events_leave_as_many_as_are_kept() {
    let log = MemoryLog::builder().events(256).build().unwrap();
    let topic = topic("t");
    for n in 0..1_000_000_u32 {
        log.append_now(&topic, data(n.to_string())).unwrap();
    }
    assert_eq!(log.window(&topic).0, 256);
    let kept = all(&mut follow(&log, &["t"], Start::Earliest));
    assert_eq!(kept.len(), 256);
    assert_eq!((&*kept[0], &*kept[255]), ("999744", "999999"));
}

#[test]
fn bytes_are_bounded_and_what_is_longer_is_refused() {
    let log = MemoryLog::builder().bytes(10_000).build().unwrap();
    let text = "x".repeat(900);
    for _ in 0..100 {
        append(&log, "t", &text);
        let (events, bytes) = log.window(&topic("t"));
        assert!(bytes <= 10_000 && events <= 11, "{events} {bytes}");
    }
    assert_eq!(log.window(&topic("t")).0, 10);
    let too_much = data("x".repeat(10_000));
    assert_eq!(log.append_now(&topic("t"), too_much), Err(MemoryLogError::TooLong));
    assert_eq!(log.window(&topic("t")).0, 10, "nothing made room for it");
    let none = Event::new().comment("no data");
    assert_eq!(log.append_now(&topic("t"), none), Err(MemoryLogError::NoData));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_gone() {
    let log = MemoryLog::builder().age(10 * SECOND).build().unwrap();
    append(&log, "t", "1");
    tokio::time::advance(6 * SECOND).await;
    append(&log, "t", "2");
    assert_eq!(all(&mut follow(&log, &["t"], Start::Earliest)), ["1", "2"]);
    tokio::time::advance(4 * SECOND).await;
    assert_eq!(all(&mut follow(&log, &["t"], Start::Earliest)), ["2"]);
    tokio::time::advance(6 * SECOND).await;
    assert_eq!(log.window(&topic("t")), (0, 0));
}

/// An end is kept for longer, if it is the last event, but not what comes after it.
#[tokio::test(start_paused = true)]
async fn what_is_too_old_of_a_topic_that_began_anew_is_removed_by_other_calls() {
    let log = MemoryLog::builder().age(10 * SECOND).build().unwrap();
    let hub = Hub::new(log.clone());
    let mut follower = follow(&log, &["t"], Start::Live);
    hub.finish(&topic("t")).await.unwrap();
    assert!(next(&mut follower).is_some());
    append(&log, "t", "x");
    tokio::time::advance(11 * SECOND).await;
    append(&log, "other", "y");
    assert_eq!(all(&mut follower), ["gap"]);
}

#[tokio::test(start_paused = true)]
async fn topics_end_when_they_are_idle_and_not_before() {
    let log = MemoryLog::builder().age(10 * SECOND).idle(20 * SECOND).build().unwrap();
    append(&log, "t", "1");
    let mut follower = follow(&log, &["t"], Start::Earliest);
    // Only followed, by somebody who goes.
    drop(follow(&log, &["u"], Start::Live));
    assert_eq!(log.topics(), 1);
    tokio::time::advance(60 * SECOND).await;
    assert_eq!(log.topics(), 1, "somebody follows it");
    assert_eq!(all(&mut follower), ["gap"], "it was trimmed meanwhile");
    append(&log, "t", "2");
    drop(follower);
    tokio::time::advance(19 * SECOND).await;
    assert_eq!(log.topics(), 1, "there was an event");
    tokio::time::advance(SECOND).await;
    assert_eq!(log.topics(), 0);
}

#[tokio::test(start_paused = true)]
async fn topics_that_nobody_asks_for_are_swept_by_other_calls() {
    let log = MemoryLog::builder().age(SECOND).idle(SECOND).topics(50_000).build().unwrap();
    for n in 0..40_000 {
        append(&log, &format!("t.{n}"), "x");
    }
    // By Debug, which sweeps nothing.
    let topics = || {
        let text = format!("{log:?}");
        let count = text.rsplit("topics: ").next().and_then(|it| it.split(',').next());
        count.unwrap().parse::<usize>().unwrap()
    };
    tokio::time::advance(60 * SECOND).await;
    let mut before = topics();
    assert_eq!(before, 40_000);
    for call in 0.. {
        tokio::time::advance(SECOND / 50).await;
        append(&log, "other", "x");
        let now = topics();
        // In slices, so that no call pays for all of them.
        assert!(now <= before + 1 && now + 256 >= before, "{before} {now}");
        before = now;
        if now == 1 {
            break;
        }
        assert!(call < 400, "{now} are left");
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_topics_is_bounded() {
    let log = MemoryLog::builder().topics(2).age(SECOND).idle(SECOND).build().unwrap();
    let publish = |name| log.append_now(&topic(name), data("x")).map(drop);
    // Those that are followed are not counted: who publishes suffers nothing from who follows.
    let followers = ["u", "v", "w"].map(|name| follow(&log, &[name], Start::Live));
    assert_eq!((publish("a"), publish("b")), (Ok(()), Ok(())));
    assert_eq!(publish("c"), Err(MemoryLogError::TooManyTopics));
    assert_eq!(publish("u"), Err(MemoryLogError::TooManyTopics));
    assert_eq!(log.topics(), 5, "what was refused left nothing");
    assert_eq!(publish("a"), Ok(()));
    tokio::time::advance(5 * SECOND).await;
    assert_eq!(publish("c"), Ok(()), "the others had ended");
    drop(followers);
}

#[tokio::test(start_paused = true)]
async fn no_topic_is_one_too_many_while_another_may_end() {
    let limits = MemoryLog::builder().topics(2_000).followed(1_000);
    let log = limits.age(5 * SECOND).idle(10 * SECOND).build().unwrap();
    let publish = |n: usize| log.append_now(&topic(&format!("t.{n}")), data("x")).map(drop);
    let follow = |n: usize| follow(&log, &[&format!("f.{n}")], Start::Live);
    (0..1_000).for_each(|n| publish(n).unwrap());
    tokio::time::advance(6 * SECOND).await;
    assert_eq!(log.topics(), 1_000);
    tokio::time::advance(SECOND).await;
    (1_000..2_000).for_each(|n| publish(n).unwrap());
    drop((0..1_000).map(follow).collect::<Vec<_>>());
    // Now the first may end. The others cannot, but have events that are too old, and are looked
    // at before.
    tokio::time::advance(5 * SECOND + SECOND / 2).await;
    assert!(poll(&mut follow(1_000)).is_pending(), "it is not refused");
    assert_eq!(publish(2_000), Ok(()));
}

#[test]
fn a_follower_is_woken_once_and_leaves_nothing_behind() {
    let log = MemoryLog::new();
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&count));
    for names in [&["t"][..], &["t", "u"], &["*"]] {
        let before = count.count();
        let mut follower = follow(&log, names, Start::Live);
        for _ in 0..3 {
            assert!(next_for(&mut follower, &waker).is_none());
        }
        append(&log, "t", "1");
        append(&log, "t", "2");
        assert_eq!(count.count(), before + 1, "{names:?}");
        assert!(matches!(next(&mut follower), Some(Step::Event(_))));
        drop(follower);
        append(&log, "t", "3");
        assert_eq!(count.count(), before + 1, "{names:?}");
        assert_eq!(Arc::strong_count(&count), 2, "{names:?}");
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let named = |built: Result<MemoryLog, InvalidSetting>| built.unwrap_err().setting().to_owned();
    assert_eq!(named(MemoryLog::builder().events(0).build()), "events");
    assert_eq!(named(MemoryLog::builder().bytes(0).build()), "bytes");
    assert_eq!(named(MemoryLog::builder().age(Duration::ZERO).build()), "age");
    assert_eq!(named(MemoryLog::builder().topics(0).build()), "topics");
    assert_eq!(named(MemoryLog::builder().followed(0).build()), "followed");
    assert_eq!(named(MemoryLog::builder().bytes(10).total_bytes(9).build()), "total_bytes");
    assert!(MemoryLog::builder().bytes(1 << 40).build().is_ok());
}
