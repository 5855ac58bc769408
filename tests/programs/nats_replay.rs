//! What a client missed is read from the server by its own topics, and holds up nobody else.

use tower_sse::event_log::{EventLog, Start};

use crate::harness::nats::{Nats, Way, after, all, append, said, settings, topics};

/// How many events there are that the client does not ask for.
const OTHERS: usize = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_two_topics_is_not_sent_the_whole_stream() {
    for nats in Nats::start_each_version().await {
        only_its_topics_are_read(&nats).await;
    }
}

async fn only_its_topics_are_read(nats: &Nats) {
    let writer = nats.log().await;
    let first = append(&writer, "a", "first").await;
    let text = "x".repeat(1_000);
    let mut expected = Vec::new();
    for n in 0..OTHERS {
        append(&writer, &format!("others.{}", n % 50), &text).await;
        if n % 100 == 99 {
            let name = ["a", "b.1", "b.2"][n / 100 % 3];
            append(&writer, name, &n.to_string()).await;
            expected.push(n.to_string());
        }
    }
    let way = Way::to(nats).await;
    let reader = settings().window_events(1).connect(&way.url()).await.unwrap();
    for set in [&["a", "b.*"][..], &["a", "b.1", "b.2"], &["*", "b.>", "*.1"]] {
        // The last set also matches others.
        let others = if set.len() == 3 && set[0] == "*" { OTHERS / 50 } else { 0 };
        let before = way.bytes();
        let mut follower = reader.follow(topics(set), after(&first));
        let got = all(&mut follower, expected.len() + others).await;
        let got: Vec<_> = got.into_iter().filter(|it| *it != text).collect();
        assert_eq!(got, expected, "{set:?}");
        let read = usize::try_from(way.bytes() - before).unwrap();
        assert!(read < OTHERS * text.len() / 10, "{read} bytes for {set:?}");
    }
}

/// On one connection the answer to the append would wait for all events of the replay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_and_a_live_event_do_not_wait_for_a_replay() {
    const LARGE: usize = 40;
    let nats = Nats::start().await;
    let writer = nats.log().await;
    let large = "x".repeat(100_000);
    for _ in 0..LARGE {
        append(&writer, "large", &large).await;
    }
    append(&writer, "large", "last").await;
    let way = Way::to(&nats).await;
    let log = settings().window_events(1).connect(&way.url()).await.unwrap();
    let mut live = log.follow(topics(&["small"]), Start::Live);
    way.slow_down_to(2_000_000);
    let mut replay = log.follow(topics(&["large"]), Start::Earliest);
    let replayed = tokio::spawn(async move { all(&mut replay, LARGE + 1).await.len() });
    while way.bytes() < 500_000 {
        tokio::task::yield_now().await;
    }
    for n in 0..5 {
        append(&log, "small", &n.to_string()).await;
        assert_eq!(said(&mut live).await, n.to_string());
        assert!(!replayed.is_finished(), "the replay is slower");
    }
    assert_eq!(replayed.await.unwrap(), LARGE + 1);
}
