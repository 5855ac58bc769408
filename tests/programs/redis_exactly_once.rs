//! A client that comes back gets what it missed from Redis, exactly once and in order, on whichever
//! node it lands.

use tower_sse::event_log::{EventLog, RedisLog, Start};

use crate::harness::reconnects::{AHEAD, a_thousand_reconnects_lose_and_repeat_nothing};
use crate::harness::redis;
use crate::harness::redis::{Server, connect, follow, log, topic, topics};

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
    // A small window, so that many of the reads go to Redis.
    let settings = || RedisLog::builder().events(3 * AHEAD as usize).window(64, 1 << 20);
    let node = async || connect(settings(), &server.url()).await;
    let nodes = [node().await, node().await, node().await];
    a_thousand_reconnects_lose_and_repeat_nothing(nodes, names).await;
}

#[tokio::test]
async fn an_event_has_one_id_on_all_nodes() {
    let server = Server::start().await;
    let (one, two) = (log(&server.url()).await, log(&server.url()).await);
    let mut followers = [follow(&one, &["t"], Start::Live), follow(&two, &["t", "u"], Start::Live)];
    for (log, name, text) in [(&one, "t", "1"), (&two, "u", "2"), (&two, "t", "3")] {
        let id = redis::append(log, name, text).await;
        for follower in &mut followers[usize::from(name == "u")..] {
            let tower_sse::event_log::Step::Event(event) = redis::step(follower).await else {
                panic!("there is no gap");
            };
            assert_eq!(event.id(), id.as_str());
            assert_eq!(event.topic(), &topic(name));
        }
    }
}

#[tokio::test]
async fn a_follower_gets_each_event_from_then_on_wherever_it_is_appended() {
    let server = Server::start().await;
    let (one, two) = (log(&server.url()).await, log(&server.url()).await);
    for n in 0..50 {
        let name = format!("t.{n}");
        redis::append(&one, &name, "before").await;
        // Not polled before the event is there.
        let mut first = follow(&one, &[&name], Start::Live);
        let mut second = follow(&two, &[&name], Start::Live);
        redis::append(&two, &name, "after").await;
        assert_eq!(redis::said(&mut first).await, "after");
        // What was just before, on another node, may come as well.
        let said = redis::said(&mut second).await;
        if said == "before" {
            assert_eq!(redis::said(&mut second).await, "after");
        }
    }
}

#[tokio::test]
async fn pages_that_follow_their_state_miss_nothing() {
    let server = Server::start().await;
    let (one, two) = (log(&server.url()).await, log(&server.url()).await);
    redis::append(&one, "t", "1").await;
    let place = one.latest(&topics(&["t"])).await.unwrap();
    redis::append(&two, "t", "2").await;
    for log in [&one, &two] {
        assert_eq!(redis::said(&mut follow(log, &["t"], Start::After(place.clone()))).await, "2");
    }
}
