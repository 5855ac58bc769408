//! Clients of a broker that is set back, under load, to an earlier copy of what it stored.

#![allow(unreachable_pub, reason = "every test that uses this is a crate of its own")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_sse::event_log::{EventLog, Start, Step, Topics};

use crate::harness::broker::{LONG, data, data_of, step, topic, topics};

/// What a client got.
#[derive(Debug, PartialEq)]
pub enum Item {
    Gap,
    Event(usize),
}

/// Publishes numbers as fast as it can, unless it is paused.
pub struct Publisher {
    appended: Arc<Mutex<Vec<usize>>>,
    goes_on: watch::Sender<bool>,
    idle: watch::Receiver<bool>,
}

impl Publisher {
    pub fn start<L: EventLog>(log: L) -> Self {
        let appended = Arc::new(Mutex::new(Vec::new()));
        let (goes_on, mut may_go_on) = watch::channel(false);
        let (is_idle, idle) = watch::channel(true);
        let own = Arc::clone(&appended);
        tokio::spawn(async move {
            for n in 0.. {
                if !*may_go_on.borrow() {
                    is_idle.send_replace(true);
                    if may_go_on.wait_for(|it| *it).await.is_err() {
                        return;
                    }
                }
                is_idle.send_replace(false);
                let _ = log.append(&topic("u"), data("other")).await;
                match log.append(&topic("t"), data(n.to_string())).await {
                    Ok(_) => own.lock().unwrap().push(n),
                    // Of these nobody knows.
                    Err(_) => sleep(Duration::from_millis(5)).await,
                }
            }
        });
        Self { appended, goes_on, idle }
    }

    pub fn appended(&self) -> Vec<usize> {
        self.appended.lock().unwrap().clone()
    }

    /// Goes on until so many are appended, and a bit longer, and pauses.
    pub async fn publish_for(&self, count: usize) {
        let up_to = self.appended().len() + count;
        self.goes_on.send_replace(true);
        let mut idle = self.idle.clone();
        idle.wait_for(|idle| !*idle).await.unwrap();
        let appends = async {
            while self.appended().len() < up_to {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, appends).await.expect("the broker takes events");
        self.goes_on.send_replace(false);
        idle.wait_for(|idle| *idle).await.unwrap();
    }
}

/// Clients of a topic, of two, of patterns, and one that goes from node to node, the last of which
/// has a small window.
pub fn clients<L: EventLog<Follower: Unpin>>(a: &L, b: &L, small: L) -> [JoinHandle<Vec<Item>>; 4] {
    [
        follow(vec![a.clone()], topics(&["t"]), usize::MAX),
        follow(vec![b.clone()], topics(&["t", "u"]), usize::MAX),
        follow(vec![b.clone()], topics(&["*", "u.>"]), usize::MAX),
        follow(vec![a.clone(), b.clone(), small], topics(&["t"]), 7),
    ]
}

/// Follows up to the end, at one node after the other, for so many items each.
pub fn follow<L: EventLog<Follower: Unpin>>(
    logs: Vec<L>,
    topics: Topics,
    each: usize,
) -> JoinHandle<Vec<Item>> {
    tokio::spawn(async move {
        let (mut items, mut from) = (Vec::new(), Start::Earliest);
        for log in logs.iter().cycle() {
            let mut follower = log.follow(topics.clone(), from.clone());
            for _ in 0..each {
                match step(&mut follower).await {
                    Step::Event(event) => {
                        from = Start::requested(event.id());
                        match &*data_of(event.bytes()) {
                            "other" => {}
                            "end" => return items,
                            number => items.push(Item::Event(number.parse().unwrap())),
                        }
                    }
                    Step::Gap(gap) => {
                        from = Start::After(gap.position);
                        items.push(Item::Gap);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        items
    })
}

/// Between two gaps nothing is missing, nothing is there twice, and all is in order. A client that
/// has seen what was lost in a round is told of it in a gap.
pub fn check(client: usize, items: &[Item], appended: &[usize], lost: &[BTreeSet<usize>]) {
    let number = |item: &Item| match item {
        Item::Event(n) => Some(*n),
        Item::Gap => None,
    };
    let seen: BTreeSet<usize> = items.iter().filter_map(number).collect();
    // What the client cannot know of, since nobody has it, and of what it must be told.
    let (known, unknown): (Vec<_>, Vec<_>) = lost.iter().partition(|lost| !lost.is_disjoint(&seen));
    for (gaps, run) in items.split(|item| *item == Item::Gap).enumerate() {
        let run: Vec<usize> = run.iter().filter_map(number).collect();
        assert!(run.is_sorted_by(|a, b| a < b), "client {client}: twice, or not in order: {run:?}");
        let (Some(first), Some(newest)) = (run.first(), run.last()) else {
            continue;
        };
        for n in appended.iter().filter(|n| *n > first && *n < newest) {
            let told = known.iter().take(gaps).chain(&unknown).any(|lost| lost.contains(n));
            let got = run.binary_search(n).is_ok();
            assert!(got || told, "client {client}: {n} is missing after {gaps} gaps: {run:?}");
        }
    }
    let gaps = items.iter().filter(|item| **item == Item::Gap).count();
    assert!(gaps >= known.len(), "client {client}: {gaps} gaps");
    let expected = appended.iter().rfind(|n| !lost.iter().any(|lost| lost.contains(n)));
    let newest = items.iter().rev().find_map(number);
    assert_eq!(newest.as_ref(), expected, "client {client}: the last one");
}
