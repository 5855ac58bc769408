//! A Redis that changes under a log: another server is behind its address, it is full, it lacks
//! rights, its protocol is the newer one.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tower_sse::event_log::{BrokerError, EventLog, RedisLog, Start};

use crate::harness::redis;
use crate::harness::redis::{
    LONG, Server, Way, after, all, append, connect, data, follow, gap, log, said, topic, topics,
};

/// Connections stay open, as they do when a proxy or a name leads to the new server.
#[tokio::test]
async fn after_a_failover_that_keeps_connections_a_log_goes_on_with_the_new_server() {
    let (old, new) = (Server::start().await, Server::start().await);
    new.cli(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]);
    let mut way = Way::to(&old).await;
    let log = log(&way.url()).await;
    let mut follower = follow(&log, &["t"], Start::Live);
    let place = append(&log, "t", "1").await;
    assert_eq!(said(&mut follower).await, "1");
    new.has("t", 1).await;
    new.cli(&["REPLICAOF", "NO", "ONE"]);
    way.lead_to(&new);
    old.cli(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
    let began = Instant::now();
    append(&log, "t", "2").await;
    assert_eq!(said(&mut follower).await, "2");
    println!("goes on after {:?}", began.elapsed());
    let direct = redis::log(&new.url()).await;
    append(&direct, "t", "3").await;
    assert_eq!(said(&mut follower).await, "3");
    assert_eq!(all(&mut follow(&log, &["t"], after(&place)), 2).await, ["2", "3"]);
}

/// As when a server hangs, a replica takes its place, and it goes on for a moment.
#[tokio::test]
async fn an_event_of_a_server_that_was_replaced_hides_none_of_the_new_one_and_is_not_lost_in_silence()
 {
    for later_ones in [false, true] {
        let (old, new) = (Server::start().await, Server::start().await);
        new.cli(&["REPLICAOF", "127.0.0.1", &old.port.to_string()]);
        let mut way = Way::to(&old).await;
        let left = log(&way.url()).await;
        let first = append(&left, "t", "1").await;
        new.has("t", 1).await;
        new.cli(&["REPLICAOF", "NO", "ONE"]);
        let moved = log(&new.url()).await;
        let start = || after(&first);
        let mut at_old = [
            follow(&left, &["t"], start()),
            follow(&left, &["t", "u"], start()),
            follow(&left, &["*"], start()),
        ];
        let mut at_new = [follow(&moved, &["t"], start()), follow(&moved, &["*"], start())];
        append(&moved, "t", "2").await;
        for follower in &mut at_new {
            assert_eq!(said(follower).await, "2");
        }
        let phantom = append(&left, "t", "phantom").await;
        for follower in &mut at_old {
            assert_eq!(said(follower).await, "phantom");
        }
        if later_ones {
            append(&moved, "t", "3").await;
        }
        way.lead_to(&new);
        old.cli(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]);
        // It is told at once, and is not sent what it had.
        for follower in &mut at_old {
            assert_eq!(said(follower).await, "gap");
            if later_ones {
                assert_eq!(said(follower).await, "3");
            }
        }
        append(&left, "t", "4").await;
        append(&moved, "t", "5").await;
        // Those that got an event after the gap cannot know that the mark before `4` is the same.
        let rest: &[&str] = if later_ones { &["gap", "4", "5"] } else { &["4", "5"] };
        for follower in &mut at_old {
            assert_eq!(all(follower, rest.len()).await, rest);
        }
        for follower in &mut at_new {
            if later_ones {
                assert_eq!(said(follower).await, "3");
            }
            assert_eq!(all(follower, 3).await, ["gap", "4", "5"], "`phantom` is lost");
        }
        let mut comes_back = follow(&moved, &["t"], after(&phantom));
        let expected: &[&str] =
            if later_ones { &["3", "gap", "4", "5"] } else { &["gap", "4", "5"] };
        assert_eq!(all(&mut comes_back, expected.len()).await, expected);
        let mut comes_late = follow(&left, &["t"], start());
        assert_eq!(all(&mut comes_late, 1).await, ["2"]);
    }
}

