//! Patterns over Redis follow what is appended, and come back as far as the feed reaches.

use tower_sse::event_log::{GapReason, RedisLog, Start};

use crate::harness::redis::{
    Server, Way, after, all, append, append_all, connect, follow, gap, log, nothing, said,
};

#[tokio::test]
async fn a_follower_of_patterns_gets_each_event_that_matches_once_and_in_order() {
    let server = Server::start().await;
    let (one, two) = (log(&server.url()).await, log(&server.url()).await);
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

#[tokio::test]
async fn what_the_feed_does_not_reach_is_a_gap_for_a_follower_of_a_pattern() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let settings = || RedisLog::builder().feed_events(100);
    let log = connect(settings(), &way.url()).await;
    let other = connect(settings(), &server.url()).await;
    let mut live = follow(&log, &["a.*", "mark"], Start::Live);
    let first = append(&other, "a.1", "first").await;
    append(&other, "a.1", "second").await;
    assert_eq!(all(&mut live, 2).await, ["first", "second"]);
    for n in 0..6 {
        append_all(&other, "secret", 50 * n..50 * (n + 1)).await;
        // Less than the feed has at least, or a busy machine would not keep up.
        append(&other, "mark", "read so far").await;
        assert_eq!(said(&mut live).await, "read so far");
    }
    append(&other, "a.1", "third").await;
    // It was there all the time, and other topics are no gap.
    assert_eq!(said(&mut live).await, "third");
    let mut behind = follow(&other, &["a.*"], after(&first));
    let lost = gap(&mut behind).await;
    assert_eq!(lost.reason, GapReason::Expired);
    assert_eq!(lost.earliest, lost.latest, "nothing is said of other topics");
    assert_eq!(said(&mut behind).await, "third");
    let mut again = follow(&other, &["a.*"], Start::After(lost.position));
    assert_eq!(said(&mut again).await, "third");
    // And who was away for as long is told.
    way.close().await;
    append_all(&other, "secret", 0..300).await;
    append(&other, "a.2", "fourth").await;
    way.open().await;
    assert_eq!(gap(&mut live).await.reason, GapReason::Expired);
    assert_eq!(said(&mut live).await, "fourth");
}
