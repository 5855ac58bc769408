//! A replica takes over, as Redis Sentinel decides: what it did not have is a gap, and nothing else
//! is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tower_sse::Event;
use tower_sse::event_log::{EventLog, RedisFollower, RedisLog, Step};

use crate::harness::broker::{Broker, Kind, data_of, topic};
use crate::harness::redis::{LONG, Server, after, append, connect, follow, step};

/// A Sentinel that watches a server.
async fn watch(server: &Server) -> Broker {
    fn command(port: u16, directory: &Path) -> Command {
        std::fs::write(directory.join("sentinel.conf"), "").unwrap();
        let mut command = Command::new("redis-server");
        command.args(["sentinel.conf", "--sentinel", "--port", &port.to_string()]);
        command.args(["--bind", "127.0.0.1"]).current_dir(directory);
        command
    }
    let answers = |port| cli(port, &["PING"]) == "PONG";
    let sentinel = Broker::start(Kind { scheme: "redis", command, answers }).await;
    let port = server.port.to_string();
    for words in [
        &["SENTINEL", "MONITOR", "shop", "127.0.0.1", &port, "1"][..],
        &["SENTINEL", "SET", "shop", "down-after-milliseconds", "500"],
        &["SENTINEL", "SET", "shop", "failover-timeout", "2000"],
    ] {
        assert_eq!(cli(sentinel.port, words), "OK", "{words:?}");
    }
    let knows_replica = async {
        while !cli(sentinel.port, &["SENTINEL", "REPLICAS", "shop"]).contains("127.0.0.1") {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(LONG, knows_replica).await.expect("it finds the replica");
    sentinel
}

fn cli(port: u16, words: &[&str]) -> String {
    let output = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).output();
    let output = output.expect("`redis-cli` is installed");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Reads numbers to the event `end`. Each that was acknowledged comes, or a gap before a later one.
async fn read(mut follower: RedisFollower) -> (Vec<u32>, BTreeSet<u32>) {
    let (mut numbers, mut after_gaps, mut was_gap) = (Vec::new(), BTreeSet::new(), false);
    loop {
        match step(&mut follower).await {
            Step::Event(event) => match data_of(event.bytes()).parse() {
                Ok(number) => {
                    numbers.push(number);
                    if std::mem::take(&mut was_gap) {
                        after_gaps.insert(number);
                    }
                }
                Err(_) => return (numbers, after_gaps),
            },
            _ => was_gap = true,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_by_sentinel_nothing_is_lost_without_a_gap_or_comes_twice() {
    let rounds = std::env::var("ROUNDS").map_or(1, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        let (mut master, replica) = (Server::durable().await, Server::durable().await);
        replica.cli(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        let sentinel = watch(&master).await;
        let settings = || RedisLog::builder().events(1_000_000).sentinel("shop");
        let (one, two) = (
            connect(settings(), &sentinel.url()).await,
            connect(settings(), &sentinel.url()).await,
        );
        let first = append(&one, "t", "begin").await;
        replica.has("t", 1).await;
        let live = [
            follow(&one, &["t"], after(&first)),
            follow(&two, &["t", "u"], after(&first)),
            follow(&two, &["*"], after(&first)),
        ];
        let readers: Vec<_> = live.into_iter().map(|it| tokio::spawn(read(it))).collect();
        let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let publisher = tokio::spawn({
            let (log, over, count) = (one.clone(), Arc::clone(&over), Arc::clone(&count));
            async move {
                let (mut acknowledged, mut n) = (Vec::new(), 0);
                while !over.load(Ordering::Relaxed) {
                    match log.append(&topic("t"), Event::new().data(n.to_string())).await {
                        Ok(_) => {
                            acknowledged.push(n);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => sleep(Duration::from_millis(5)).await,
                    }
                    n += 1;
                }
                while log.append(&topic("t"), Event::new().data("end")).await.is_err() {}
                acknowledged
            }
        });
        let goes_on = async |by: u32| {
            let to = count.load(Ordering::Relaxed) + by;
            while count.load(Ordering::Relaxed) < to {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LONG, goes_on(300)).await.expect("it goes on");
        master.kill();
        timeout(LONG, goes_on(300)).await.expect("it goes on at the replica");
        over.store(true, Ordering::Relaxed);
        let acknowledged = publisher.await.unwrap();
        let back = read(follow(&two, &["t"], after(&first))).await;
        let mut all = vec![back];
        for reader in readers {
            all.push(timeout(LONG, reader).await.expect("it comes to the end").unwrap());
        }
        for (numbers, after_gaps) in all {
            assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and none twice");
            for lost in acknowledged.iter().filter(|n| numbers.binary_search(n).is_err()) {
                let next = numbers.iter().find(|n| *n > lost).expect("the end is later");
                assert!(after_gaps.contains(next), "{lost} is lost without a gap before {next}");
            }
            let lost = acknowledged.len().saturating_sub(numbers.len());
            println!("{round}: {} read, {lost} lost, {} gaps", numbers.len(), after_gaps.len());
        }
    }
}