#[tokio::test]
async fn the_newer_protocol_delivers_the_same() {
    let server = Server::start().await;
    let log = log(&format!("{}?protocol=resp3", server.url())).await;
    let mut live = follow(&log, &["t", "u"], Start::Live);
    for n in 0..1_500 {
        append(&log, if n % 3 == 0 { "u" } else { "t" }, &n.to_string()).await;
    }
    let expected: Vec<_> = (0..1_500).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut live, 1_500).await, expected);
    let mut past = follow(&log, &["t", "u"], Start::Earliest);
    assert_eq!(all(&mut past, 1_500).await, expected);
}

#[tokio::test]
async fn an_append_over_a_connection_that_was_closed_while_it_was_idle_is_not_lost() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    for n in 0..3 {
        append(&log, "t", &n.to_string()).await;
        server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        // No less than after which a connection counts as idle.
        sleep(Duration::from_millis(1_100)).await;
    }
    append(&log, "t", "3").await;
    assert_eq!(all(&mut follow(&log, &["t"], Start::Earliest), 4).await, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn reading_needs_no_writes() {
    let server = Server::start().await;
    let log = connect(RedisLog::builder().events(100), &server.url()).await;
    let first = append(&log, "t", "0").await;
    redis::append_all(&log, "t", 1..400).await;
    for refuses in ["maxmemory", "min-replicas-to-write"] {
        server.cli(&["CONFIG", "SET", refuses, "1"]);
        let refused = log.append(&topic("t"), data("x")).await;
        assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
        log.latest(&topics(&["t"])).await.unwrap();
        // Of a node that is new, and so are its topics.
        let other = connect(RedisLog::builder().events(100), &server.url()).await;
        for log in [&log, &other] {
            let mut behind = follow(log, &["t"], after(&first));
            gap(&mut behind).await;
            while said(&mut behind).await != "399" {}
            let nothing = gap(&mut follow(log, &[refuses], Start::Unknown)).await;
            assert_eq!(nothing.earliest, None);
        }
        server.cli(&["CONFIG", "SET", refuses, "0"]);
    }
}

#[tokio::test]
async fn a_topic_that_is_forgotten_leaves_its_last_sequence_and_no_event() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    append(&log, "over", "1").await;
    log.forget(&topic("over"), Duration::from_millis(100)).await.unwrap();
    log.forget(&topic("never.was"), LONG).await.unwrap();
    let began = Instant::now();
    let keys = || server.cli(&["KEYS", "*over*"]).trim().to_owned();
    while keys() != "{tower-sse}:last:over" {
        assert!(began.elapsed() < LONG, "{}", keys());
        sleep(Duration::from_millis(20)).await;
    }
    let left = |key: &str| server.cli(&["PTTL", key]).trim().parse::<i64>().unwrap();
    assert!(left("{tower-sse}:last:over") > 60_000, "it is kept as that of any topic, and goes");
    // It may begin anew, and is kept as any other then.
    append(&log, "over", "2").await;
    assert!(left("{tower-sse}:topic:over") > 60_000);
}

/// It would wait for ever, without a word.
#[tokio::test]
async fn a_log_that_cannot_read_says_since_when_and_why() {
    let server = Server::start().await;
    let set = |rights: &str| {
        let mut set_user = vec!["ACL", "SETUSER", "ann"];
        set_user.extend(rights.split(' '));
        server.cli(&set_user);
    };
    set("on >word ~* &* +@all -xread");
    let log = log(&server.url().replace("://", "://ann:word@")).await;
    assert!(log.health().is_reading, "there is nothing to read yet");
    let mut follower = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    let changed = async |reads: bool| {
        while log.health().is_reading != reads {
            sleep(Duration::from_millis(10)).await;
        }
        log.health()
    };
    let ill = tokio::time::timeout(LONG, changed(false)).await.unwrap();
    assert!(ill.problem.as_ref().unwrap().contains("xread"), "{ill:?}");
    set("+xread");
    let well = tokio::time::timeout(LONG, changed(true)).await.unwrap();
    assert!(well.problem.is_none() && well.since >= ill.since, "{well:?}");
    append(&log, "t", "2").await;
    assert_eq!(all(&mut follower, 2).await, ["1", "2"]);
}

