//! Who follows, and who only looks: what a node keeps for them, and whom an event wakes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::time::timeout;
use tower_sse::EventId;
use tower_sse::event_log::{BrokerError, EventLog, Follow, GapReason, NatsLog, Start, Step};

use crate::harness::nats::{
    LONG, Nats, after, append, data, data_of, said, settings, topic, topics,
};

const LOOKS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_looks_with_made_up_ids_leave_nothing() {
    let nats = Nats::start().await;
    let log = nats.log_with(settings().window_events(2)).await;
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d"] {
        ids.push(append(&log, "t", text).await);
    }
    let epoch = ids[0].as_str().split_once('-').unwrap().0;
    let mut looks = tokio::task::JoinSet::new();
    for task in 0..10 {
        let (log, epoch) = (log.clone(), epoch.to_owned());
        looks.spawn(async move {
            for n in (0..LOOKS).filter(|n| n % 10 == task) {
                let id = match n / 10 % 4 {
                    0 => format!("{n}-{n}-{n:08x}"),
                    1 => format!("{epoch}-{n}-{n:08x}"),
                    2 => format!("{epoch}-{}-{n:08x}", n % 5),
                    _ => format!("made up {n}"),
                };
                let from = Start::After(EventId::new(id).unwrap());
                let name = if n % 7 == 0 { "t".to_owned() } else { format!("made.up.{n}") };
                let page = log.read(&topic(&name), from, 10).await.unwrap();
                assert!(page.gap.is_some(), "{name}");
                assert_eq!(page.events.len(), if n % 7 == 0 { 4 } else { 0 }, "{name}");
            }
        });
    }
    while let Some(look) = looks.join_next().await {
        look.unwrap();
    }
    assert!(format!("{log:?}").contains("followers: 0"), "{log:?}");
    let stream = nats.stream().await;
    let gone = async {
        // The one that reads the stream stays.
        while stream.get_info().await.unwrap().state.consumer_count > 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, gone).await.expect("consumers are deleted");
}

/// The gap, and the data of all pages.
async fn look(log: &NatsLog, name: &str, from: Start, limit: usize) -> Vec<String> {
    let (mut from, mut all) = (from, Vec::new());
    loop {
        let page = log.read(&topic(name), from.clone(), limit).await.unwrap();
        assert!(page.events.len() <= limit);
        all.extend(page.gap.iter().map(|gap| gap.reason.as_str().to_owned()));
        all.extend(page.events.iter().map(|event| data_of(event.bytes())));
        match page.events.last() {
            Some(last) if page.has_more => from = Start::requested(last.id()),
            _ => return all,
        }
    }
}

#[tokio::test]
async fn a_look_gives_what_a_follower_would_get_at_once() {
    for nats in Nats::start_each_version().await {
        let writer = nats.log().await;
        let mut ids = Vec::new();
        for n in 0..10 {
            append(&writer, "u", "other").await;
            ids.push(append(&writer, "t", &n.to_string()).await);
        }
        let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        for log in [&writer, &nats.log().await, &nats.log_with(settings().window_events(3)).await] {
            for limit in [1, 3, 100] {
                assert_eq!(look(log, "t", Start::Earliest, limit).await, expected);
                assert_eq!(look(log, "t", after(&ids[3]), limit).await, expected[4..]);
                assert_eq!(look(log, "t", after(&ids[9]), limit).await, [""; 0]);
                assert_eq!(look(log, "t", Start::Live, limit).await, [""; 0]);
                assert_eq!(look(log, "none", Start::Earliest, limit).await, [""; 0]);
                let unknown = look(log, "t", Start::Unknown, limit).await;
                assert_eq!(unknown[0], GapReason::Unknown.as_str());
                assert_eq!(unknown[1..], expected);
            }
        }
        // Also what another node has given out a moment ago.
        let log = nats.log().await;
        for n in 10..200 {
            append(&writer, "t", &n.to_string()).await;
            let last = ids[9].clone();
            assert_eq!(look(&log, "t", after(&last), 1_000).await.len(), n - 9);
        }
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_event_wakes_only_the_followers_of_its_topic() {
    let nats = Nats::start().await;
    let log = nats.log().await;
    let count = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut followers = Vec::new();
    for n in 0..100 {
        let (one, pattern) = (format!("t.{n}"), format!("u.{n}.>"));
        followers.push(log.follow(topics(&[&one, "v"]), Start::Live));
        followers.push(log.follow(topics(&[&pattern]), Start::Live));
    }
    for follower in &mut followers {
        assert!(Pin::new(follower).poll_next(&mut Context::from_waker(&waker)).is_pending());
    }
    for (name, expected) in [("none", 0), ("t.7", 1), ("u.8.x", 2), ("u.9", 2), ("v", 101)] {
        // Followed by one that is polled: when it has the event, the others were woken.
        let mut own = log.follow(topics(&["*", "*.*", "*.*.*"]), Start::Live);
        append(&log, name, "x").await;
        assert_eq!(said(&mut own).await, "x");
        drop(own);
        let woken = async {
            while count.0.load(Ordering::SeqCst) < expected {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, woken).await.expect("those of the topic are woken");
        assert_eq!(count.0.load(Ordering::SeqCst), expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_end_and_appends_fail_after_the_runtime_of_a_log_has_ended() {
    let nats = Nats::start().await;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = nats.url();
    let log = runtime.spawn(async move { settings().connect(&url).await.unwrap() }).await.unwrap();
    append(&log, "t", "before").await;
    let mut waiting = log.follow(topics(&["t"]), Start::Live);
    let mut several = log.follow(topics(&["t", "u.*"]), Start::Live);
    let next = std::future::poll_fn(move |cx| match Pin::new(&mut waiting).poll_next(cx) {
        Poll::Ready(step) => Poll::Ready(step.is_none()),
        Poll::Pending => Poll::Pending,
    });
    let waiting = tokio::spawn(next);
    tokio::task::yield_now().await;
    runtime.shutdown_background();
    assert!(timeout(LONG, waiting).await.expect("it ends").unwrap());
    let next = std::future::poll_fn(|cx| Pin::new(&mut several).poll_next(cx));
    let step: Option<Step> = timeout(LONG, next).await.expect("it ends");
    assert!(step.is_none());
    for refused in [
        log.append(&topic("t"), data("x")).await.unwrap_err(),
        log.latest(&topics(&["t"])).await.unwrap_err(),
        log.read(&topic("t"), Start::Earliest, 1).await.unwrap_err(),
    ] {
        assert!(matches!(refused, BrokerError::Away(_)), "{refused:?}");
    }
    assert!(!log.health().is_reading, "{:?}", log.health());
}
