//! A server that is set back to an earlier copy of what it stored gives the sequences of the events that
//! it lost to others. Nobody takes the one for the other: who has seen a lost event is told of a gap.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, GapReason, NatsLog, NatsLogError, Start, Step, Topics};

use crate::harness::nats::{
    LONG, Nats, after, all, append, data, data_of, gap, is_quiet, rounds, said, settings, step,
    topic, topics,
};

#[tokio::test]
async fn an_id_of_a_lost_event_is_a_gap_after_another_event_got_its_sequence() {
    for mut nats in Nats::start_each_version().await {
        a_lost_event_is_a_gap(&mut nats).await;
    }
}

async fn a_lost_event_is_a_gap(nats: &mut Nats) {
    let log = nats.log().await;
    let mut kept = Vec::new();
    for text in ["a", "b", "c"] {
        kept.push(append(&log, "t", text).await);
    }
    nats.save().await;
    let sets: [&[&str]; 4] = [&["t"], &["t", "u"], &["t", "u.*"], &["*"]];
    let mut live = sets.map(|set| log.follow(topics(set), Start::Live));
    let lost = [append(&log, "t", "lost").await, append(&log, "t", "lost").await];
    let place = log.latest(&topics(&["t"])).await.unwrap();
    for follower in &mut live {
        assert_eq!(all(follower, 2).await, ["lost"; 2]);
    }

    nats.set_back().await;
    let other = nats.log().await;
    let mut new = Vec::new();
    for text in ["d", "e", "f"] {
        new.push(append(&other, "t", text).await);
    }
    for (lost, new) in lost.iter().zip(&new) {
        let sequence = |id: &EventId| id.as_str().rsplit_once('-').unwrap().0.to_owned();
        assert_eq!(sequence(lost), sequence(new), "the sequences are given anew");
        assert_ne!(lost, new, "and an id names the event");
    }
    let all_of_it = ["a", "b", "c", "d", "e", "f"];
    for follower in &mut live {
        let told = gap(follower).await;
        assert_eq!((told.requested.as_ref(), told.reason), (Some(&lost[1]), GapReason::Restarted));
        assert_eq!(all(follower, 6).await, all_of_it);
    }
    let small = nats.log_with(settings().window_events(1)).await;
    for log in [&log, &other, &small] {
        for set in sets {
            for id in [&lost[0], &lost[1], &place] {
                let mut back = log.follow(topics(set), after(id));
                assert_eq!(gap(&mut back).await.reason, GapReason::Restarted, "{id} {set:?}");
                assert_eq!(all(&mut back, 6).await, all_of_it);
                assert!(is_quiet(&mut back).await);
            }
            let mut back = log.follow(topics(set), after(&kept[2]));
            assert_eq!(all(&mut back, 3).await, all_of_it[3..], "what is kept is no gap");
            let mut back = log.follow(topics(set), after(&new[1]));
            assert_eq!(all(&mut back, 1).await, ["f"]);
        }
    }
}

/// What a client got.
#[derive(Debug, PartialEq)]
enum Item {
    Gap,
    Event(usize),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_set_back_under_load_loses_nothing_without_a_gap() {
    let mut nats = Nats::start().await;
    let (a, b) = (nats.log().await, nats.log().await);
    let small = nats.log_with(settings().window_events(4)).await;
    let publisher = Publisher::start(a.clone());
    let clients = [
        follow(vec![a.clone()], topics(&["t"]), usize::MAX),
        follow(vec![b.clone()], topics(&["t", "u"]), usize::MAX),
        follow(vec![b.clone()], topics(&["*", "u.>"]), usize::MAX),
        follow(vec![a.clone(), b.clone(), small], topics(&["t"]), 7),
    ];
    // By round: what was there, and is not any more.
    let mut lost: Vec<BTreeSet<usize>> = Vec::new();
    for _ in 0..rounds() {
        publisher.publish_for(40).await;
        nats.save().await;
        publisher.publish_for(60).await;
        nats.set_back().await;
        let is_there = numbers(&nats).await;
        let appended = publisher.appended();
        let is_new = |n: &usize| !is_there.contains(n) && !lost.iter().any(|it| it.contains(n));
        let lost_now = appended.into_iter().filter(is_new).collect();
        lost.push(lost_now);
    }
    publisher.publish_for(40).await;
    append(&b, "t", "end").await;
    let appended = publisher.appended();
    for (n, client) in clients.into_iter().enumerate() {
        let items = timeout(LONG, client).await.expect("each client reaches the end").unwrap();
        check(n, &items, &appended, &lost);
    }
}

/// Publishes numbers as fast as it can, unless it is paused.
struct Publisher {
    appended: Arc<Mutex<Vec<usize>>>,
    goes_on: watch::Sender<bool>,
    idle: watch::Receiver<bool>,
}

impl Publisher {
    fn start(log: NatsLog) -> Self {
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
                    Err(NatsLogError::Unanswered) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Self { appended, goes_on, idle }
    }

    fn appended(&self) -> Vec<usize> {
        self.appended.lock().unwrap().clone()
    }

    /// Goes on until so many are appended, and a bit longer, and pauses.
    async fn publish_for(&self, count: usize) {
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

/// The numbers that the stream has.
async fn numbers(nats: &Nats) -> BTreeSet<usize> {
    let (stream, mut numbers) = (nats.stream().await, BTreeSet::new());
    let state = stream.get_info().await.unwrap().state;
    for sequence in state.first_sequence..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let text = std::str::from_utf8(&message.payload).unwrap();
        let number = text.trim_end().strip_prefix("data: ").unwrap().parse::<usize>();
        numbers.extend(number.ok().filter(|_| message.subject.ends_with(".t")));
    }
    numbers
}

/// Follows up to the end, at one node after the other, for so many items each.
fn follow(logs: Vec<NatsLog>, topics: Topics, each: usize) -> JoinHandle<Vec<Item>> {
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

/// Between two gaps nothing is missing, nothing is there twice, and all is in order. A client that has
/// seen what was lost in a round is told of it in a gap.
fn check(client: usize, items: &[Item], appended: &[usize], lost: &[BTreeSet<usize>]) {
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

#[tokio::test]
async fn a_foreign_event_is_told_from_another_with_the_same_text() {
    let mut nats = Nats::start().await;
    let log = nats.log().await;
    append(&log, "t", "first").await;
    nats.save().await;
    let publish = async |nats: &Nats| {
        let client = async_nats::connect(nats.url()).await.unwrap();
        client.publish("sse.t", "data: x\n\n".into()).await.unwrap();
        client.flush().await.unwrap();
    };
    let mut follower = log.follow(topics(&["t"]), Start::Live);
    publish(&nats).await;
    let Step::Event(lost) = step(&mut follower).await else {
        panic!("an event");
    };
    nats.set_back().await;
    publish(&nats).await;
    let mut back = nats.log().await.follow(topics(&["t"]), Start::requested(lost.id()));
    assert_eq!(all(&mut back, 3).await, ["gap", "first", "x"]);
    assert_eq!(said(&mut follower).await, "gap");
}