/// As of a managed service.
#[tokio::test]
async fn a_user_without_the_right_to_name_clients_reads() {
    let server = Server::start().await;
    let rights = "on >word ~* &* +@all -client";
    let mut set_user = vec!["ACL", "SETUSER", "ann"];
    set_user.extend(rights.split(' '));
    server.cli(&set_user);
    let log = log(&server.url().replace("://", "://ann:word@")).await;
    let mut follower = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(said(&mut follower).await, "1");
}

#[tokio::test]
async fn an_append_takes_no_longer_because_the_first_event_is_long() {
    let server = Server::start().await;
    let log = connect(RedisLog::builder().max_event_bytes(1 << 24), &server.url()).await;
    append(&log, "long", &"x".repeat(8 << 20)).await;
    append(&log, "short", "x").await;
    let calls = |name: &str| -> u64 {
        let stats = server.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        let calls = line.and_then(|line| line.split("calls=").nth(1)?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    for name in ["long", "short"] {
        append(&log, name, "y").await;
        let copying = ["xinfo", "xinfo|stream", "xrange", "xrevrange", "xread"];
        assert_eq!(copying.map(calls), [0; 5], "what is stored is not copied");
    }
}

/// Over one connection an event would wait for megabytes of another client.
#[tokio::test]
async fn replays_are_bounded_by_bytes_and_delay_no_append() {
    let server = Server::start().await;
    let settings = || RedisLog::builder().window_events(1).window_bytes(600_000);
    let writer = connect(settings(), &server.url()).await;
    let first = append(&writer, "t", "0").await;
    let payload = "x".repeat(500_000);
    for _ in 0..40 {
        append(&writer, "t", &payload).await;
    }
    let way = Way::to(&server).await;
    let log = connect(settings(), &way.url()).await;
    let mut live = follow(&log, &["u"], Start::Live);
    append(&log, "u", "0").await;
    assert_eq!(said(&mut live).await, "0");
    let mut behind = follow(&log, &["t"], after(&first));
    assert_eq!(said(&mut behind).await.len(), payload.len());
    let read = way.bytes();
    // One page of 256 KiB has one such event, and so has the window.
    assert!(read < 3 * payload.len() as u64, "{read} bytes for one event");
    // Ten that stall are given no more.
    let mut stalled: Vec<_> = (0..10).map(|_| follow(&log, &["t"], after(&first))).collect();
    for follower in &mut stalled {
        assert_eq!(said(follower).await.len(), payload.len());
    }
    assert!(way.bytes() - read < 12 * 2 * payload.len() as u64, "{} bytes", way.bytes() - read);
    // Eight seconds for each event.
    way.slow_down_to(payload.len() as u64 / 8);
    let replay = tokio::spawn(async move { said(&mut behind).await.len() });
    sleep(Duration::from_millis(300)).await;
    let began = Instant::now();
    append(&log, "u", "1").await;
    assert_eq!(said(&mut live).await, "1");
    assert!(!replay.is_finished(), "the replay went on all the time: {:?}", began.elapsed());
    // Longer than one request waits at first: it comes in the end.
    assert_eq!(tokio::time::timeout(LONG, replay).await.unwrap().unwrap(), payload.len());
}

#[tokio::test]
async fn nothing_is_kept_for_clients_that_left_while_redis_was_away() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let log = log(&way.url()).await;
    append(&log, "t", "1").await;
    let mut stays = follow(&log, &["t"], Start::Live);
    append(&log, "t", "2").await;
    assert_eq!(said(&mut stays).await, "2");
    let metrics = tokio::runtime::Handle::current().metrics();
    let tasks = metrics.num_alive_tasks();
    way.close().await;
    for n in 0..2_000 {
        drop(follow(&log, &[&format!("t.{n}")], Start::Live));
    }
    let began = Instant::now();
    while metrics.num_alive_tasks() > tasks || !format!("{log:?}").contains("topics: 1,") {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", metrics.num_alive_tasks());
        sleep(Duration::from_millis(50)).await;
    }
    way.open().await;
    let append = async {
        while log.append(&topic("t"), data("3")).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LONG, append).await.expect("Redis is back");
    assert_eq!(said(&mut stays).await, "3");
}
