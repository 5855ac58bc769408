//! A client that comes back gets what it missed from Redis, exactly once and in order, on whichever
//! node it lands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::timeout;
use tower_sse::event_log::{EventLog, RedisLog, Start};
use tower_sse::wire::Decoder;
use tower_sse::{Event, Hub};

use crate::harness::redis;
use crate::harness::redis::{Server, connect, follow, log, topic, topics};

const RECONNECTS: u32 = 1_000;

/// How far publishers may be ahead of the client: behind it Redis trims.
const AHEAD: u32 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_to_two_nodes_lose_and_repeat_nothing() {
    reconnect(&["orders"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_over_several_topics_lose_and_repeat_nothing() {
    reconnect(&["a", "b", "c.1"]).await;
}

/// A publisher a topic, each at full speed, and a client that is cut off again and again.
async fn reconnect(names: &[&'static str]) {
    let server = Server::start().await;
    // A small window, so that many of the reads go to Redis.
    let settings = || RedisLog::builder().events(3 * AHEAD as usize).window(64, 1 << 20);
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Hub::new(connect(settings(), &server.url()).await));
    }
    let followed = topics(names);
    let place = nodes[0].latest(followed.clone()).await.unwrap();
    let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let publishers: Vec<_> = names
        .iter()
        .map(|&name| {
            let (hub, over, seen) = (nodes[2].clone(), Arc::clone(&over), Arc::clone(&seen));
            let ahead = AHEAD / u32::try_from(names.len()).unwrap();
            tokio::spawn(async move {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    if n > seen.load(Ordering::Relaxed) + ahead {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        continue;
                    }
                    // Lines of different lengths, so that cuts fall everywhere.
                    let pad = "é\n".repeat(n as usize % 5);
                    let event = Event::new().data(format!("{name} {n}\n{pad}"));
                    hub.publish(&topic(name), event).await.unwrap();
                    n += 1;
                }
                n
            })
        })
        .collect();

    let mut client = Client { last: place.to_string(), next: vec![0; names.len()] };
    let mut random = 7_u64;
    for n in 0..RECONNECTS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let budget = usize::try_from(random >> 33).unwrap() % 800;
        let hub = &nodes[n as usize % 2];
        let start = Start::requested(&client.last);
        let mut body = hub.subscribe(followed.clone()).start(start).into_body();
        let (mut decoder, mut left) = (Decoder::new(), budget);
        while left > 0 {
            let frame = timeout(redis::LONG, body.frame()).await.expect("something comes");
            let bytes = frame.unwrap().unwrap().into_data().unwrap();
            let cut = bytes.len().min(left);
            left -= cut;
            client.take(decoder.decode(&bytes[..cut]), names);
        }
        seen.store(*client.next.iter().min().unwrap(), Ordering::Relaxed);
    }
    over.store(true, Ordering::Relaxed);
    let mut counts = Vec::new();
    for publisher in publishers {
        counts.push(publisher.await.unwrap());
    }
    let start = Start::requested(&client.last);
    let mut body = nodes[0].subscribe(followed).start(start).into_body();
    let mut decoder = Decoder::new();
    while client.next != counts {
        let frame = timeout(redis::LONG, body.frame()).await.expect("all comes");
        let bytes = frame.unwrap().unwrap().into_data().unwrap();
        client.take(decoder.decode(&bytes), names);
    }
    assert!(counts.iter().sum::<u32>() > RECONNECTS, "{counts:?}");
    println!("{counts:?} events");
}

struct Client {
    last: String,
    /// What is to come next of each topic.
    next: Vec<u32>,
}

impl Client {
    fn take(
        &mut self,
        events: impl IntoIterator<Item = tower_sse::wire::MessageEvent>,
        names: &[&str],
    ) {
        for event in events {
            let (name, rest) = event.data.split_once(' ').unwrap_or_else(|| panic!("{event:?}"));
            let at = names.iter().position(|it| *it == name).unwrap();
            assert_eq!(rest.lines().next(), Some(&*self.next[at].to_string()), "{name}");
            self.next[at] += 1;
            // In one order over all topics.
            assert!(sequence(&event.last_event_id) > sequence(&self.last), "{event:?}");
            self.last = event.last_event_id;
        }
    }
}

fn sequence(id: &str) -> u64 {
    // The position that a page begins at ends in a letter.
    id.split_once('-').unwrap().1.trim_end_matches('b').parse().unwrap()
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
