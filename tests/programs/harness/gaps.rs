//! What a broker does not have any more is said, whatever the cause, and what it has is no gap.

use std::future::Future;
use std::ops::RangeInclusive;

use tower_sse::EventId;
use tower_sse::event_log::{EventLog, GapReason, Start};

use crate::harness::broker::{after, all, append, append_all, follow, gap, nothing, said};
use crate::harness::topics::topics;

/// The second number of an id.
pub fn sequence(id: &EventId) -> u64 {
    id.as_str().split_once('-').unwrap().1.parse().unwrap()
}

fn shifted(id: &EventId, by: u64) -> EventId {
    let (epoch, _) = id.as_str().split_once('-').unwrap();
    EventId::new(format!("{epoch}-{}", sequence(id) + by)).unwrap()
}

/// Appends 400 events to a log that keeps those from a number in `begins` on. The second node is
/// made when all are appended; the other log has events of its own.
pub async fn every_cause_is_told_and_then_comes_what_there_is<L: EventLog<Follower: Unpin>>(
    log: &L,
    second: impl Future<Output = L>,
    other: &L,
    begins: RangeInclusive<usize>,
) {
    let first = append(log, "t", "0").await;
    append_all(log, "t", 1..399).await;
    let last = append(log, "t", "399").await;
    let secret = append(log, "secret", "x").await;
    let foreign = append(other, "t", "x").await;
    // Of two nodes, one of which has it in its window.
    let second = second.await;
    let id = |text: &str| EventId::new(text).unwrap();
    for log in [log, &second] {
        for (start, requested, reason) in [
            // Trimmed.
            (after(&first), true, GapReason::Expired),
            // Of another log.
            (after(&foreign), true, GapReason::Restarted),
            // Malformed.
            (Start::After(id("7")), true, GapReason::Unknown),
            // Newer than the head.
            (Start::After(shifted(&secret, 1_000_000)), true, GapReason::Unknown),
            // Not even an id.
            (Start::Unknown, false, GapReason::Unknown),
        ] {
            let mut follower = follow(log, &["t"], start.clone());
            let gap = gap(&mut follower).await;
            assert_eq!(gap.reason, reason, "{start:?}");
            assert_eq!(gap.requested.map(Start::After), requested.then_some(start));
            assert_eq!(gap.latest.as_ref(), Some(&last));
            let begin: usize = said(&mut follower).await.parse().unwrap();
            assert!(begins.contains(&begin), "{begin}");
            assert!(sequence(&gap.position) < sequence(gap.earliest.as_ref().unwrap()));
            let rest = all(&mut follower, 399 - begin).await;
            let expected: Vec<String> = (begin + 1..400).map(|n| n.to_string()).collect();
            assert_eq!(rest, expected);
            // To come back with the position of the gap is no gap.
            let mut again = follow(log, &["t"], Start::After(gap.position));
            assert_eq!(said(&mut again).await, begin.to_string());
            // What is there is no gap.
            let mut earliest = follow(log, &["t"], Start::Earliest);
            assert_eq!(said(&mut earliest).await, begin.to_string());
        }
    }
}

pub async fn a_gap_without_events_gives_a_place_to_come_back_to<L>(log: &L)
where
    L: EventLog<Follower: Unpin>,
{
    let secret = append(log, "secret", "x").await;
    let mut follower = follow(log, &["t", "u"], Start::Unknown);
    let gap = gap(&mut follower).await;
    assert_eq!((&gap.earliest, &gap.latest), (&None, &None));
    assert_ne!(gap.position, secret, "nothing is said of other topics");
    append(log, "u", "1").await;
    append(log, "t", "2").await;
    for follower in [&mut follower, &mut follow(log, &["t", "u"], Start::After(gap.position))] {
        assert_eq!(all(follower, 2).await, ["1", "2"]);
    }
}

/// `expire` returns when the broker has dropped the topic; the second node is made afterwards.
pub async fn a_topic_that_expired_hides_no_loss_and_makes_none_up<L: EventLog<Follower: Unpin>>(
    log: &L,
    second: impl Future<Output = L>,
    expire: impl Future<Output = ()>,
) {
    let first = append(log, "t", "1").await;
    append(log, "t", "2").await;
    let mut open = follow(log, &["t"], after(&first));
    assert_eq!(said(&mut open).await, "2");
    expire.await;
    let place = log.latest(&topics(&["t"])).await.unwrap();
    // A client that was there all the time missed nothing, nor did one with a later place.
    append(log, "t", "3").await;
    assert_eq!(said(&mut open).await, "3");
    let second = second.await;
    assert_eq!(said(&mut follow(&second, &["t"], Start::After(place))).await, "3");
    assert_eq!(all(&mut follow(&second, &["t"], after(&first)), 2).await, ["gap", "3"]);
}

pub async fn a_log_that_lost_all_is_another_log<L: EventLog<Follower: Unpin>>(
    log: &L,
    lose_all: impl FnOnce(),
) {
    let before = append(log, "t", "1").await;
    let mut follower = follow(log, &["t"], after(&before));
    append(log, "t", "2").await;
    assert_eq!(said(&mut follower).await, "2");
    lose_all();
    let next = append(log, "t", "3").await;
    assert_ne!(before.as_str().split('-').next(), next.as_str().split('-').next());
    for follower in [&mut follower, &mut follow(log, &["t"], after(&before))] {
        assert_eq!(gap(follower).await.reason, GapReason::Restarted);
        assert_eq!(said(follower).await, "3");
    }
    nothing(&mut follow(log, &["t"], after(&next))).await;
}
