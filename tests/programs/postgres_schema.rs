//! The tables of a log: what runs in SQL, which rights are needed, and whose tables are understood.

use std::fs;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_sse::event_log::{BrokerError, EventLog, PostgresLog, Start};

use crate::harness::postgres::{
    LONG, Server, all, append, append_soon, connect, data, follow, log, said, topic,
};

/// The SQL in the documentation of `PostgresLog`, in order.
fn documented() -> [String; 2] {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/event_log/postgres/mod.rs");
    let source = fs::read_to_string(path).unwrap();
    let text: String = source
        .lines()
        .filter_map(|line| line.strip_prefix("///"))
        .fold(String::new(), |text, line| text + line + "\n");
    let blocks = text.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(str::to_owned).collect::<Vec<_>>().try_into().expect("two blocks")
}

#[tokio::test]
async fn the_documented_sql_appends_an_event_with_the_rows_that_it_tells_of() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let mut live = follow(&log, &["orders.*"], Start::Live);
    append(&log, "orders.1", "first").await;
    assert_eq!(said(&mut live).await, "first");
    server.sql("CREATE TABLE orders (id int, state text); INSERT INTO orders VALUES (42, 'new')");
    let [transaction, _] = documented();
    server.sql(&transaction);
    assert_eq!(said(&mut live).await, "12.50");
    assert_eq!(server.sql("SELECT state FROM orders"), "paid");
    // Rolled back, neither is there.
    server.sql(&transaction.replace("COMMIT", "ROLLBACK"));
    append(&log, "orders.1", "last").await;
    assert_eq!(said(&mut live).await, "last");
}

#[tokio::test]
async fn the_documented_rights_are_what_a_role_needs_and_each_that_it_lacks_is_named() {
    let server = Server::start().await;
    server.sql(&PostgresLog::builder().schema().unwrap());
    server.sql("CREATE ROLE the_role LOGIN");
    let address = server.url().replace("://", "://the_role@") + "/postgres";
    let refused = connect_as(&address).await.unwrap_err();
    assert_eq!(
        refused,
        "the log's server refused: ERROR: permission denied for table tower_sse_log"
    );
    let [_, grant] = documented();
    server.sql(&grant);
    let log = connect_as(&address).await.unwrap();
    let mut live = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(said(&mut live).await, "1");
    server.sql("REVOKE INSERT ON tower_sse_events FROM the_role");
    let denied = "ERROR: permission denied for table tower_sse_events";
    let refused = log.append(&topic("t"), data("never")).await.unwrap_err();
    assert_eq!(refused, BrokerError::Refused(denied.into()));
    server.sql("REVOKE SELECT ON tower_sse_events FROM the_role");
    let problem = async {
        loop {
            if let Some(problem) = log.health().problem {
                return problem;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(&*timeout(LONG, problem).await.expect("it says so"), denied);
    server.sql(&grant);
    append_soon(&log, "t", "2").await;
    assert_eq!(said(&mut live).await, "2");
}

async fn connect_as(address: &str) -> Result<PostgresLog, String> {
    PostgresLog::connect(address).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_log_without_tables_that_may_make_none_says_both() {
    let server = Server::start().await;
    server.sql("CREATE ROLE app LOGIN");
    let address = server.url().replace("://", "://app@") + "/postgres";
    let refused = connect_as(&address).await.unwrap_err();
    assert!(refused.contains("no tables of the log"), "{refused}");
    assert!(refused.contains("permission denied for schema public"), "{refused}");
}

#[tokio::test]
async fn tables_of_another_version_are_refused_with_both_versions() {
    let server = Server::start().await;
    let node = log(&server.address()).await;
    let mut live = follow(&node, &["t"], Start::Live);
    append(&node, "t", "1").await;
    assert_eq!(said(&mut live).await, "1");
    server.sql("ALTER TABLE tower_sse_log DROP CONSTRAINT tower_sse_log_version_check");
    for version in [2, 0] {
        server.sql(&format!("UPDATE tower_sse_log SET version = {version}"));
        let refused = connect_as(&server.address()).await.unwrap_err();
        let expected = format!(
            "the log's server refused: the tables of the log have version {version} of the schema, and \
             this version of `tower-sse` needs version 1"
        );
        assert_eq!(refused, expected);
        assert_eq!(server.sql("SELECT version FROM tower_sse_log"), version.to_string());
    }
    // It is asked again by each new connection.
    server.sql("UPDATE tower_sse_log SET version = 1");
    append(&log(&server.address()).await, "t", "2").await;
    assert_eq!(said(&mut live).await, "2");
}

#[tokio::test]
async fn the_script_can_be_run_again_and_changes_nothing() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let mut live = follow(&log, &["t"], Start::Earliest);
    append(&log, "t", "1").await;
    let dump = || server.sql("SELECT l, e FROM tower_sse_log l, tower_sse_events e");
    let before = dump();
    server.sql(&PostgresLog::builder().schema().unwrap());
    assert_eq!(dump(), before);
    append(&log, "t", "2").await;
    assert_eq!(all(&mut live, 2).await, ["1", "2"]);
}

/// Whatever a role or a database has as its default.
#[tokio::test]
async fn a_log_needs_no_defaults_of_the_role() {
    let server = Server::start().await;
    server.sql("ALTER ROLE postgres SET default_transaction_isolation = 'serializable'");
    server.sql("ALTER ROLE postgres SET client_min_messages = 'debug1'");
    let log = connect(PostgresLog::builder(), &server.address()).await;
    let mut live = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(said(&mut live).await, "1");
}

#[tokio::test]
async fn a_node_waits_for_another_one_that_makes_the_tables_longer_than_for_an_append() {
    let server = Server::start().await;
    let makes = server.begin("SELECT pg_advisory_xact_lock(hashtext('tower_sse'))");
    let connect = PostgresLog::builder().append_timeout(Duration::from_secs(1));
    let address = server.address();
    let connecting = tokio::spawn(async move { connect.connect(&address).await });
    sleep(Duration::from_secs(2)).await;
    assert!(!connecting.is_finished());
    makes.commit();
    append(&connecting.await.unwrap().unwrap(), "t", "1").await;
}
