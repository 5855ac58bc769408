//! What a node takes of PostgreSQL: connections and bytes.

use tokio::runtime::Runtime;
use tower_sse::event_log::{Follow, Start};

use crate::harness::postgres::{Server, Way, address, all, append, follow, log, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_has_one_connection_three_with_followers_and_a_fourth_for_long_events() {
    let server = Server::start().await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tower-sse'";
    let log = log(&server.address()).await;
    append(&log, "t", "0").await;
    assert_eq!(server.sql(count), "1");
    let mut live = follow(&log, &["t"], Start::Earliest);
    append(&log, "t", "1").await;
    assert_eq!(all(&mut live, 2).await, ["0", "1"]);
    assert_eq!(server.sql(count), "3");
    let text = "x".repeat(1_000);
    append(&log, "t", &text).await;
    assert_eq!(said(&mut live).await, text);
    assert_eq!(server.sql(count), "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_events_are_fetched_if_their_topics_are_followed() {
    let server = Server::start().await;
    let way = Way::to(&server).await;
    let (node, other) = (log(&address(&way.url())).await, log(&server.address()).await);
    let mut live = follow(&node, &["t"], Start::Live);
    // Of `t` to know when those before it were read.
    let mut bytes = async |name, length: usize| {
        append(&other, "t", "begin").await;
        assert_eq!(said(&mut live).await, "begin");
        let (before, long) = (way.bytes(), "x".repeat(length));
        for _ in 0..20 {
            append(&other, name, &long).await;
            if name == "t" {
                assert_eq!(said(&mut live).await, long);
            }
        }
        append(&other, "t", "end").await;
        assert_eq!(said(&mut live).await, "end");
        (way.bytes() - before) / 20
    };
    // With `data: ` and the end of the event this is 512 bytes.
    let (short, long) = (bytes("u", 504).await, bytes("u", 505).await);
    assert!(short > 504 && long < 504, "{short} and {long} bytes of an event of another topic");
    let followed = bytes("t", 20_000).await;
    assert!((20_000..30_000).contains(&followed), "{followed} bytes of one that is followed");
}

#[test]
fn followers_of_a_log_whose_runtime_has_ended_end() {
    let runtime = || Runtime::new().unwrap();
    let (first, second) = (runtime(), runtime());
    let server = second.block_on(Server::start());
    let log = first.block_on(log(&server.address()));
    let mut follower = follow(&log, &["t"], Start::Live);
    drop(first);
    second.block_on(async {
        let end = std::future::poll_fn(|cx| std::pin::Pin::new(&mut follower).poll_next(cx));
        let end = tokio::time::timeout(crate::harness::LONG, end).await;
        assert!(end.expect("it ends").is_none());
    });
}
