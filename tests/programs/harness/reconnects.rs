//! A client that is cut off again and again, and lands on one node or another, gets each event once
//! and in order, whatever broker the nodes share.

#![allow(unreachable_pub, reason = "every test that uses this is a crate of its own")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::timeout;
use tower_sse::event_log::{EventLog, Start};
use tower_sse::wire::{Decoder, MessageEvent};
use tower_sse::{Event, Hub};

use crate::harness::LONG;
use crate::harness::topics::{topic, topics};

const RECONNECTS: u32 = 1_000;

/// How far publishers may be ahead of the client: after it the broker trims.
pub const AHEAD: u32 = 3_000;

/// A publisher a topic at the third node, each at full speed, and a client of the other two.
pub async fn a_thousand_reconnects_lose_and_repeat_nothing<L: EventLog<Follower: Unpin>>(
    logs: [L; 3],
    names: &[&'static str],
) {
    let nodes = logs.map(Hub::new);
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
            let frame = timeout(LONG, body.frame()).await.expect("something comes");
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
        let frame = timeout(LONG, body.frame()).await.expect("all comes");
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
    fn take(&mut self, events: impl IntoIterator<Item = MessageEvent>, names: &[&str]) {
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
