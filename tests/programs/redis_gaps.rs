//! What Redis does not have any more is said, whatever the cause, and what it has is no gap.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;
use tower_sse::event_log::{BrokerError, EventLog, GapReason, RedisLog, Start, contract};

use crate::harness::gaps::{self, sequence};
use crate::harness::redis::{
    Server, Way, after, all, append, append_all, connect, data, data_of, follow, gap, log, nothing,
    said, topic, topics,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_redis_keeps_the_contract() {
    let server = Server::start().await;
    contract::check(&log(&server.url()).await, "wide").await;
    let narrow = RedisLog::builder().window_events(2).window_bytes(1 << 20);
    contract::check(&connect(narrow, &server.url()).await, "narrow").await;
    for (name, window) in [("few", 100), ("fewer", 2)] {
        let few =
            RedisLog::builder().prefix(name).events(16).window_events(window).window_bytes(1 << 20);
        contract::check_gaps(&connect(few, &server.url()).await, "t", 16).await;
    }
    contract::check_idempotent(&log(&server.url()).await, "once").await;
}

#[tokio::test]
async fn every_cause_is_told_and_then_comes_what_there_is() {
    let server = Server::start().await;
    let settings = || RedisLog::builder().events(100);
    let log = connect(settings(), &server.url()).await;
    let address = server.url();
    let second = connect(settings().window_events(7).window_bytes(1 << 20), &address);
    let other = connect(RedisLog::builder().prefix("other"), &address).await;
    let begins = 200..=300;
    gaps::every_cause_is_told_and_then_comes_what_there_is(&log, second, &other, begins).await;
}

#[tokio::test]
async fn a_gap_without_events_gives_a_place_to_come_back_to() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    gaps::a_gap_without_events_gives_a_place_to_come_back_to(&log).await;
}

#[tokio::test]
async fn a_topic_that_expired_hides_no_loss_and_makes_none_up() {
    let idle = Duration::from_millis(300);
    let server = Server::start().await;
    let address = server.url();
    let node = || connect(RedisLog::builder().idle(idle), &address);
    let log = node().await;
    let expire = sleep(idle + Duration::from_millis(200));
    gaps::a_topic_that_expired_hides_no_loss_and_makes_none_up(&log, node(), expire).await;
}

#[tokio::test]
async fn a_redis_that_lost_all_is_another_log() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    let lose_all = || drop(server.cli(&["FLUSHALL"]));
    gaps::a_log_that_lost_all_is_another_log(&log, lose_all).await;
}

/// It is in neither the feed nor its topic any more.
#[tokio::test]
async fn what_expired_while_a_node_was_away_is_a_gap() {
    let idle = Duration::from_secs(1);
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let settings = || RedisLog::builder().idle(idle).feed_events(1);
    let (log, other) =
        (connect(settings(), &way.url()).await, connect(settings(), &server.url()).await);
    let mut follower = follow(&log, &["t"], Start::Live);
    append(&other, "t", "1").await;
    assert_eq!(said(&mut follower).await, "1");
    way.close().await;
    append_all(&other, "t", 2..600).await;
    sleep(idle + Duration::from_millis(500)).await;
    append(&other, "t", "next").await;
    // It is to be there still when the node is back, however long that tries.
    for key in ["{tower-sse}:topic:t", "{tower-sse}:last:t"] {
        assert_eq!(server.cli(&["PERSIST", key]).trim(), "1");
    }
    way.open().await;
    let gap = gap(&mut follower).await;
    assert_eq!(gap.reason, GapReason::Expired);
    assert_eq!(said(&mut follower).await, "next");
}

