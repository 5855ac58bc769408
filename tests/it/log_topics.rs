//! Many topics: none makes another dearer, and all of them together are bounded.

use std::sync::Arc;
use std::task::Waker;

use tower_sse::event_log::{EventLog, GapReason, MemoryLog, MemoryLogError, Start, Step, Topics};

use crate::harness::SECOND;
use crate::harness::hub::{all, append, data, follow, gap, next, next_for, poll, topic, topics};
use crate::harness::wakes::Wakes;

#[test]
fn all_topics_together_are_bounded_and_the_oldest_events_go_first() {
    let log = MemoryLog::builder().bytes(4_000).total_bytes(10_000).build().unwrap();
    let first = append(&log, "quiet", &"x".repeat(900));
    let mut quiet = follow(&log, &["quiet"], Start::After(first));
    append(&log, "quiet", &"y".repeat(900));
    let names = ["a", "b", "c", "d", "e"].map(|name| (name, topic(name)));
    let bytes = || {
        let of = |name: &str| log.window(&topic(name)).1;
        of("quiet") + names.iter().map(|name| log.window(&name.1).1).sum::<usize>()
    };
    for n in 0..1_000 {
        append(&log, names[n % 5].0, &"z".repeat(400));
        assert!(bytes() <= 10_000, "{}", bytes());
    }
    assert_eq!(log.window(&topic("quiet")), (0, 0));
    for name in &names {
        let kept = log.window(&name.1).0;
        assert!((3..=5).contains(&kept), "they share it: {kept}");
    }
    // It is told.
    assert_eq!(gap(&mut quiet).reason, GapReason::Expired);
    assert_eq!(all(&mut quiet), [""; 0]);
    assert_eq!(append(&log, "quiet", "w"), append_id(&log, "quiet"));
    assert_eq!(all(&mut quiet), ["w"]);
}

