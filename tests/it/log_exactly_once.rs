//! A client that comes back gets what it missed, exactly once and in order, whenever it was cut
//! off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

use tower_sse::event_log::{MemoryLog, Start, Topics};
use tower_sse::wire::Decoder;
use tower_sse::{Event, EventName, Hub};

use crate::harness::hub::{chunk, data, topic};

const RECONNECTS: usize = 1_000;

/// How far the publishers may be ahead of the client, so that the window can hold it.
const AHEAD: usize = 20_000;

#[test]
fn a_thousand_reconnects_lose_and_repeat_nothing() {
    reconnect(&["orders"], &["orders"]);
}

#[test]
fn a_thousand_reconnects_over_several_topics_lose_and_repeat_nothing() {
    reconnect(&["a", "b", "c.1"], &["a", "b", "c.1"]);
}

#[test]
fn a_thousand_reconnects_over_patterns_lose_and_repeat_nothing() {
    reconnect(&["a", "b.1", "b.2"], &["a", "b.*"]);
}

/// One publisher a topic, each at full speed, and a client that is cut off again and again.
fn reconnect(published: &[&'static str], followed: &[&str]) {
    let log = MemoryLog::builder().events(10 * AHEAD).bytes(1 << 30).build().unwrap();
    let hub = Hub::new(log);
    let followed = Topics::new(followed).unwrap();
    let (over, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    // The client has been there before the first event, or it would have no place.
    let place = futures_util::FutureExt::now_or_never(hub.latest(followed.clone()));
    let place = place.unwrap().unwrap();
    let publishers: Vec<_> = published
        .iter()
        .map(|name| {
            let (hub, topic) = (hub.clone(), topic(name));
            let (over, seen, count) = (Arc::clone(&over), Arc::clone(&seen), published.len());
            thread::spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    if n * count > seen.load(Ordering::Relaxed) + AHEAD {
                        thread::yield_now();
                        continue;
                    }
                    hub.publish_blocking(&topic, event(topic.as_ref(), n)).unwrap();
                    n += 1;
                }
                n
            })
        })
        .collect();

    let mut client = Client { last: place.to_string(), next: vec![0; published.len()] };
    let mut random = 7_u64;
    for _ in 0..RECONNECTS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let budget = usize::try_from(random >> 33).unwrap() % 3_000;
        client.connect(&hub, &followed, published, Some(budget));
        seen.store(client.next.iter().sum(), Ordering::Relaxed);
    }
    over.store(true, Ordering::Relaxed);
    let counts: Vec<usize> = publishers.into_iter().map(|it| it.join().unwrap()).collect();
    client.connect(&hub, &followed, published, None);
    assert_eq!(client.next, counts);
    assert!(counts.iter().sum::<usize>() > RECONNECTS, "{counts:?}");
}

/// Lines of different lengths, so that cuts fall everywhere.
fn event(topic: &str, n: usize) -> Event {
    let pad = "é\n".repeat(n % 5);
    data(format!("{topic} {n}\n{pad}")).event(EventName::from_static("tick"))
}

struct Client {
    last: String,
    /// What is to come next of each topic.
    next: Vec<usize>,
}

impl Client {
    /// Reads so many bytes, or all that there is, and goes in the middle of whatever that is.
    fn connect(&mut self, hub: &Hub, topics: &Topics, published: &[&str], budget: Option<usize>) {
        let start = Start::requested(&self.last);
        let mut body = hub.subscribe(topics.clone()).start(start).into_body();
        let (mut decoder, mut left) = (Decoder::new(), budget.unwrap_or(usize::MAX));
        while left > 0 {
            let bytes = match chunk(&mut body) {
                Poll::Ready(bytes) => bytes.expect("it does not end"),
                Poll::Pending if budget.is_none() => return,
                Poll::Pending => {
                    thread::yield_now();
                    continue;
                }
            };
            let cut = bytes.len().min(left);
            left -= cut;
            for event in decoder.decode(&bytes[..cut]) {
                assert_eq!(event.event, "tick", "{event:?}");
                let (topic, rest) = event.data.split_once(' ').unwrap();
                let at = published.iter().position(|it| *it == topic).unwrap();
                assert_eq!(rest.lines().next(), Some(&*self.next[at].to_string()), "{topic}");
                self.next[at] += 1;
                self.last = event.last_event_id;
            }
        }
    }
}