#[tokio::test]
async fn a_node_that_falls_out_of_the_feed_loses_nothing() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    // Redis trims no less than a node of 100 entries.
    let settings = || RedisLog::builder().feed_events(1).window_events(10).window_bytes(1 << 20);
    let (log, other) =
        (connect(settings(), &way.url()).await, connect(settings(), &server.url()).await);
    let names: Vec<String> = (0..600).map(|n| format!("t.{n}")).collect();
    let mut live: Vec<_> = names.iter().map(|name| follow(&log, &[name], Start::Live)).collect();
    let mut both = follow(&log, &["t.0", "t.599"], Start::Live);
    for (name, follower) in names.iter().zip(&mut live) {
        append(&other, name, "before").await;
        assert_eq!(said(follower).await, "before");
    }
    assert_eq!(all(&mut both, 2).await, ["before", "before"]);
    way.close().await;
    for n in 0..50 {
        append(&other, if n % 3 == 0 { "t.0" } else { "t.599" }, &n.to_string()).await;
    }
    for n in 0..1_000 {
        append(&other, "another", &n.to_string()).await;
    }
    way.open().await;
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut both, 50).await, expected);
    assert_eq!(all(&mut live[599], 33).await.last().unwrap(), "49");
    for (name, follower) in names.iter().zip(&mut live).skip(1).take(100) {
        append(&other, name, "after").await;
        assert_eq!(said(follower).await, "after", "{name}");
    }
}

/// The server comes back with a copy from before the last events.
#[tokio::test]
async fn what_a_server_forgot_that_was_set_back_is_a_gap_for_those_that_lack_it() {
    let mut server = Server::durable().await;
    let log = log(&server.url()).await;
    let mut live = follow(&log, &["t", "u"], Start::Live);
    let first = append(&log, "t", "1").await;
    append(&log, "u", "1").await;
    assert_eq!(all(&mut live, 2).await, ["1", "1"]);
    let copy = server.copy();
    let forgotten = append(&log, "t", "2").await;
    append(&log, "t", "3").await;
    assert_eq!(all(&mut live, 2).await, ["2", "3"]);
    server.kill();
    server.set_back(&copy);
    server.restart().await;
    let last = loop {
        // It may not know yet that its connection is lost.
        if let Ok(id) = log.append(&topic("t"), data("4")).await {
            break id;
        }
    };
    assert!(sequence(&last) > sequence(&forgotten));
    // It was there all the time, and so was its node.
    assert_eq!(said(&mut live).await, "4");
    assert_eq!(
        all(&mut follow(&log, &["t"], Start::After(first.clone())), 3).await,
        ["2", "3", "4"]
    );
    let other = connect(RedisLog::builder(), &server.url()).await;
    for place in [first, forgotten] {
        let mut behind = follow(&other, &["t"], Start::After(place));
        assert_eq!(gap(&mut behind).await.reason, GapReason::Expired);
        assert_eq!(said(&mut behind).await, "4");
    }
    nothing(&mut follow(&other, &["t"], Start::After(last))).await;
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

/// Its topic is not known to have had no event before, and the first one leaves the window.
#[tokio::test]
async fn a_live_follower_of_a_new_log_with_a_small_window_gets_no_gap() {
    let server = Server::start().await;
    let log =
        connect(RedisLog::builder().window_events(7).window_bytes(1 << 20), &server.url()).await;
    let mut follower = follow(&log, &["t"], Start::Live);
    // It reads nothing before the window is full.
    nothing(&mut follower).await;
    append_all(&log, "t", 0..50).await;
    let mut watches = follow(&log, &["t"], Start::Earliest);
    let expected: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut watches, 50).await, expected);
    assert_eq!(all(&mut follower, 50).await, expected);
}

