//! Numbers that are published and read over two nodes, while another server takes over.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, Follow, Start, Step};

use crate::harness::LONG;
use crate::harness::broker::{follow, step};
use crate::harness::topics::{data, data_of, topic};

/// How often a test lets a server take over: once, or as often as `ROUNDS` says.
pub fn rounds() -> u32 {
    std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().unwrap())
}

/// A publisher of one node, and what reads at that node and at another one.
#[derive(Debug)]
pub struct Load {
    over: Arc<AtomicBool>,
    count: Arc<AtomicU32>,
    publisher: JoinHandle<Vec<u32>>,
    readers: Vec<JoinHandle<Numbers>>,
}

/// Numbers as they came, and those that came after a gap.
#[derive(Debug)]
pub struct Numbers {
    read: Vec<u32>,
    after_gaps: BTreeSet<u32>,
}

/// What was published and read.
#[derive(Debug)]
pub struct Outcome {
    acknowledged: Vec<u32>,
    readers: Vec<Numbers>,
}

impl Load {
    /// Publishes numbers to the topic `t` over one node, after an event that is there.
    pub fn start<L>(one: &L, two: &L, first: &EventId) -> Self
    where
        L: EventLog<Follower: Unpin> + Clone,
    {
        let after = || Start::After(first.clone());
        let live = [
            follow(one, &["t"], after()),
            follow(two, &["t", "u"], after()),
            follow(two, &["*"], after()),
        ];
        let readers = live.into_iter().map(|it| tokio::spawn(read(it))).collect();
        let (over, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let publisher = publish(one.clone(), Arc::clone(&over), Arc::clone(&count));
        Self { over, count, publisher: tokio::spawn(publisher), readers }
    }

    /// Waits until so many more are acknowledged.
    pub async fn goes_on(&self, by: u32) {
        let to = self.count.load(Ordering::Relaxed) + by;
        let goes_on = async {
            while self.count.load(Ordering::Relaxed) < to {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, goes_on).await.expect("it goes on");
    }

    /// Ends it, and also reads all of it with a follower that comes back to a node.
    pub async fn end<L>(self, node: &L, first: &EventId) -> Outcome
    where
        L: EventLog<Follower: Unpin>,
    {
        self.over.store(true, Ordering::Relaxed);
        let acknowledged = timeout(LONG, self.publisher).await.expect("it ends").unwrap();
        let mut readers = vec![read(follow(node, &["t"], Start::After(first.clone()))).await];
        for reader in self.readers {
            readers.push(timeout(LONG, reader).await.expect("it comes to the end").unwrap());
        }
        Outcome { acknowledged, readers }
    }
}

impl Outcome {
    /// Each number comes once and in order, or a gap before a later one.
    pub fn is_lost_only_with_a_gap(&self) {
        for Numbers { read, after_gaps } in &self.readers {
            assert!(read.is_sorted_by(|a, b| a < b), "in order, and none twice");
            let mut all_lost = 0;
            for lost in self.acknowledged.iter().filter(|n| read.binary_search(n).is_err()) {
                let next = read.iter().find(|n| *n > lost).copied().unwrap_or(END);
                assert!(after_gaps.contains(&next), "{lost} is lost without a gap before {next}");
                all_lost += 1;
            }
            println!("{} read, {all_lost} lost, {} gaps", read.len(), after_gaps.len());
        }
    }

    /// Each number that was acknowledged comes once and in order, and there is no gap.
    pub fn is_whole(&self) {
        self.is_lost_only_with_a_gap();
        let gaps = self.readers.iter().flat_map(|numbers| &numbers.after_gaps);
        assert_eq!(gaps.count(), 0, "nothing was lost");
    }
}

/// Publishes until it is over, and then the event `end`.
async fn publish<L: EventLog>(log: L, over: Arc<AtomicBool>, count: Arc<AtomicU32>) -> Vec<u32> {
    let (mut acknowledged, mut n) = (Vec::new(), 0);
    while !over.load(Ordering::Relaxed) {
        match log.append(&topic("t"), data(n.to_string())).await {
            Ok(_) => {
                acknowledged.push(n);
                count.fetch_add(1, Ordering::Relaxed);
            }
            // It may be there or not; the next number is another event.
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
        n += 1;
    }
    while log.append(&topic("t"), data("end")).await.is_err() {}
    acknowledged
}

/// Reads numbers to the event `end`.
async fn read<F: Follow + Unpin>(mut follower: F) -> Numbers {
    let (mut read, mut after_gaps, mut was_gap) = (Vec::new(), BTreeSet::new(), false);
    loop {
        match step(&mut follower).await {
            Step::Event(event) => {
                let number = data_of(event.bytes()).parse();
                if std::mem::take(&mut was_gap) {
                    after_gaps.insert(*number.as_ref().unwrap_or(&END));
                }
                match number {
                    Ok(number) => read.push(number),
                    Err(_) => return Numbers { read, after_gaps },
                }
            }
            _ => was_gap = true,
        }
    }
}

/// The event `end`, as a number.
const END: u32 = u32::MAX;
