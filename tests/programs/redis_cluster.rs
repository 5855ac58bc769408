//! A log in a Redis Cluster finds the server that has its slot, wherever the slot moves: what that
//! server never had is a gap, and nothing else is lost.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tower_sse::event_log::{BrokerError, EventLog, GapReason, RedisLog, Start, contract};

use crate::harness::certificates::Certificates;
use crate::harness::once::{is_done, once, publish_messages};
use crate::harness::ports::free_port;
use crate::harness::redis::{
    LONG, Server, after, all, append, connect, data, follow, gap, log, nothing, said, topic, topics,
};
use crate::harness::redis_cluster::{Cluster, eventually, fail_over, ok};
use crate::harness::takeover::{Load, rounds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_keeps_the_contract_from_any_server_of_a_cluster() {
    let cluster = Cluster::with_replicas().await;
    let check = async |(n, server): (usize, &Server)| {
        // Each prefix is another slot.
        let settings = RedisLog::builder().prefix(format!("log-{n}"));
        contract::check(&connect(settings, &server.url()).await, "wide").await;
    };
    join_all(cluster.servers.iter().enumerate().map(check)).await;
    let seed = cluster.servers[5].url();
    let narrow = RedisLog::builder().prefix("narrow").window_events(2);
    contract::check(&connect(narrow, &seed).await, "narrow").await;
    let few = RedisLog::builder().prefix("few").events(16);
    contract::check_gaps(&connect(few, &seed).await, "t", 16).await;
    contract::check_idempotent(&log(&seed).await, "once").await;
}

/// As with `redis-cli --cluster reshard`: each master has the slot once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_moved_under_load_loses_and_repeats_nothing() {
    let cluster = Cluster::of_masters().await;
    for round in 0..rounds() {
        let settings = || RedisLog::builder().events(1_000_000);
        let [one, two] = [0, 1].map(|server: usize| cluster.servers[server].url());
        let (one, two) = (connect(settings(), &one).await, connect(settings(), &two).await);
        // More keys, so that for a while both servers have some.
        for n in 0..30 {
            append(&one, &format!("round-{round}.{n}"), "x").await;
        }
        let first = append(&one, "t", "begin").await;
        let load = Load::start(&one, &two, &first);
        for _ in 0..3 {
            load.goes_on(200).await;
            cluster.move_slot(cluster.other());
        }
        load.goes_on(200).await;
        load.end(&two, &first).await.is_whole();
    }
}

/// Redis serves a request for several keys at neither server, if some keys never existed: so it is
/// of no use to ask the one that `ASK` names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_slot_is_moved_an_append_waits_and_is_refused_in_the_end() {
    let cluster = Cluster::of_masters().await;
    let hasty = log(&cluster.servers[0].url()).await;
    let patient = RedisLog::builder().append_timeout(LONG);
    let patient = patient.connect(&cluster.servers[0].url()).await.unwrap();
    let first = append(&hasty, "t", "1").await;
    let mut live = follow(&patient, &["t"], after(&first));
    let to = cluster.other();
    let from = cluster.begin_to_move(to);
    let waits = tokio::spawn(async move { append(&patient, "u", "waits").await });
    let (mut moved, mut refused) = (0, 0);
    loop {
        match hasty.append(&topic("t"), data("refused")).await {
            Err(BrokerError::Refused(_)) => refused += 1,
            // The last attempt was on its way, on a machine that is busy.
            other => assert_eq!(other, Err(BrokerError::TimedOut), "{moved} keys"),
        }
        let asked = cluster.servers[to].cli_lines(&[
            "ASKING",
            "EVAL 'return 1' 3 {tower-sse}:head {tower-sse}:lost {tower-sse}:message:m",
        ]);
        assert!(asked.contains("TRYAGAIN"), "{moved} keys: {asked}");
        match cluster.move_keys(from, to, 1) {
            0 => break,
            keys => moved += keys,
        }
    }
    assert!(moved >= 4 && refused > 0, "{moved} keys, {refused} refused");
    assert!(!waits.is_finished());
    // Topics that nobody follows here yet wait, too.
    let read = hasty.read(&topic("t"), Start::Earliest, 10).await;
    assert!(read.is_err(), "{read:?}");
    cluster.end_to_move(from, to);
    let waited = timeout(LONG, waits).await.expect("it is appended").unwrap();
    append(&hasty, "t", "2").await;
    assert_eq!(said(&mut live).await, "2");
    let all_of_it = &mut follow(&hasty, &["t", "u"], Start::Earliest);
    assert_eq!(all(all_of_it, 3).await, ["1", "waits", "2"]);
    nothing(all_of_it).await;
    assert_eq!(all(&mut follow(&hasty, &["t", "u"], after(&waited)), 1).await, ["2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_taken_once_and_in_order_though_their_slot_moves() {
    let cluster = Cluster::of_masters().await;
    let settings = || RedisLog::builder().events(1_000_000);
    let publisher = connect(settings(), &cluster.servers[0].url()).await;
    let reader = connect(settings(), &cluster.servers[1].url()).await;
    let known = once(&publisher, "u", "x", "m").await;
    let mut live = follow(&reader, &["t"], after(&known.id));
    let over = Arc::new(Notify::new());
    let publishing = publish_messages(publisher.clone(), "t", Arc::clone(&over));
    for _ in 0..3 {
        sleep(Duration::from_millis(200)).await;
        cluster.move_slot(cluster.other());
    }
    over.notify_one();
    let count = timeout(LONG, publishing).await.expect("it ends").unwrap();
    let expected: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut live, count).await, expected);
    nothing(&mut live).await;
    let again = is_done(&reader, "u", "x", "m").await;
    assert!(again.is_repeat && again.id == known.id, "its id moved, too: {again:?}");
    println!("{count} messages");
}