/// A user that may use the feed and some of the topics.
#[tokio::test]
async fn topics_that_may_not_be_read_are_asked_for_once_and_delay_no_topic() {
    let server = Server::start().await;
    let own = log(&server.url()).await;
    let mut way = Way::to(&server).await;
    let key = |name: &str| format!("~{{tower-sse}}:{name}");
    let keys = ["head", "least", "epoch", "lost", "feed", "topic:ok.*", "last:ok.*"].map(key);
    let mut user = vec!["ACL", "SETUSER", "some", "on", ">secret", "+@all"];
    user.extend(keys.iter().map(String::as_str));
    assert_eq!(server.cli(&user).trim(), "OK");
    let log = log(&way.url().replace("://", "://some:secret@")).await;
    let names: Vec<_> = (0..40).map(|n| format!("no.{n}")).collect();
    for name in &names {
        append(&own, name, "old").await;
    }
    let first = append(&own, "ok.1", "1").await;
    let refused = || {
        let stats = server.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_evalsha:"));
        let count =
            line.and_then(|line| line.split_once("rejected_calls=")).expect("it is counted");
        count.1.split(',').next().unwrap().parse::<usize>().unwrap()
    };
    let before = refused();
    let mut forbidden: Vec<_> =
        names.iter().map(|name| follow(&log, &[name], Start::Earliest)).collect();
    assert_eq!(said(&mut follow(&log, &["ok.1"], Start::Earliest)).await, "1");
    join_all(forbidden.iter_mut().map(nothing)).await;
    assert_eq!(refused() - before, 40);
    // A publisher is told.
    let told = log.append(&topic("no.1"), data("no")).await;
    assert!(matches!(told, Err(BrokerError::Refused(_))), "{told:?}");
    // What is in the feed comes, and what is not is told of.
    let text = "long ".repeat(200);
    for (data, comes) in [("2", "2"), (&text, "gap"), ("3", "3")] {
        append(&own, "no.1", data).await;
        assert_eq!(said(&mut forbidden[1]).await, comes);
    }
    assert_eq!(all(&mut follow(&log, &["no.1"], after(&first)), 1).await, ["gap"]);
    assert_eq!(all(&mut follow(&log, &[">"], after(&first)), 3).await, ["2", "gap", "3"]);
    // They are left out of the last events.
    let last = log.last(&topics(&["no.1", "ok.1", "no.2"]), 5).await.unwrap();
    assert_eq!(last.iter().map(|event| data_of(event.bytes())).collect::<Vec<_>>(), ["1"]);
    assert!(log.last(&topic("no.1").into(), 5).await.unwrap().is_empty());
    // A node that was away for long asks for the last event of each topic.
    let mut ok = follow(&log, &["ok.1"], Start::Live);
    nothing(&mut ok).await;
    way.close().await;
    append(&own, "ok.1", "4").await;
    append(&own, "no.1", "4").await;
    server.cli(&["DEL", "{tower-sse}:feed"]);
    append(&own, "other", "x").await;
    way.open().await;
    assert_eq!(said(&mut ok).await, "4");
    assert_eq!(said(&mut forbidden[1]).await, "gap");
    append(&own, "no.1", "5").await;
    assert_eq!(said(&mut forbidden[1]).await, "5");
}

/// More than a node loads at the same time. A request that is repeated in vain would hold a place.
#[tokio::test]
async fn keys_of_another_type_are_asked_for_once_and_delay_no_topic() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    let first = append(&log, "t", "1").await;
    let text = "x".repeat(1_000);
    append(&log, "f.0", &text).await;
    let names: Vec<_> = (0..40).map(|n| format!("f.{n}")).collect();
    let key = |name: &str| format!("{{tower-sse}}:topic:{name}");
    for name in &names {
        server.cli(&["SET", &key(name), "x"]);
    }
    let foreign = names.iter().map(|name| follow(&log, &[name], Start::Earliest));
    let mut foreign: Vec<_> = foreign.collect();
    assert_eq!(said(&mut follow(&log, &["t"], Start::Earliest)).await, "1");
    // A pattern gets what is in the feed, and is told that the long event is gone.
    append(&log, "t", "2").await;
    assert_eq!(all(&mut follow(&log, &[">"], after(&first)), 2).await, ["gap", "2"]);
    join_all(foreign.iter_mut().skip(1).map(nothing)).await;
    let stats = server.cli(&["INFO", "commandstats"]);
    let loads = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xrevrange:calls="));
    assert_eq!(loads.and_then(|it| it.split(',').next()), Some("41"), "{stats}");
    // A publisher is told, and the topic goes on when the key is gone.
    let refused = log.append(&topic("f.1"), data("no")).await;
    assert!(matches!(refused, Err(BrokerError::Refused(_))), "{refused:?}");
    server.cli(&["DEL", &key("f.1")]);
    append(&log, "f.1", "yes").await;
    assert_eq!(said(&mut foreign[1]).await, "yes");
}
