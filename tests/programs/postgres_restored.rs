//! A server that is set back to an earlier copy of what it stored begins another epoch, if a node
//! knows of an event that it lost. So who has seen one is told of a gap.

use std::collections::BTreeSet;

use tokio::time::timeout;
use tower_sse::event_log::{EventLog, GapReason, PostgresLog, Start};

use crate::harness::nats::rounds;
use crate::harness::postgres::{
    LONG, Server, after, all, append, append_soon, connect, follow, gap, is_quiet, log, numbers,
    topics,
};
use crate::harness::set_back::{self, Publisher, check};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_of_a_lost_event_is_a_gap_though_others_were_appended_since() {
    let mut server = Server::start().await;
    let node = log(&server.address()).await;
    let mut kept = Vec::new();
    for text in ["a", "b", "c"] {
        kept.push(append(&node, "t", text).await);
    }
    server.save().await;
    let sets: [&[&str]; 3] = [&["t"], &["t", "u"], &["t", "u.*"]];
    let mut live = sets.map(|set| follow(&node, set, Start::Live));
    let lost = [append_soon(&node, "t", "lost").await, append(&node, "t", "lost").await];
    let place = node.latest(&topics(&["t"])).await.unwrap();
    for follower in &mut live {
        assert_eq!(all(follower, 2).await, ["lost"; 2]);
    }

    server.set_back().await;
    // This one does not know what was lost, and comes first.
    let other = log(&server.address()).await;
    let mut new = Vec::new();
    for text in ["d", "e"] {
        new.push(append(&other, "t", text).await);
    }
    new.push(append_soon(&node, "t", "f").await);
    let all_of_it = ["a", "b", "c", "d", "e", "f"];
    for follower in &mut live {
        let told = gap(follower).await;
        assert_eq!((told.requested.as_ref(), told.reason), (Some(&lost[1]), GapReason::Restarted));
        assert_eq!(all(follower, 6).await, all_of_it);
    }
    let small =
        connect(PostgresLog::builder().window_events(1).window_bytes(1 << 20), &server.address())
            .await;
    for log in [&node, &other, &small] {
        for set in sets {
            for id in [&lost[0], &lost[1], &place, &kept[2]] {
                let mut back = follow(log, set, after(id));
                assert_eq!(gap(&mut back).await.reason, GapReason::Restarted, "{id} {set:?}");
                assert_eq!(all(&mut back, 6).await, all_of_it);
                assert!(is_quiet(&mut back).await);
            }
            assert!(is_quiet(&mut follow(log, set, after(&new[2]))).await, "the epoch of now");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_set_back_under_load_loses_nothing_without_a_gap() {
    let mut server = Server::start().await;
    let keeps = || PostgresLog::builder().events(100_000);
    let (a, b) =
        (connect(keeps(), &server.address()).await, connect(keeps(), &server.address()).await);
    let small = connect(keeps().window_events(4).window_bytes(1 << 20), &server.address()).await;
    let publisher = Publisher::start(a.clone());
    let clients = set_back::clients(&a, &b, small);
    // By round: what was there, and is not any more.
    let mut lost: Vec<BTreeSet<usize>> = Vec::new();
    for _ in 0..rounds() {
        publisher.publish_for(40).await;
        server.save().await;
        publisher.publish_for(60).await;
        server.set_back().await;
        let is_there = numbers(&server);
        let is_new = |n: &usize| !is_there.contains(n) && !lost.iter().any(|it| it.contains(n));
        let lost_now = publisher.appended().into_iter().filter(is_new).collect();
        lost.push(lost_now);
    }
    publisher.publish_for(40).await;
    append_soon(&b, "t", "end").await;
    let appended = publisher.appended();
    for (n, client) in clients.into_iter().enumerate() {
        let items = timeout(LONG, client).await.expect("each client reaches the end").unwrap();
        check(n, &items, &appended, &lost);
    }
}

#[tokio::test]
async fn a_log_that_was_restored_from_a_dump_is_another_log() {
    let server = Server::start().await;
    let first = log(&server.address()).await;
    let kept = append(&first, "t", "kept").await;
    // As a dump restores it: the same rows in new tables.
    for table in ["log", "events", "topics"] {
        server.sql(&format!("CREATE TABLE saved_{table} AS TABLE tower_sse_{table}"));
    }
    let lost = append(&first, "t", "lost").await;
    // Nobody is left that knows of it.
    drop(first);
    server.sql("DROP TABLE tower_sse_log, tower_sse_events, tower_sse_topics");
    let schema = PostgresLog::builder().schema().unwrap();
    server.sql(&format!("{schema}; TRUNCATE tower_sse_log"));
    for table in ["log", "events", "topics"] {
        server.sql(&format!("INSERT INTO tower_sse_{table} SELECT * FROM saved_{table}"));
    }
    let second = log(&server.address()).await;
    append(&second, "t", "new").await;
    for id in [&kept, &lost] {
        let mut back = follow(&second, &["t"], after(id));
        assert_eq!(gap(&mut back).await.reason, GapReason::Restarted, "{id}");
        assert_eq!(all(&mut back, 2).await, ["kept", "new"]);
    }
}

#[tokio::test]
async fn a_log_whose_tables_were_emptied_is_another_log() {
    let server = Server::start().await;
    for table in ["tower_sse_log", "tower_sse_events"] {
        let log = log(&server.address()).await;
        let mut live = follow(&log, &["t"], Start::Live);
        append(&log, "t", "1").await;
        assert_eq!(all(&mut live, 1).await, ["1"]);
        server.sql(&format!("TRUNCATE {table}"));
        assert_eq!(gap(&mut live).await.reason, GapReason::Restarted, "{table}");
        append_soon(&log, "t", "2").await;
        while all(&mut live, 1).await != ["2"] {}
    }
}
