//! What Redis does not have any more is said, whatever the cause, and what it has is no gap.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, Follow, GapReason, RedisLog, Start};

use crate::harness::redis::{
    Server, all, append, append_all, connect, follow, gap, log, nothing, said, topics,
};

fn sequence(id: &EventId) -> u64 {
    id.as_str().split_once('-').unwrap().1.parse().unwrap()
}

fn shifted(id: &EventId, by: u64) -> EventId {
    let (epoch, _) = id.as_str().split_once('-').unwrap();
    EventId::new(format!("{epoch}-{}", sequence(id) + by)).unwrap()
}

#[tokio::test]
async fn every_cause_is_told_and_then_comes_what_there_is() {
    let server = Server::start().await;
    let log = connect(RedisLog::builder().events(100), &server.url()).await;
    let other = connect(RedisLog::builder().prefix("other"), &server.url()).await;
    let first = append(&log, "t", "0").await;
    append_all(&log, "t", 1..399).await;
    let last = append(&log, "t", "399").await;
    let secret = append(&log, "secret", "x").await;
    let foreign = append(&other, "t", "x").await;
    // Of two nodes, one of which has it in its window.
    let second = connect(RedisLog::builder().events(100).window(7, 1 << 20), &server.url()).await;
    let id = |text: &str| EventId::new(text).unwrap();
    for log in [&log, &second] {
        for (start, requested, reason) in [
            // Trimmed.
            (Start::After(first.clone()), true, GapReason::Expired),
            // Of another log.
            (Start::After(foreign.clone()), true, GapReason::Restarted),
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
            assert!((200..=300).contains(&begin), "{begin}");
            assert!(sequence(&gap.position) < sequence(gap.earliest.as_ref().unwrap()));
            let rest = all(&mut follower, 399 - begin).await;
            let expected: Vec<String> = (begin + 1..400).map(|n| n.to_string()).collect();
            assert_eq!(rest, expected);
            // To come back with the place behind the gap is no gap.
            let mut again = follow(log, &["t"], Start::After(gap.position));
            assert_eq!(said(&mut again).await, begin.to_string());
            // What is there is no gap.
            let mut earliest = follow(log, &["t"], Start::Earliest);
            assert_eq!(said(&mut earliest).await, begin.to_string());
        }
    }
}

#[tokio::test]
async fn a_gap_without_events_gives_a_place_to_come_back_to() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    let secret = append(&log, "secret", "x").await;
    let mut follower = follow(&log, &["t", "u"], Start::Unknown);
    let gap = gap(&mut follower).await;
    assert_eq!((&gap.earliest, &gap.latest), (&None, &None));
    assert_ne!(gap.position, secret, "nothing is said of other topics");
    append(&log, "u", "1").await;
    append(&log, "t", "2").await;
    for follower in [&mut follower, &mut follow(&log, &["t", "u"], Start::After(gap.position))] {
        assert_eq!(all(follower, 2).await, ["1", "2"]);
    }
}

#[tokio::test]
async fn a_topic_that_expired_hides_no_loss_and_makes_none_up() {
    let idle = Duration::from_millis(300);
    let server = Server::start().await;
    let log = connect(RedisLog::builder().idle(idle), &server.url()).await;
    let first = append(&log, "t", "1").await;
    append(&log, "t", "2").await;
    let mut open = follow(&log, &["t"], Start::After(first.clone()));
    assert_eq!(said(&mut open).await, "2");
    tokio::time::sleep(idle + Duration::from_millis(200)).await;
    let place = log.latest(&topics(&["t"])).await.unwrap();
    // Who was there all the time missed nothing, nor did who has a place from afterwards.
    append(&log, "t", "3").await;
    assert_eq!(said(&mut open).await, "3");
    let second = connect(RedisLog::builder().idle(idle), &server.url()).await;
    assert_eq!(said(&mut follow(&second, &["t"], Start::After(place))).await, "3");
    assert_eq!(all(&mut follow(&second, &["t"], Start::After(first)), 2).await, ["gap", "3"]);
}

