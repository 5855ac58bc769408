//! While PostgreSQL is away streams stay open and publishers are told; when it is back nothing is
//! lost that it kept, and nothing comes twice.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tower_sse::Event;
use tower_sse::event_log::{BrokerError, EventLog, PostgresLog, Start};

use crate::harness::postgres::{
    LONG, Server, Way, address, all, append, append_all, connect, follow, log, nothing, said,
    topic, topics,
};

#[tokio::test]
async fn a_partition_loses_nothing_that_postgres_kept() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let (cut_off, other) = (log(&address(&way.url())).await, log(&server.address()).await);
    let mut live = follow(&cut_off, &["t", "u"], Start::Live);
    let mut pattern = follow(&cut_off, &["*"], Start::Live);
    append(&other, "t", "0").await;
    assert_eq!(said(&mut live).await, "0");
    assert_eq!(said(&mut pattern).await, "0");
    for round in 0..3 {
        way.close().await;
        let (mut expected, mut all_of_them) = (Vec::new(), Vec::new());
        // More than are read at once.
        for n in 0..900 {
            let name = if n % 9 == 8 { "v" } else { ["t", "t", "u"][n / 300] };
            let text = format!("{round} {n}");
            append(&other, name, &text).await;
            all_of_them.push(text.clone());
            if name != "v" {
                expected.push(text);
            }
        }
        nothing(&mut live).await;
        way.open().await;
        assert_eq!(all(&mut live, expected.len()).await, expected);
        assert_eq!(all(&mut pattern, 900).await, all_of_them);
        nothing(&mut live).await;
    }
}

#[tokio::test]
async fn what_was_deleted_while_a_node_was_away_is_a_gap() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let settings = || PostgresLog::builder().events(100);
    let cut_off = connect(settings(), &address(&way.url())).await;
    let other = connect(settings(), &server.address()).await;
    let mut live = follow(&cut_off, &["t"], Start::Live);
    let mut over = follow(&cut_off, &["over"], Start::Live);
    for name in ["t", "over"] {
        append(&other, name, "0").await;
    }
    assert_eq!((said(&mut live).await, said(&mut over).await), ("0".into(), "0".into()));
    way.close().await;
    append_all(&other, "t", 1..400).await;
    append(&other, "over", "lost").await;
    // The topic is dropped, as if it had had no event for long.
    server.sql("UPDATE tower_sse_topics SET look_at = 0 WHERE topic = 'over'");
    sleep(Duration::from_millis(10)).await;
    server.sql("SELECT tower_sse_sweep(1)");
    append(&other, "over", "next").await;
    way.open().await;
    assert_eq!(said(&mut live).await, "gap");
    let first: usize = said(&mut live).await.parse().unwrap();
    let expected: Vec<String> = (first + 1..400).map(|n| n.to_string()).collect();
    assert_eq!(all(&mut live, 399 - first).await, expected);
    assert_eq!(all(&mut over, 2).await, ["gap", "next"]);
}

#[tokio::test]
async fn publishers_are_told_at_once_or_after_their_timeout() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let timeout = Duration::from_millis(300);
    let settings = PostgresLog::builder().append_timeout(timeout);
    let log = settings.connect(&address(&way.url())).await.unwrap();
    let publish = async || {
        let began = Instant::now();
        let appended = log.append(&topic("t"), Event::new().data("x")).await;
        (appended, began.elapsed())
    };
    while publish().await.0.is_err() {}
    way.close().await;
    for _ in 0..5 {
        let (appended, took) = publish().await;
        let error = appended.expect_err("PostgreSQL is away");
        let is_told = matches!(error, BrokerError::Away(_) | BrokerError::TimedOut);
        assert!(is_told, "{error:?}");
        assert!(took < 10 * timeout, "{took:?}");
    }
    log.latest(&topics(&["t"])).await.expect_err("PostgreSQL is away");
    way.open().await;
    let back = Instant::now();
    while publish().await.0.is_err() {
        assert!(back.elapsed() < LONG, "it comes back");
    }
    println!("back after {:?}", back.elapsed());
}

