//! A log through PgBouncer: connections that are sessions of their own do, and the log says so if
//! they are not.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_sse::event_log::{LogHealth, PostgresLog};

use crate::harness::postgres::{
    LONG, Server, after, all, append, append_all, connect, follow, is_root,
};
use crate::harness::proxy::{Proxy, Running, Setting};

/// PgBouncer before a server. `MORE` is its `pool_mode`.
const PGBOUNCER: Proxy = Proxy {
    needs: "the package pgbouncer",
    command: "pgbouncer",
    args: &["pgbouncer.ini"],
    env: &[],
    files: &[(
        "pgbouncer.ini",
        "[databases]
postgres = host=127.0.0.1 port=UPSTREAM user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = PORT
unix_socket_dir =
auth_type = any
pool_mode = MORE
",
    )],
};

async fn pooled(server: &Server, pool_mode: &str) -> Running {
    // It refuses to run as root.
    let args = if is_root() { &["-u", "postgres", "pgbouncer.ini"][..] } else { PGBOUNCER.args };
    Proxy { args, ..PGBOUNCER }.start_with(Setting::Stock, server.port, pool_mode).await
}

async fn node(pool: &Running) -> PostgresLog {
    let address = format!("postgres://postgres@127.0.0.1:{}/postgres", pool.port);
    connect(PostgresLog::builder(), &address).await
}

/// What the log says of itself when it reads, or when it does not.
async fn health(log: &PostgresLog, is_reading: bool) -> LogHealth {
    let changed = async {
        while log.health().is_reading != is_reading {
            sleep(Duration::from_millis(10)).await;
        }
        log.health()
    };
    timeout(LONG, changed).await.expect("it says so")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_pool_of_sessions_a_log_is_as_it_is_without() {
    let server = Server::start().await;
    let pool = pooled(&server, "session").await;
    let nodes = [node(&pool).await, node(&pool).await];
    let first = append(&nodes[0], "t", "0").await;
    let mut live = follow(&nodes[1], &["t"], after(&first));
    append_all(&nodes[0], "t", 1..100).await;
    let expected: Vec<_> = (1..100).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut live, 99).await, expected);
    assert_eq!(all(&mut follow(&nodes[0], &["t"], after(&first)), 99).await, expected);
    assert_eq!(health(&nodes[1], true).await.problem, None);
}

/// `LISTEN` is of a session, which a transaction leaves behind in the pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_pool_of_transactions_events_are_late_and_the_log_says_so() {
    let server = Server::start().await;
    for mode in ["transaction", "statement"] {
        let pool = pooled(&server, mode).await;
        let nodes = [node(&pool).await, node(&pool).await];
        let first = append(&nodes[0], mode, "0").await;
        let mut live = follow(&nodes[1], &[mode], after(&first));
        let problem = health(&nodes[1], false).await.problem.unwrap();
        assert!(problem.contains("`NOTIFY` is not heard"), "{problem}");
        assert!(problem.contains("pool_mode = session"), "{problem}");
        append_all(&nodes[0], mode, 1..100).await;
        // None is lost, and requests need no session: no statement is prepared by its name.
        let expected: Vec<_> = (1..100).map(|n| n.to_string()).collect();
        assert_eq!(all(&mut live, 99).await, expected);
        assert_eq!(all(&mut follow(&nodes[0], &[mode], after(&first)), 99).await, expected);
        assert!(!nodes[1].health().is_reading, "as long as it is so");
    }
}
