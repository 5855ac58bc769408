//! A client that comes back gets what it missed from PostgreSQL, exactly once and in order, on
//! whichever node it lands.

use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;
use tower_sse::event_log::{BrokerError, EventLog, PostgresLog, Start};

use crate::harness::figures::figure;
use crate::harness::postgres::{
    LONG, Server, after, all, append, append_all, append_soon, connect, data, follow, log, nothing,
    topic,
};
use crate::harness::reconnects::{AHEAD, a_thousand_reconnects_lose_and_repeat_nothing};
use crate::harness::two_nodes;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_to_two_nodes_lose_and_repeat_nothing() {
    reconnect(&["orders"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_over_several_topics_lose_and_repeat_nothing() {
    reconnect(&["a", "b", "c.1"]).await;
}

async fn reconnect(names: &[&'static str]) {
    let server = Server::start().await;
    // A small window, so that many of the reads go to PostgreSQL.
    let settings = || {
        PostgresLog::builder().events(3 * AHEAD as usize).window_events(64).window_bytes(1 << 20)
    };
    let node = async || connect(settings(), &server.address()).await;
    let nodes = [node().await, node().await, node().await];
    a_thousand_reconnects_lose_and_repeat_nothing(nodes, names).await;
}

#[tokio::test]
async fn an_event_has_one_id_on_all_nodes() {
    let server = Server::start().await;
    let nodes = [log(&server.address()).await, log(&server.address()).await];
    two_nodes::an_event_has_one_id_on_all_nodes(nodes).await;
}

#[tokio::test]
async fn a_follower_gets_each_event_from_then_on_wherever_it_is_appended() {
    let server = Server::start().await;
    let nodes = [log(&server.address()).await, log(&server.address()).await];
    two_nodes::a_follower_gets_each_event_from_then_on_wherever_it_is_appended(nodes).await;
}

#[tokio::test]
async fn pages_that_follow_their_state_miss_nothing() {
    let server = Server::start().await;
    let nodes = [log(&server.address()).await, log(&server.address()).await];
    two_nodes::pages_that_follow_their_state_miss_nothing(nodes).await;
}

/// One `psql`, which ends when it has run all.
fn transaction(server: &Server, sql: &str) -> std::process::Child {
    let mut command = Command::new("psql");
    command.args(["-XqAt", "-h", "127.0.0.1", "-U", "postgres", "-p", &server.port.to_string()]);
    command.args(["-v", "ON_ERROR_STOP=1", "-1", "-c", sql]).stdout(Stdio::null());
    command.spawn().expect("`psql` is installed")
}

/// Appends in SQL, as an application does in a transaction of its own.
fn append_in_sql(name: &str, text: &str) -> String {
    format!(
        "SELECT tower_sse_append('{{{name}}}', ARRAY[convert_to(E'data: {text}\\n\\n', 'UTF8')], \
         1024, 86400000000)"
    )
}

/// With numbers of a sequence, which a transaction takes before it commits, one of them would come
/// late or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_committed_late_is_not_passed_over() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let start = append(&log, "t", "0").await;
    let mut live = follow(&log, &["t", "u"], Start::Live);
    nothing(&mut live).await;
    let late = server.begin(&append_in_sql("t", "late"));
    let later = tokio::spawn({
        let log = log.clone();
        async move { append(&log, "u", "later").await }
    });
    nothing(&mut live).await;
    assert!(!later.is_finished(), "it waits for the transaction");
    late.commit();
    later.await.unwrap();
    assert_eq!(all(&mut live, 2).await, ["late", "later"]);
    let mut again = follow(&log, &["t", "u"], after(&start));
    assert_eq!(all(&mut again, 2).await, ["late", "later"]);
}

#[tokio::test]
async fn an_event_of_a_transaction_that_is_rolled_back_never_was() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    append(&log, "t", "0").await;
    let mut live = follow(&log, &["t"], Start::Live);
    nothing(&mut live).await;
    let sql = format!("{}; SELECT 1 / 0", append_in_sql("t", "never"));
    let mut failed = transaction(&server, &sql);
    assert!(!failed.wait().unwrap().success());
    server.sql(&append_in_sql("t", "with rows"));
    append(&log, "t", "2").await;
    assert_eq!(all(&mut live, 2).await, ["with rows", "2"]);
    // Of another level it would read what was there before others appended.
    let sql =
        format!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; {}", append_in_sql("t", "never"));
    assert!(!transaction(&server, &sql).wait().unwrap().success());
    nothing(&mut live).await;
}

#[tokio::test]
async fn an_append_that_waits_too_long_for_the_log_is_not_done_later() {
    let server = Server::start().await;
    let quick = PostgresLog::builder().append_timeout(Duration::from_secs(1));
    let quick = quick.connect(&server.address()).await.unwrap();
    let log = log(&server.address()).await;
    append(&log, "t", "0").await;
    let mut live = follow(&log, &["t"], Start::Live);
    nothing(&mut live).await;
    let holds = server.begin(&append_in_sql("t", "1"));
    let refused = quick.append(&topic("t"), data("too late")).await.unwrap_err();
    let is_told = matches!(refused, BrokerError::Refused(_) | BrokerError::TimedOut);
    assert!(is_told, "{refused:?}");
    // The server gives up at its own time, which a busy machine puts after that of the log.
    sleep(Duration::from_secs(3)).await;
    holds.commit();
    append(&log, "t", "2").await;
    assert_eq!(all(&mut live, 2).await, ["1", "2"]);
}

/// The server hangs, so that the log has to connect anew.
#[tokio::test]
async fn an_append_that_timed_out_before_it_was_sent_is_not_done_later() {
    let server = Server::start().await;
    let quick = PostgresLog::builder().append_timeout(Duration::from_secs(1));
    let quick = quick.connect(&server.address()).await.unwrap();
    let log = log(&server.address()).await;
    append(&log, "t", "1").await;
    let mut live = follow(&log, &["t"], Start::Earliest);
    assert_eq!(all(&mut live, 1).await, ["1"]);
    // An idle connection is asked whether it is there.
    sleep(Duration::from_millis(1_500)).await;
    server.signal_all("STOP");
    let refused = quick.append(&topic("t"), data("too late")).await.unwrap_err();
    assert_eq!(refused, BrokerError::TimedOut);
    // It is given up.
    sleep(Duration::from_millis(1_500)).await;
    server.signal_all("CONT");
    append_soon(&log, "t", "2").await;
    append_soon(&quick, "t", "3").await;
    assert_eq!(all(&mut live, 2).await, ["2", "3"]);
}

#[tokio::test]
async fn a_notify_that_is_lost_delays_an_event_and_loses_none() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    append(&log, "t", "0").await;
    let mut live = follow(&log, &["t"], Start::Live);
    nothing(&mut live).await;
    server.sql(
        "DO $$ BEGIN EXECUTE replace(pg_get_functiondef('tower_sse_append'::regproc),
            'PERFORM pg_notify(''tower_sse'', head::text);', ''); END $$",
    );
    append_all(&log, "t", 1..4).await;
    assert_eq!(all(&mut live, 3).await, ["1", "2", "3"]);
}