#[tokio::test]
async fn an_append_over_a_connection_that_was_closed_while_it_was_idle_is_not_lost() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let mut live = follow(&log, &["t"], Start::Live);
    for n in 0..3 {
        append(&log, "t", &n.to_string()).await;
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = 'tower-sse'",
        );
        sleep(Duration::from_millis(100)).await;
    }
    append(&log, "t", "3").await;
    assert_eq!(all(&mut live, 4).await, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn what_cannot_be_appended_is_refused() {
    let server = Server::start().await;
    let log = connect(PostgresLog::builder().max_event_bytes(64), &server.address()).await;
    let append = async |event| log.append(&topic("t"), event).await;
    assert_eq!(append(Event::new()).await, Err(BrokerError::NoData));
    let too_long = Event::new().data("x".repeat(64));
    assert_eq!(append(too_long).await, Err(BrokerError::TooLong));
    server.sql("ALTER TABLE tower_sse_events ADD CHECK (topic <> 't')");
    let refused = append(Event::new().data("x")).await;
    assert!(matches!(&refused, Err(BrokerError::Refused(_))), "{refused:?}");
    // It is alone to blame, also if others are appended with it.
    let appends = (0..20).map(|n| {
        let (log, name) = (log.clone(), if n % 5 == 0 { "t" } else { "u" });
        tokio::spawn(async move { log.append(&topic(name), Event::new().data("x")).await })
    });
    let appends: Vec<_> = appends.collect();
    for (n, append) in appends.into_iter().enumerate() {
        assert_eq!(append.await.unwrap().is_err(), n % 5 == 0, "{n}");
    }
    assert_eq!(server.sql("SELECT count(*) FROM tower_sse_events"), "16");
}

#[tokio::test]
async fn a_log_that_cannot_be_is_refused_when_it_is_made() {
    let nowhere = PostgresLog::connect("postgres://127.0.0.1:1/x").await;
    assert!(matches!(nowhere, Err(BrokerError::Away(_))), "{nowhere:?}");
    let secret = PostgresLog::connect("http://me:secret@localhost").await.unwrap_err();
    assert!(!format!("{secret:?} {secret}").contains("secret"), "{secret:?}");
    let builder = PostgresLog::builder;
    for wrong in [
        builder().events(0),
        builder().window_events(0).window_bytes(1),
        builder().window_events(1).window_bytes(0),
        builder().max_event_bytes(0),
        builder().idle(Duration::ZERO),
        builder().idle(Duration::MAX),
        builder().append_timeout(Duration::ZERO),
        builder().append_timeout(Duration::MAX),
        builder().name(""),
        builder().name("a;b"),
    ] {
        let refused = wrong.connect("postgres://127.0.0.1:1/x").await;
        assert!(matches!(refused, Err(BrokerError::Setting(_))), "{refused:?}");
    }
}

/// As with a database whose owner makes the tables in a migration.
#[tokio::test]
async fn a_role_that_may_not_make_tables_uses_those_that_are_there() {
    let server = Server::start().await;
    server.sql("CREATE ROLE app LOGIN");
    let app = server.url().replace("://", "://app@") + "/postgres";
    let settings = || PostgresLog::builder().name("public.feed");
    let refused = settings().connect(&app).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    server.sql(&settings().schema().unwrap());
    server.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON feed_log, feed_events, feed_topics, feed_messages TO app");
    let log = settings().connect(&app).await.unwrap();
    let mut live = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(said(&mut live).await, "1");
}

/// It would wait for ever, without a word.
#[tokio::test]
async fn a_log_that_cannot_read_says_since_when_and_why() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    assert!(log.health().is_reading, "there is nothing to read yet");
    let mut follower = follow(&log, &["t"], Start::Live);
    append(&log, "t", "1").await;
    assert_eq!(said(&mut follower).await, "1");
    let changed = async |reads: bool| {
        while log.health().is_reading != reads {
            let _ = log.append(&topic("u"), Event::new().data("x")).await;
            sleep(Duration::from_millis(10)).await;
        }
        log.health()
    };
    server.sql("ALTER TABLE tower_sse_events RENAME COLUMN unsure TO other");
    let ill = tokio::time::timeout(LONG, changed(false)).await.unwrap();
    assert!(ill.problem.as_ref().unwrap().contains("unsure"), "{ill:?}");
    server.sql("ALTER TABLE tower_sse_events RENAME COLUMN other TO unsure");
    let well = tokio::time::timeout(LONG, changed(true)).await.unwrap();
    assert!(well.problem.is_none() && well.since >= ill.since, "{well:?}");
    append(&log, "t", "2").await;
    assert_eq!(said(&mut follower).await, "2");
}

#[tokio::test]
async fn reading_needs_no_writes() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    append_all(&log, "t", 0..10).await;
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.sql("SELECT pg_reload_conf()");
    let refused = async {
        while log.append(&topic("t"), Event::new().data("x")).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, refused).await.unwrap();
    // Of a node that is new, and so are its topics.
    let other = PostgresLog::connect(&server.address()).await.unwrap();
    other.latest(&topics(&["t"])).await.unwrap();
    for log in [&log, &other] {
        assert_eq!(all(&mut follow(log, &["t"], Start::Earliest), 10).await.len(), 10);
        assert_eq!(said(&mut follow(log, &["u"], Start::Unknown)).await, "gap");
    }
}