/// It has no scripts of the log, and connections still lead to the old server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_finds_the_new_server_of_its_slot_by_itself() {
    let cluster = Cluster::of_masters().await;
    let log = async || log(&cluster.servers[0].url()).await;
    let logs = [log().await, log().await, log().await, log().await, log().await, log().await];
    let first = append(&logs[0], "t", "1").await;
    append(&logs[0], "over", "1").await;
    for log in &logs {
        append(log, "t", "2").await;
        assert!(log.read(&topic("t"), after(&first), 100).await.is_ok());
    }
    let mut reads = follow(&logs[0], &["t"], Start::Live);
    append(&logs[0], "t", "live").await;
    assert_eq!(said(&mut reads).await, "live");
    let to = cluster.other();
    cluster.move_slot(to);
    append(&logs[1], "t", "3").await;
    assert_eq!(said(&mut reads).await, "3", "this node requests nothing but the feed");
    logs[2].forget(&topic("over"), Duration::from_millis(1)).await.unwrap();
    let is_gone = || cluster.servers[to].cli(&["EXISTS", "{tower-sse}:topic:over"]).trim() == "0";
    eventually("the topic is forgotten", is_gone).await;
    assert!(once(&logs[3], "t", "4", "m").await.id > first);
    let latest = logs[4].latest(&topics(&["t"])).await.unwrap();
    append(&logs[1], "t", "5").await;
    assert_eq!(all(&mut follow(&logs[4], &["t"], after(&latest)), 1).await, ["5"]);
    let page = logs[5].read(&topic("t"), after(&first), 100).await.unwrap();
    assert_eq!(page.events.len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_in_a_cluster_nothing_is_lost_without_a_gap_or_comes_twice() {
    for _ in 0..rounds() {
        let mut cluster = Cluster::with_replicas().await;
        cluster.is_patient_for(Duration::from_secs(1));
        let owner = cluster.owner();
        // The only server that it was told of is the one that is killed.
        let of_owner = cluster.servers[owner].url();
        let of_others = format!("redis://127.0.0.1:1,{}", cluster.servers[cluster.other()].url());
        let settings = || RedisLog::builder().events(1_000_000);
        let (one, two) =
            (connect(settings(), &of_owner).await, connect(settings(), &of_others).await);
        let first = append(&one, "t", "begin").await;
        cluster.is_replicated(owner).await;
        let load = Load::start(&one, &two, &first);
        load.goes_on(300).await;
        cluster.servers[owner].kill();
        load.goes_on(300).await;
        load.end(&two, &first).await.is_lost_only_with_a_gap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_did_not_have_is_a_gap_for_those_that_lack_it() {
    let mut cluster = Cluster::with_replicas().await;
    let owner = cluster.owner();
    let log = async || log(&cluster.servers[owner].url()).await;
    let (one, two) = (log().await, log().await);
    let first = append(&one, "t", "1").await;
    cluster.is_replicated(owner).await;
    let mut live = follow(&two, &["t"], after(&first));
    cluster.cut_off_replica(owner);
    append(&one, "t", "2").await;
    assert_eq!(said(&mut live).await, "2");
    cluster.servers[owner].kill();
    ok(cluster.replica_of(owner), &["CLUSTER", "FAILOVER", "TAKEOVER"]);
    // Its connection to the one that was killed may not be known to be lost.
    let third = is_done(&one, "t", "3", "m").await;
    assert_eq!(said(&mut live).await, "3", "it has the one that is lost");
    let other = connect(RedisLog::builder(), &cluster.replica_of(owner).url()).await;
    let mut back = follow(&other, &["t"], after(&first));
    assert_eq!(gap(&mut back).await.reason, GapReason::Expired);
    assert_eq!(said(&mut back).await, "3");
    append(&other, "t", "4").await;
    assert_eq!(said(&mut follow(&other, &["t"], after(&third.id))).await, "4", "and no gap");
}

/// Its connections stay open, and nothing answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_left_for_the_replica_that_takes_over() {
    let cluster = Cluster::with_replicas().await;
    cluster.is_patient_for(Duration::from_secs(1));
    let owner = cluster.owner();
    let url = cluster.servers[owner].url();
    let settings = || RedisLog::builder().events(1_000_000);
    let (one, two) = (connect(settings(), &url).await, connect(settings(), &url).await);
    let first = append(&one, "t", "begin").await;
    cluster.is_replicated(owner).await;
    let load = Load::start(&one, &two, &first);
    load.goes_on(300).await;
    let _hung = cluster.servers[owner].stop();
    load.goes_on(300).await;
    load.end(&two, &first).await.is_lost_only_with_a_gap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_hand_loses_nothing_and_is_no_gap() {
    let cluster = Cluster::with_replicas().await;
    let owner = cluster.owner();
    let settings = || RedisLog::builder().events(1_000_000);
    let seed = cluster.servers[cluster.other()].url();
    let (one, two) = (connect(settings(), &seed).await, connect(settings(), &seed).await);
    let first = append(&one, "t", "begin").await;
    let load = Load::start(&one, &two, &first);
    // There and back.
    for server in [cluster.replica_of(owner), &cluster.servers[owner]] {
        load.goes_on(300).await;
        fail_over(server).await;
    }
    load.goes_on(300).await;
    load.end(&two, &first).await.is_whole();
}

/// It knows no other server any more, and does not hear that its replica took over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_lost_its_cluster_is_left_for_the_one_that_has_the_slot() {
    let cluster = Cluster::with_replicas().await;
    let owner = cluster.owner();
    let log = log(&cluster.servers[owner].url()).await;
    let first = append(&log, "t", "1").await;
    let mut live = follow(&log, &["t"], after(&first));
    cluster.is_replicated(owner).await;
    let replica = cluster.replica_of(owner);
    cluster.forget_all(owner);
    ok(replica, &["CLUSTER", "FAILOVER", "TAKEOVER"]);
    eventually("it takes over", || replica.cli(&["ROLE"]).starts_with("master")).await;
    let refused = cluster.servers[owner].cli(&["GET", "{tower-sse}:none"]);
    assert!(refused.starts_with("CLUSTERDOWN"), "{refused}");
    append(&log, "t", "2").await;
    assert_eq!(said(&mut live).await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_cluster_is_down_appends_are_refused_and_streams_wait() {
    let cluster = Cluster::of_masters().await;
    let hasty = RedisLog::builder().append_timeout(Duration::from_millis(500));
    let log = hasty.connect(&cluster.servers[0].url()).await.unwrap();
    let first = append(&log, "t", "1").await;
    let mut live = follow(&log, &["t"], after(&first));
    let owner = cluster.owner();
    // Nobody has one of the other slots.
    let slot = if owner == 0 { "16383" } else { "0" };
    for server in &cluster.servers {
        ok(server, &["CLUSTER", "DELSLOTS", slot]);
    }
    let is_down = || cluster.servers[owner].cli(&["CLUSTER", "INFO"]).contains("state:fail");
    eventually("the cluster is down", is_down).await;
    let refused = log.append(&topic("t"), data("refused")).await;
    assert!(matches!(&refused, Err(BrokerError::Refused(_))), "{refused:?}");
    ok(&cluster.servers[owner], &["CLUSTER", "ADDSLOTS", slot]);
    eventually("the cluster is up", || !is_down()).await;
    let back = async { while log.append(&topic("t"), data("2")).await.is_err() {} };
    timeout(LONG, back).await.expect("it comes back");
    assert_eq!(said(&mut live).await, "2");
}

#[tokio::test]
async fn the_server_of_the_slot_is_signed_in_to_over_tls_as_the_first_one() {
    let certificates = Certificates::new("redis-cluster");
    let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| certificates.path(name));
    let ports = RefCell::new(Vec::new());
    let _cluster = Cluster::of_masters_that(|server| {
        let port = free_port();
        ports.borrow_mut().push(port);
        let port = &port.to_string();
        let tls = ["tls-cert-file", &cert, "tls-key-file", &key, "tls-ca-cert-file", &ca];
        let own = ["tls-auth-clients", "no", "tls-cluster", "yes", "tls-port", port];
        ok(server, &[&["CONFIG", "SET"], &tls[..], &own[..]].concat());
        ok(server, &["CONFIG", "SET", "cluster-announce-tls-port", port]);
        ok(server, &["ACL", "SETUSER", "ann", "on", ">word", "~*", "&*", "+@all"]);
        ok(server, &["ACL", "SETUSER", "default", "resetkeys"]);
    })
    .await;
    let trusts = std::fs::read(certificates.path("ca.pem")).unwrap();
    for port in ports.into_inner() {
        let settings = RedisLog::builder().root_certificate(trusts.clone());
        let log = connect(settings, &format!("rediss://ann:word@127.0.0.1:{port}")).await;
        let mut live = follow(&log, &["t"], Start::Live);
        is_done(&log, "t", "1", &port.to_string()).await;
        assert_eq!(said(&mut live).await, "1");
        let plain = RedisLog::connect(&format!("rediss://127.0.0.1:{port}")).await;
        assert!(matches!(&plain, Err(BrokerError::Away(_))), "{plain:?}");
    }
}

/// A cluster behind an address that its servers do not know names ports only.
#[tokio::test]
async fn a_server_that_is_named_without_a_host_is_beside_the_one_that_names_it() {
    let cluster = Cluster::of_masters().await;
    for server in &cluster.servers {
        ok(server, &["CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint"]);
    }
    let moved = cluster.servers[cluster.other()].cli(&["GET", "{tower-sse}:none"]);
    assert!(moved.contains(" :"), "{moved}");
    let log = log(&cluster.servers[cluster.other()].url()).await;
    let first = append(&log, "t", "1").await;
    cluster.move_slot(cluster.other());
    append(&log, "t", "2").await;
    assert_eq!(all(&mut follow(&log, &["t"], after(&first)), 1).await, ["2"]);
}

#[tokio::test]
async fn a_server_whose_name_its_cluster_does_not_know_is_found_among_those_of_the_settings() {
    let cluster = Cluster::of_masters().await;
    for server in &cluster.servers {
        ok(server, &["CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname"]);
    }
    let other = &cluster.servers[cluster.other()];
    let moved = other.cli(&["GET", "{tower-sse}:none"]);
    assert!(moved.contains(" ?:"), "{moved}");
    let refused = RedisLog::builder().append_timeout(Duration::from_millis(100));
    let refused = refused.connect(&other.url()).await.unwrap_err();
    assert!(matches!(&refused, BrokerError::Refused(why) if why.contains("?:")), "{refused:?}");
    let seeds: Vec<_> = cluster.servers.iter().map(|server| server.url()).collect();
    let log = log(&seeds.join(",")).await;
    append(&log, "t", "1").await;
    cluster.move_slot(cluster.other());
    append(&log, "t", "2").await;
    assert_eq!(all(&mut follow(&log, &["t"], Start::Earliest), 2).await, ["1", "2"]);
}

/// They would be two logs, and which of them is asked a matter of chance.
#[tokio::test]
async fn several_servers_that_are_no_cluster_are_refused() {
    let (one, two) = (Server::start().await, Server::start().await);
    let refused = RedisLog::connect(&format!("{},{}", one.url(), two.url())).await;
    assert!(matches!(&refused, Err(BrokerError::Refused(_))), "{refused:?}");
    // Alone each is a log, which does not ask again whether it is a cluster.
    let log = log(&one.url()).await;
    let mut live = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(said(&mut live).await, "1");
    let asked = one.cli(&["INFO", "commandstats"]);
    let asked = asked.lines().find(|line| line.starts_with("cmdstat_cluster|slots")).unwrap();
    assert!(asked.contains("rejected_calls=2") || asked.contains("calls=2"), "{asked}");
}

/// A slot that was given away without its keys is an empty log.
#[tokio::test]
async fn a_slot_that_lost_its_keys_is_another_log() {
    let cluster = Cluster::of_masters().await;
    let log = log(&cluster.servers[0].url()).await;
    let first = append(&log, "t", "1").await;
    let mut live = follow(&log, &["t"], after(&first));
    let to = cluster.other();
    let from = cluster.begin_to_move(to);
    cluster.servers[from].cli(&["FLUSHALL"]);
    cluster.end_to_move(from, to);
    append(&log, "t", "2").await;
    assert_eq!(gap(&mut live).await.reason, GapReason::Restarted);
    assert_eq!(said(&mut live).await, "2");
}
