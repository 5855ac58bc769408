//! Patterns follow what is appended, and come back as far as the broker's list of all events
//! reaches.

use std::future::Future;

use tower_sse::event_log::{EventLog, GapReason, Start};

use crate::harness::broker::{after, all, append, append_all, follow, gap, nothing, said};

pub async fn a_follower_of_patterns_gets_each_event_that_matches_once_and_in_order<L>(
    [one, two]: [L; 2],
) where
    L: EventLog<Follower: Unpin>,
{
    let mut live = follow(&one, &["a.*", "a.1", "*.2", "news"], Start::Live);
    let place = append(&two, "other", "0").await;
    let long = "x".repeat(10_000);
    for (name, text) in [
        ("a.1", "1"),
        ("b.1", "no"),
        // It matches twice, and so does the first.
        ("a.2", "2"),
        ("b.2", &*long),
        ("news", "4"),
        ("a.2.3", "no"),
        ("a.3", "5"),
    ] {
        append(&two, name, text).await;
    }
    let expected = ["1", "2", &long, "4", "5"];
    assert_eq!(all(&mut live, 5).await, expected);
    nothing(&mut live).await;
    for log in [&one, &two] {
        let mut again = follow(log, &["a.*", "a.1", "*.2", "news"], after(&place));
        assert_eq!(all(&mut again, 5).await, expected);
        nothing(&mut again).await;
    }
    let mut all_of_them = follow(&two, &[">"], Start::Earliest);
    assert_eq!(all(&mut all_of_them, 8).await, ["0", "1", "no", "2", &long, "4", "no", "5"]);
}

/// Returns a follower of `log` that was there all the time. Others begin at a node that is made
/// when all is appended, and nothing older than 100 events is listed any more.
pub async fn what_is_not_listed_is_a_gap_for_a_follower_of_a_pattern<
    L: EventLog<Follower: Unpin>,
>(
    log: &L,
    publisher: &L,
    node: impl Future<Output = L>,
) -> L::Follower {
    let mut live = follow(log, &["a.*", "mark"], Start::Live);
    let first = append(publisher, "a.1", "first").await;
    append(publisher, "a.1", "second").await;
    assert_eq!(all(&mut live, 2).await, ["first", "second"]);
    for n in 0..6 {
        append_all(publisher, "secret", 50 * n..50 * (n + 1)).await;
        // Less than the broker lists at least, or a busy machine would not keep up.
        append(publisher, "mark", "read so far").await;
        assert_eq!(said(&mut live).await, "read so far");
    }
    append(publisher, "a.1", "third").await;
    // It was there all the time, and other topics are no gap.
    assert_eq!(said(&mut live).await, "third");
    let node = node.await;
    let mut behind = follow(&node, &["a.*"], after(&first));
    let lost = gap(&mut behind).await;
    assert_eq!(lost.reason, GapReason::Expired);
    assert_eq!(lost.earliest, lost.latest, "nothing is said of other topics");
    assert_eq!(said(&mut behind).await, "third");
    let mut again = follow(&node, &["a.*"], Start::After(lost.position));
    assert_eq!(said(&mut again).await, "third");
    live
}
