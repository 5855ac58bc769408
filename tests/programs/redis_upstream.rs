//! However many follow, Redis sees four connections of a process, and who does not read holds up
//! nobody.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_sse::event_log::{BrokerError, EventLog, Follow, RedisLog, Start};

use crate::harness::redis::{
    LONG, Server, all, append, append_all, connect, count_up, data, follow, log, said, topic,
};

#[tokio::test]
async fn a_thousand_followers_are_one_reader() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    let names: Vec<String> = (0..20).map(|n| format!("t.{n}")).collect();
    let mut followers: Vec<_> =
        (0..1_000).map(|n| follow(&log, &[&names[n % 20]], Start::Live)).collect();
    for name in &names {
        append(&log, name, "x").await;
    }
    let before = executed(&server);
    for follower in &mut followers {
        assert_eq!(said(follower).await, "x");
    }
    let clients = server.cli(&["CLIENT", "LIST"]);
    let readers = clients.lines().filter(|it| it.contains("name=tower-sse-reader")).count();
    assert_eq!(readers, 1, "{clients}");
    // The ones for appends, for what was missed and for what is not in the feed, and the one that
    // asks.
    assert!(clients.lines().count() <= 5, "{clients}");
    let commands = executed(&server) - before;
    assert!(commands < 250, "{commands} for 1,000 followers");
    // The last handle, and followers that are left, take it with them.
    drop((log, followers));
    let gone = async {
        while server.cli(&["CLIENT", "LIST"]).lines().count() > 1 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, gone).await.expect("connections end");
}

/// How many commands Redis has carried out.
fn executed(server: &Server) -> u64 {
    let info = server.cli(&["INFO", "stats"]);
    let count = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    count.unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn a_follower_that_does_not_read_delays_no_other_and_gets_all_that_is_left() {
    let server = Server::start().await;
    let settings = || RedisLog::builder().events(1_500).window_events(100).window_bytes(1 << 20);
    let (one, two) =
        (connect(settings(), &server.url()).await, connect(settings(), &server.url()).await);
    let mut slow = follow(&one, &["t"], Start::Live);
    let mut quick = [follow(&one, &["t"], Start::Live), follow(&two, &["t"], Start::Live)];
    append(&one, "t", "0").await;
    assert_eq!(said(&mut slow).await, "0");
    for follower in &mut quick {
        assert_eq!(said(follower).await, "0");
    }
    for hundred in 0..10 {
        let numbers = hundred * 100 + 1..hundred * 100 + 101;
        append_all(&two, "t", numbers.clone()).await;
        for follower in &mut quick {
            count_up(follower, &mut numbers.start.clone(), numbers.end).await;
        }
    }
    // It fell out of the window long ago, and Redis has it still.
    count_up(&mut slow, &mut 1, 1_001).await;
    // Until Redis has not.
    append_all(&two, "t", 1_001..3_001).await;
    assert_eq!(said(&mut slow).await, "gap");
    let first: u32 = said(&mut slow).await.parse().unwrap();
    assert!((1_300..=1_501).contains(&first), "{first}");
    count_up(&mut slow, &mut (first + 1), 3_001).await;
}

#[tokio::test]
async fn topics_come_and_go_under_the_reader() {
    let server = Server::start().await;
    let (one, two) = (log(&server.url()).await, log(&server.url()).await);
    let mut kept = follow(&one, &["kept"], Start::Live);
    for n in 0..100 {
        let name = format!("t.{n}");
        let mut follower = follow(&one, &[&name, "kept"], Start::Live);
        append(&two, &name, "1").await;
        append(&two, "kept", &n.to_string()).await;
        append(&two, &name, "3").await;
        assert_eq!(all(&mut follower, 3).await, ["1", &n.to_string(), "3"]);
        assert_eq!(said(&mut kept).await, n.to_string());
    }
}

#[test]
fn a_log_whose_runtime_has_ended_ends_its_followers_and_appends_elsewhere() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let (_server, log, mut follower) = first.block_on(async {
        let server = Server::start().await;
        let log = log(&server.url()).await;
        let mut follower = follow(&log, &["t"], Start::Live);
        append(&log, "t", "1").await;
        assert_eq!(said(&mut follower).await, "1");
        (server, log, follower)
    });
    drop(first);
    runtime().block_on(async {
        let next = poll_fn(|cx| Pin::new(&mut follower).poll_next(cx));
        assert!(timeout(LONG, next).await.expect("it ends").is_none());
        let late = poll_fn({
            let mut late = follow(&log, &["u"], Start::Live);
            move |cx| Pin::new(&mut late).poll_next(cx)
        });
        assert!(timeout(LONG, late).await.expect("it ends").is_none());
        let appended = log.append(&topic("t"), data("2")).await;
        assert!(matches!(appended, Ok(_) | Err(BrokerError::Away(_))), "{appended:?}");
        // The connections of the log are made anew here.
        append(&log, "t", "3").await;
    });
}
