//! A client that comes back, now to one node and now to another, gets what it missed from NATS
//! exactly once and in order.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::sync::Notify;
use tokio::time::timeout;
use tower_sse::Hub;
use tower_sse::event_log::{EventLog, Start, Topics};
use tower_sse::wire::Decoder;

use crate::harness::nats;
use crate::harness::nats::{LONG, Nats, append, publish, settings, topics};

const RECONNECTS: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reconnects_to_two_nodes_lose_and_repeat_nothing() {
    for nats in Nats::start_each_version().await {
        a_thousand_reconnects_lose_and_repeat_nothing(&nats).await;
    }
}

async fn a_thousand_reconnects_lose_and_repeat_nothing(nats: &Nats) {
    let publisher = nats.log().await;
    // The client of the second is nearly always behind its window.
    let small = nats.log_with(settings().window_events(4)).await;
    let nodes = [Hub::new(nats.log().await), Hub::new(small)];
    let one = topics(&["orders.eu"]);
    let all = topics(&["orders.*", "nothing"]);
    let place = publisher.latest(&one).await.unwrap();

    let over = Arc::new(Notify::new());
    let publishing = publish(publisher.clone(), "orders.eu", Arc::clone(&over));
    let mut client = Client { last: place.to_string(), next: 0 };
    let mut random = 7_u64;
    for n in 0..RECONNECTS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let budget = usize::try_from(random >> 33).unwrap() % 800;
        let followed = if n % 3 == 0 { &all } else { &one };
        client.connect(&nodes[n / 2 % 2], followed, budget).await;
    }
    over.notify_one();
    let count = publishing.await.unwrap();
    append(&publisher, "orders.eu", "end").await;
    for node in &nodes {
        let mut last = Client { last: client.last.clone(), next: client.next };
        last.connect(node, &one, usize::MAX).await;
        assert_eq!(last.next, count);
    }
    assert!(client.next > RECONNECTS, "{}", client.next);
}

struct Client {
    last: String,
    next: usize,
}

impl Client {
    /// Reads so many bytes, or up to the end, and goes in the middle of whatever that is.
    async fn connect<L: EventLog>(&mut self, hub: &Hub<L>, topics: &Topics, budget: usize)
    where
        L::Follower: Unpin,
    {
        let start = Start::requested(&self.last);
        let mut body = hub.subscribe(topics.clone()).start(start).into_body();
        let (mut decoder, mut left) = (Decoder::new(), budget);
        while left > 0 {
            let frame = timeout(LONG, body.frame()).await.expect("more comes").unwrap().unwrap();
            let bytes = frame.into_data().unwrap();
            let cut = bytes.len().min(left);
            left -= cut;
            for event in decoder.decode(&bytes[..cut]) {
                assert_eq!(event.event, "message", "{event:?}");
                if event.data == "end" {
                    return;
                }
                assert_eq!(event.data, self.next.to_string());
                self.next += 1;
                self.last = event.last_event_id;
            }
        }
    }
}

/// A node reads the stream once, and who was behind leaves nothing at the server.
#[tokio::test]
async fn a_node_has_one_consumer_however_many_follow() {
    let nats = Nats::start().await;
    let (a, b) = (nats.log().await, nats.log_with(settings().window_events(1)).await);
    let first = append(&a, "t.0", "first").await;
    for n in 0..20 {
        // The last one by the other node, which so knows of all before it follows.
        let log = if n < 19 { &a } else { &b };
        append(log, &format!("t.{n}"), "x").await;
    }
    let mut followers = Vec::new();
    for n in 0..1_000 {
        let name = format!("t.{}", n % 20);
        followers.push(a.follow(topics(&[&name]), Start::Live));
        followers.push(b.follow(topics(&["t.>", "u"]), Start::Live));
    }
    let mut behind: Vec<_> =
        (0..40).map(|_| b.follow(topics(&["t.*"]), nats::after(&first))).collect();
    for follower in &mut behind {
        assert_eq!(nats::all(follower, 20).await, vec!["x"; 20]);
    }
    append(&a, "t.7", "now").await;
    for follower in &mut followers[14..=15] {
        assert_eq!(nats::said(follower).await, "now");
    }
    let stream = nats.stream().await;
    let count = async || stream.get_info().await.unwrap().state.consumer_count;
    let settled = timeout(LONG, async {
        while count().await != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(settled.await.is_ok(), "{} consumers", count().await);
    drop((followers, behind, a, b));
}