#[tokio::test]
async fn a_redis_that_lost_all_is_another_log() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    let before = append(&log, "t", "1").await;
    let mut follower = follow(&log, &["t"], Start::After(before.clone()));
    append(&log, "t", "2").await;
    assert_eq!(said(&mut follower).await, "2");
    server.cli(&["FLUSHALL"]);
    let after = append(&log, "t", "3").await;
    assert_ne!(before.as_str().split('-').next(), after.as_str().split('-').next());
    for follower in [&mut follower, &mut follow(&log, &["t"], Start::After(before))] {
        assert_eq!(gap(follower).await.reason, GapReason::Restarted);
        assert_eq!(said(follower).await, "3");
    }
    assert_eq!(nothing(&mut follow(&log, &["t"], Start::After(after))).await, ());
}

/// More than the reader is given at once; and what is left expires before it asks for it.
#[tokio::test]
async fn what_expired_between_two_reads_is_a_gap() {
    let server = Server::start().await;
    let log = connect(RedisLog::builder().idle(Duration::from_secs(10)), &server.url()).await;
    let mut follower = follow(&log, &["t"], Start::Earliest);
    nothing(&mut follower).await;
    // Of twenty seconds ago.
    let many = "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2] - 20000000 \
        for n = 1, 600 do redis.call('XADD', KEYS[1], string.format('%.0f-0', now + n), \
        'e', 'data: ' .. n .. '\\n\\n', 'g', redis.call('GET', KEYS[2]), \
        'b', n == 1 and '0' or string.format('%.0f', now + n - 1), 'k', '1') end";
    let next = "local t = redis.call('TIME') local now = t[1] * 1000000 + t[2] \
        redis.call('DEL', KEYS[1]) redis.call('XADD', KEYS[1], string.format('%.0f-0', now), \
        'e', 'data: next\\n\\n', 'g', redis.call('GET', KEYS[2]), \
        'b', string.format('%.0f', now - 10000000), 'k', '0')";
    // In one write, so that nobody else has a turn between the two.
    let both = [many, next].map(|script| {
        let words = ["EVAL", script, "2", "{tower-sse}:topic:t", "{tower-sse}:epoch"];
        let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len()));
        format!("*{}\r\n{}", words.len(), words.concat())
    });
    let mut connection = tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
    connection.write_all(both.concat().as_bytes()).await.unwrap();
    let expected: Vec<_> = (1..=512).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut follower, 512).await, expected);
    assert_eq!(all(&mut follower, 2).await, ["gap", "next"]);
}

/// As after a failover to a machine whose clock is behind: sequences are ahead of it for a time.
#[tokio::test]
async fn a_clock_that_is_behind_hides_nothing_from_live_followers() {
    let server = Server::start().await;
    let (log, other) = (log(&server.url()).await, log(&server.url()).await);
    let ahead = sequence(&append(&log, "t", "before").await) + 3_600_000_000;
    server.cli(&["SET", "{tower-sse}:head", &ahead.to_string()]);
    let hour = append(&other, "t", "before").await;
    assert_eq!(sequence(&hour), ahead + 1);
    // Whoever is heard of it.
    log.latest(&topics(&["t"])).await.unwrap();
    let mut of_one = follow(&log, &["t"], Start::Live);
    let mut of_two = follow(&log, &["t", "u"], Start::Live);
    append(&other, "t", "x").await;
    // Both nodes know by now that it is there.
    let mut known = follow(&log, &["t"], Start::After(hour));
    assert_eq!(said(&mut known).await, "x");
    let mut again = follow(&log, &["t"], Start::Live);
    append(&other, "t", "y").await;
    assert_eq!(said(&mut known).await, "y");
    assert_eq!(all(&mut of_one, 2).await, ["x", "y"]);
    assert_eq!(all(&mut of_two, 2).await, ["x", "y"]);
    assert_eq!(said(&mut again).await, "y");
}

#[tokio::test]
async fn a_follower_of_a_pattern_gets_a_gap_and_its_end() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    append(&log, "a.b", "1").await;
    let mut follower = follow(&log, &["a.*", "a.b"], Start::Live);
    gap(&mut follower).await;
    let end = std::future::poll_fn(|cx| std::pin::Pin::new(&mut follower).poll_next(cx)).await;
    assert!(end.is_none(), "{end:?}");
}
