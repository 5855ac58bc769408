//! A replica takes the place of a server: readers and publishers go on there, what it had is
//! neither lost nor there twice, and what it lacked is a gap.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tower_sse::event_log::{BrokerError, EventLog, GapReason, PostgresLog, Start};

use crate::harness::once::{is_done, publish_messages};
use crate::harness::postgres::{
    LONG, Server, Way, address, after, all, append, append_soon, connect, data, follow, gap, hosts,
    is_quiet, log, nothing, numbers, said, topic,
};
use crate::harness::set_back::{self, Item, Publisher, check};
use crate::harness::takeover::rounds;

/// How a replica takes the place of a server.
#[derive(Clone, Copy, Debug)]
enum Failover {
    /// The server crashes, and each commit has waited for the replica so.
    Synchronous(&'static str),
    /// The server crashes, and the replica was cut off some events before.
    Asynchronous,
    /// The server is ended, and the replica gets all before.
    Switchover,
}

/// Has a replica take the place of a server under load, and returns how many events were lost and
/// how many gaps clients were told of.
async fn fail_over(failover: Failover) -> (usize, usize) {
    let mut primary = Server::start().await;
    log(&primary.address()).await;
    let replica = primary.replica().await;
    if let Failover::Synchronous(commit) = failover {
        primary.wait_for_replica(commit).await;
    }
    let address = hosts([&primary, &replica]);
    let keeps = || PostgresLog::builder().events(100_000);
    let (a, b) = (connect(keeps(), &address).await, connect(keeps(), &address).await);
    let small = connect(keeps().window_events(4), &address).await;
    let publisher = Publisher::start(a.clone());
    let clients = set_back::clients(&a, &b, small);
    publisher.publish_for(100).await;
    if let Failover::Asynchronous = failover {
        replica.cut_off().await;
    }
    let take_over = async {
        let before = publisher.appended().len();
        while publisher.appended().len() < before + 100 {
            sleep(Duration::from_millis(1)).await;
        }
        match failover {
            Failover::Switchover => primary.end_by("INT"),
            _ => primary.crash(),
        }
        sleep(Duration::from_millis(300)).await;
        replica.promote();
    };
    tokio::join!(publisher.publish_for(300), take_over);
    let is_there = numbers(&replica);
    append_soon(&b, "t", "end").await;
    let appended = publisher.appended();
    let lost: BTreeSet<_> = appended.iter().filter(|n| !is_there.contains(n)).copied().collect();
    let (count, mut gaps) = (lost.len(), 0);
    let lost = if lost.is_empty() { vec![] } else { vec![lost] };
    for (n, client) in clients.into_iter().enumerate() {
        let items = timeout(LONG, client).await.expect("each client reaches the end").unwrap();
        check(n, &items, &appended, &lost);
        gaps += items.iter().filter(|item| **item == Item::Gap).count();
    }
    println!("{failover:?}: {} appended, {count} lost, {gaps} gaps", appended.len());
    (count, gaps)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_replica_that_has_all_loses_nothing_and_makes_no_gap() {
    let commits = ["on", "remote_apply", "remote_write"].into_iter().cycle();
    for (_, commit) in (0..rounds()).zip(commits) {
        assert_eq!(fail_over(Failover::Synchronous(commit)).await, (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_lacks_is_a_gap_after_a_failover() {
    for _ in 0..rounds() {
        let (lost, gaps) = fail_over(Failover::Asynchronous).await;
        assert!(lost >= 100 && gaps >= 4, "{lost} lost, {gaps} gaps");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchover_to_a_replica_loses_nothing_and_makes_no_gap() {
    for _ in 0..rounds() {
        assert_eq!(fail_over(Failover::Switchover).await, (0, 0));
    }
}

/// The clock of the replica is such that it gives a sequence out again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_gets_the_id_of_a_lost_one_is_not_taken_for_it() {
    let mut primary = Server::start().await;
    let first = log(&primary.address()).await;
    let kept = append(&first, "t", "kept").await;
    let replica = primary.replica().await;
    let mut way = Way::to(&primary).await;
    let node = log(&address(&way.url())).await;
    replica.cut_off().await;
    let mut live = follow(&node, &["t", "u"], Start::Live);
    let lost = [append(&node, "t", "lost").await, append(&node, "t", "lost").await];
    assert_eq!(all(&mut live, 2).await, ["lost"; 2]);
    drop(first);
    way.close().await;
    primary.kill();
    replica.promote();
    let (_, sequence) = lost[1].as_str().split_once('-').unwrap();
    replica.sql(&format!(
        "CREATE OR REPLACE FUNCTION tower_sse_now() RETURNS bigint LANGUAGE sql VOLATILE
        AS 'SELECT {sequence}::bigint'"
    ));
    // It comes first, and does not know what was lost.
    let other = log(&replica.address()).await;
    assert_eq!(append(&other, "u", "new").await, lost[1]);
    way.lead_to(&replica);
    way.open().await;
    append_soon(&node, "t", "newer").await;
    let told = gap(&mut live).await;
    assert_eq!((told.requested.as_ref(), told.reason), (Some(&lost[1]), GapReason::Restarted));
    assert_eq!(all(&mut live, 3).await, ["kept", "new", "newer"]);
    for log in [&node, &other] {
        for id in [&kept, &lost[0], &lost[1]] {
            let mut back = follow(log, &["t"], after(id));
            assert_eq!(gap(&mut back).await.reason, GapReason::Restarted, "{id}");
            assert_eq!(all(&mut back, 2).await, ["kept", "newer"]);
            nothing(&mut back).await;
        }
    }
}

/// The server that it replaces goes on, and so do the other connections of the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_tells_the_server_that_it_reads_from_what_it_knows() {
    let primary = Server::start().await;
    let other = log(&primary.address()).await;
    append(&other, "t", "kept").await;
    let replica = primary.replica().await;
    replica.cut_off().await;
    let mut way = Way::to(&primary).await;
    let node = log(&address(&way.url())).await;
    let of_log = "FROM pg_stat_activity WHERE application_name = 'tower-sse'";
    let for_appends = primary.sql(&format!("SELECT string_agg(pid::text, ',') {of_log}"));
    let mut live = follow(&node, &["t"], Start::Earliest);
    let lost = append(&node, "t", "lost").await;
    assert_eq!(all(&mut live, 2).await, ["kept", "lost"]);
    replica.promote();
    append(&log(&replica.address()).await, "t", "new").await;
    way.lead_to(&replica);
    let others = format!("{of_log} AND pid NOT IN ({for_appends})");
    primary.sql(&format!("SELECT pg_terminate_backend(pid) {others}"));
    let told = gap(&mut live).await;
    assert_eq!((told.requested, told.reason), (Some(lost), GapReason::Restarted));
    assert_eq!(all(&mut live, 2).await, ["kept", "new"]);
}

/// All nodes ended with the server, and nobody knows of the lost event but a client.
#[tokio::test]
async fn an_id_of_a_lost_event_is_a_gap_also_if_no_node_knows_it() {
    let mut primary = Server::start().await;
    let first = log(&primary.address()).await;
    append(&first, "t", "kept").await;
    let replica = primary.replica().await;
    replica.cut_off().await;
    let lost = append(&first, "t", "lost").await;
    drop(first);
    primary.kill();
    replica.promote();
    let node = log(&replica.address()).await;
    let mut back = follow(&node, &["t"], after(&lost));
    assert_eq!(gap(&mut back).await.reason, GapReason::Unknown);
    assert_eq!(said(&mut back).await, "kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_tried_until_they_are_taken_are_there_once_after_a_failover() {
    for _ in 0..rounds() {
        let mut primary = Server::start().await;
        log(&primary.address()).await;
        let replica = primary.replica().await;
        primary.wait_for_replica("on").await;
        let hasty = PostgresLog::builder().append_timeout(Duration::from_millis(500));
        let address = hosts([&primary, &replica]);
        let publisher = hasty.events(100_000).connect(&address).await.unwrap();
        let over = Arc::new(Notify::new());
        let publishing = publish_messages(publisher, "t", Arc::clone(&over));
        sleep(Duration::from_millis(300)).await;
        primary.crash();
        replica.promote();
        sleep(Duration::from_millis(300)).await;
        over.notify_one();
        let count = timeout(LONG, publishing).await.expect("it goes on").unwrap();
        let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
        let mut follower = follow(&log(&replica.address()).await, &["t"], Start::Earliest);
        assert_eq!(all(&mut follower, count).await, expected);
        nothing(&mut follower).await;
        println!("{count} messages");
    }
}

/// As when a name leads to it still, or when the server that was killed comes back as a replica.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_a_replica_publishers_wait_and_then_are_refused() {
    let mut primary = Server::start().await;
    let mut way = Way::to(&primary).await;
    let log = connect(PostgresLog::builder(), &address(&way.url())).await;
    let mut live = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(said(&mut live).await, "1");
    let replica = primary.replica().await;
    way.lead_to(&replica);
    primary.kill();
    // The first one may be lost on the way to the server that was killed.
    let refused = loop {
        match log.append(&topic("t"), data("never")).await {
            Err(BrokerError::Refused(why)) => break why,
            other => assert!(other.is_err(), "{other:?}"),
        }
    };
    assert!(refused.contains("the server is a replica"), "{refused}");
    let ill = async {
        while log.health().is_reading {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, ill).await.expect("it says that it does not read");
    let waiting = tokio::spawn({
        let log = log.clone();
        async move { log.append(&topic("t"), data("2")).await }
    });
    assert!(!waiting.is_finished());
    replica.promote();
    if waiting.await.unwrap().is_err() {
        append_soon(&log, "t", "2").await;
    }
    assert_eq!(said(&mut live).await, "2");
    assert!(is_quiet(&mut live).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_read_only_is_passed_over_if_the_address_asks_for_writes() {
    let (read_only, writable) = (Server::start().await, Server::start().await);
    log(&read_only.address()).await;
    read_only.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    read_only.sql("SELECT pg_reload_conf()");
    let node = log(&hosts([&read_only, &writable])).await;
    append(&node, "t", "1").await;
    assert_eq!(writable.sql("SELECT count(*) FROM tower_sse_events"), "1");
    // Nobody waits for ever if none takes events.
    writable.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    writable.sql("SELECT pg_reload_conf()");
    let refused = async {
        loop {
            if let Err(BrokerError::Refused(why)) = node.append(&topic("t"), data("x")).await {
                return why;
            }
        }
    };
    let refused = timeout(LONG, refused).await.expect("it is refused");
    assert!(refused.contains("does not allow writes"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_one_that_is_there_says_why_none_takes_events() {
    let mut primary = Server::start().await;
    log(&primary.address()).await;
    let replica = primary.replica().await;
    primary.kill();
    for servers in [[&primary, &replica], [&replica, &primary]] {
        let refused = PostgresLog::connect(&hosts(servers)).await.unwrap_err();
        assert!(matches!(refused, BrokerError::Refused(_)), "{refused:?}");
    }
}

/// Its kernel accepts connections, and nobody answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_hides_no_other_host() {
    let primary = Server::start().await;
    log(&primary.address()).await;
    let replica = primary.replica().await;
    let [a, b] = [primary.port, replica.port];
    let url = format!("postgres://postgres@127.0.0.1:{a},127.0.0.1:{b}/postgres");
    let nodes = [
        log(&hosts([&primary, &replica])).await,
        log(&format!("{url}?target_session_attrs=read-write")).await,
        log(&url).await,
    ];
    let mut live = nodes.each_ref().map(|node| follow(node, &["t"], Start::Live));
    append(&nodes[0], "t", "0").await;
    for follower in &mut live {
        assert_eq!(said(follower).await, "0");
    }
    primary.signal_all("STOP");
    replica.promote();
    for (n, node) in nodes.iter().enumerate() {
        is_done(node, "t", &n.to_string(), &n.to_string()).await;
    }
    for follower in &mut live {
        assert_eq!(all(follower, 3).await, ["0", "1", "2"]);
    }
}
