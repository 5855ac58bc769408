//! A server that is set back to an earlier copy of what it stored gives the sequences of the events
//! that it lost to others. Nobody takes the one for the other: who has seen a lost event is told of
//! a gap.

use std::collections::BTreeSet;

use tokio::time::timeout;
use tower_sse::EventId;
use tower_sse::event_log::{EventLog, GapReason, Start, Step};

use crate::harness::nats::{
    LONG, Nats, after, all, append, gap, is_quiet, rounds, said, settings, step, topics,
};
use crate::harness::set_back::{Publisher, check, follow};

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
