//! What an append reads in PostgreSQL: rows of its own topic, however many there are of others.

use tower_sse::event_log::PostgresLog;

use crate::harness::postgres::{Server, append, connect};

/// Two topics have nearly all events, so a planner takes any topic for one that is often met.
#[tokio::test]
async fn an_append_to_a_topic_that_is_new_reads_no_events_of_others() {
    let server = Server::start().await;
    drop(connect(PostgresLog::builder(), &server.address()).await);
    server.sql(
        "SELECT count(*) FROM (
            SELECT tower_sse_append(
                ARRAY[CASE WHEN n % 10 = 0 THEN 'others' ELSE 't' END],
                ARRAY[convert_to(E'data: ' || repeat('x', 500) || E'\n\n', 'UTF8')],
                100000, 86400000000
            ) FROM generate_series(1, 10000) n
        ) appended",
    );
    server.sql("VACUUM ANALYZE tower_sse_events");
    let before = server.rows_read().await;
    let log = connect(PostgresLog::builder(), &server.address()).await;
    // More than after which a server plans for any topic, and not for each.
    for n in 0..APPENDS {
        append(&log, &format!("new.{n}"), "x").await;
    }
    drop(log);
    let rows = server.rows_read().await - before;
    println!("{rows} rows are read for {APPENDS} appends");
    assert!(rows < 10 * APPENDS, "{rows} rows are read for {APPENDS} appends");
}

const APPENDS: u32 = 50;