/// On one thread, so that all publishers have had their turn before the writer has its next one.
#[tokio::test]
async fn up_to_128_events_that_wait_together_are_appended_in_one_transaction() {
    let server = Server::start().await;
    let patient = PostgresLog::builder().append_timeout(LONG);
    let log = patient.connect(&server.address()).await.unwrap();
    append(&log, "t.0", "x").await;
    let transactions = || -> u32 {
        let xid = server.sql("SELECT pg_snapshot_xmax(pg_current_snapshot())::text");
        xid.parse().unwrap()
    };
    let holds = server.begin("SELECT FROM tower_sse_log FOR UPDATE");
    let before = transactions();
    let appends = (0..COUNT).map(|n| {
        let (log, name) = (log.clone(), format!("t.{}", n % 7));
        tokio::spawn(async move { append(&log, &name, &n.to_string()).await })
    });
    let appends: Vec<_> = appends.collect();
    // The first ones are on their way, and the others wait.
    while server.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0" {
        sleep(Duration::from_millis(1)).await;
    }
    holds.commit();
    let mut ids = Vec::new();
    for append in appends {
        ids.push(append.await.unwrap());
    }
    let used = transactions() - before;
    println!("{COUNT} events in {used} transactions");
    let nodes = |before, after| figure("src/manual/nodes.md", before, after);
    assert_eq!(COUNT.to_string(), nodes("of them: ", " events that wait").to_string());
    let most = nodes("events that wait take at most ", " transactions");
    assert!(f64::from(used) <= most, "{used} transactions");
    ids.sort_unstable_by_key(|id| id.as_str().to_owned());
    ids.dedup();
    assert_eq!(ids.len(), COUNT as usize, "each has an id of its own");
    let names: Vec<String> = (0..7).map(|n| format!("t.{n}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let mut all_of_them = all(&mut follow(&log, &names, Start::Earliest), COUNT as usize + 1).await;
    all_of_them.remove(0);
    all_of_them.sort_unstable_by_key(|n| n.parse::<u32>().unwrap());
    assert_eq!(all_of_them, (0..COUNT).map(|n| n.to_string()).collect::<Vec<_>>());
}

const COUNT: u32 = 2_000;