/// The id of the last event of a topic.
fn append_id(log: &MemoryLog, name: &str) -> tower_sse::EventId {
    let mut follower = follow(log, &[name], Start::Earliest);
    let mut last = None;
    while let Some(Step::Event(event)) = next(&mut follower) {
        last = Some(event.id().to_owned());
    }
    tower_sse::EventId::new(last.unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_topic_stays_when_room_is_made() {
    let log = MemoryLog::builder().bytes(1_000).total_bytes(2_000).build().unwrap();
    let hub = tower_sse::Hub::new(log.clone());
    futures_util::FutureExt::now_or_never(hub.finish(&topic("over"))).unwrap().unwrap();
    for n in 0..100 {
        append(&log, &format!("t.{n}"), &"x".repeat(100));
    }
    assert_eq!(log.window(&topic("over")).0, 1);
}

#[test]
fn topics_that_are_only_followed_are_bounded() {
    let log = MemoryLog::builder().followed(3).build().unwrap();
    append(&log, "with.events", "x");
    let mut followers: Vec<_> =
        ["a", "b", "c"].map(|name| follow(&log, &[name], Start::Live)).into();
    for names in [&["d"][..], &["a", "d"], &["d", "with.*"]] {
        let mut refused = follow(&log, names, Start::Live);
        assert!(matches!(poll(&mut refused), std::task::Poll::Ready(None)), "{names:?}");
        assert_eq!(log.followers(&topic("a")), 1, "{names:?} left nothing");
    }
    assert_eq!(log.topics(), 4);
    // These are there already, or have events.
    assert!(next(&mut follow(&log, &["a", "with.events", "new.*"], Start::Live)).is_none());
    append(&log, "a", "1");
    assert_eq!(all(&mut followers[0]), ["1"]);
    // There is room again: for one that has events now, and for one that nobody follows.
    drop(followers.remove(2));
    followers.extend(["d", "e"].map(|name| follow(&log, &[name], Start::Live)));
    assert!(next(&mut followers[2]).is_none());
    assert!(next(&mut followers[3]).is_none());
    assert_eq!(log.append_now(&topic("f"), data("x")).map(drop), Ok::<_, MemoryLogError>(()));
}

#[test]
fn new_topics_wake_only_followers_that_follow_them() {
    let log = MemoryLog::new();
    let counts: [Arc<Wakes>; 3] = Default::default();
    let sets = [&["news.*"][..], &["orders.>", "news.*"], &["*.7"]];
    let mut followers = sets.map(|names| follow(&log, names, Start::Live));
    let mut read = |n: usize| {
        let waker = Waker::from(Arc::clone(&counts[n]));
        let mut events = 0;
        while next_for(&mut followers[n], &waker).is_some() {
            events += 1;
        }
        events
    };
    assert_eq!([read(0), read(1), read(2)], [0, 0, 0]);
    let mut seen = [0; 3];
    for n in 0..1_000 {
        append(&log, &format!("orders.{n}"), "x");
        for (at, seen) in seen.iter_mut().enumerate() {
            *seen += read(at);
        }
    }
    assert_eq!(seen, [0, 1_000, 1]);
    assert_eq!(counts.map(|it| it.count()), [0, 1_000, 1]);
}

#[test]
fn no_poll_looks_at_all_topics_that_a_pattern_matches() {
    const TOPICS: usize = 20_000;
    let log = MemoryLog::builder().topics(2 * TOPICS).build().unwrap();
    let first = append(&log, "first", "x");
    for n in 0..TOPICS {
        append(&log, &format!("a.{}.{n}", n % 100), &n.to_string());
    }
    let patterns = (0..156).map(|n| format!("a.*.{n}"));
    let patterns = Topics::new(patterns.chain((0..100).map(|n| format!("a.{n}.*")))).unwrap();
    let mut follower = log.follow(patterns, Start::After(first));
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut events = 0;
    while events < TOPICS {
        match next_for(&mut follower, &waker) {
            // In the order of the ids, although they were found in another.
            Some(step) => {
                assert_eq!(crate::harness::hub::said(&step), events.to_string());
                events += 1;
            }
            None => assert!(count.count() > 0, "it is to be polled again"),
        }
    }
    assert!((10..100).contains(&count.count()), "{} slices", count.count());
    assert!(next_for(&mut follower, &waker).is_none());
}

/// The list that followers of patterns share is bounded, and who is before it loses nothing.
#[test]
fn a_follower_of_a_pattern_that_did_not_read_for_long_gets_all_that_there_is() {
    let log = MemoryLog::builder().events(100_000).build().unwrap();
    let sets = [&["t.*"][..], &["t.*", "t.3", "u"], &["t.3", "t.>"]];
    let mut followers = sets.map(|names| follow(&log, names, Start::Live));
    let mut expected = Vec::new();
    for round in 0..5 {
        for n in 0..3_000 {
            let text = format!("{round} {n}");
            append(&log, &format!("t.{}", n % 7), &text);
            append(&log, "other", &text);
            expected.push(text);
        }
        for (follower, names) in followers.iter_mut().zip(sets) {
            // Not to the end, so that some are in the middle of what they look at.
            let most = if round == 4 { usize::MAX } else { 2_500 };
            let mut seen = Vec::new();
            for _ in 0..most {
                let Some(step) = next(follower) else { break };
                seen.push(crate::harness::hub::said(&step));
            }
            let from = expected.iter().position(|text| *text == seen[0]).unwrap();
            assert_eq!(seen, expected[from..from + seen.len()], "{names:?}");
            if round == 4 {
                assert_eq!(from + seen.len(), expected.len());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pattern_tells_of_what_was_lost_in_topics_that_ended() {
    let log = MemoryLog::builder().age(SECOND).idle(SECOND).build().unwrap();
    let first = append(&log, "other", "x");
    let mut stalled = follow(&log, &["t.*"], Start::Live);
    for n in 0..3 {
        append(&log, &format!("t.{n}"), "x");
    }
    tokio::time::advance(10 * SECOND).await;
    assert_eq!(log.topics(), 0);
    let last = append(&log, "t.9", "y");
    assert_eq!(all(&mut stalled), ["gap", "y"]);
    for names in [&["t.*"][..], &["t.1", "t.9"], &[">"]] {
        assert_eq!(all(&mut follow(&log, names, Start::After(first.clone()))), ["gap", "y"]);
        assert_eq!(all(&mut follow(&log, names, Start::After(last.clone()))), [""; 0]);
    }
    let nothing = topics(&["u.*", "t.7", "t.9"]);
    let mut other = log.follow(nothing, Start::After(first));
    assert_eq!(all(&mut other), ["y"], "nothing of these was lost");
}
