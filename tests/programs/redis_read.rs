//! A look at a topic in Redis returns what there is, and leaves nothing.

use tower_sse::event_log::{BrokerError, EventLog, GapReason, Logged, Page, RedisLog, Start};
use tower_sse::{EventId, Hub};

use crate::harness::redis::{
    Server, Way, after, append, append_all, connect, data_of, follow, log, said, topic,
};

fn texts(page: &Page) -> Vec<String> {
    page.events.iter().map(|event| data_of(event.bytes())).collect()
}

#[tokio::test]
async fn a_look_returns_what_a_follower_would_return_at_once() {
    let server = Server::start().await;
    let log = connect(RedisLog::builder().events(100), &server.url()).await;
    let first = append(&log, "t", "0").await;
    append_all(&log, "t", 1..398).await;
    let last_but_one = append(&log, "t", "398").await;
    let last = append(&log, "t", "399").await;
    let elsewhere = append(&log, "u", "x").await;
    let read = async |from: Start, limit| log.read(&topic("t"), from, limit).await.unwrap();

    let page = read(after(&last_but_one), 10).await;
    assert_eq!((texts(&page), page.has_more), (vec!["399".to_owned()], false));
    assert!(page.gap.is_none());
    for from in [Start::Live, after(&last), after(&elsewhere)] {
        let page = read(from.clone(), 10).await;
        assert!(page.events.is_empty() && page.gap.is_none() && !page.has_more, "{from:?}");
    }
    for (from, reason) in [
        (after(&first), Some(GapReason::Expired)),
        (Start::Unknown, Some(GapReason::Unknown)),
        (after(&EventId::from_static("7-7")), Some(GapReason::Restarted)),
        (Start::Earliest, None),
    ] {
        let page = read(from.clone(), 10).await;
        assert_eq!(page.gap.as_ref().map(|gap| gap.reason), reason, "{from:?}");
        assert!(page.has_more && page.events.len() == 10);
        // In pages, to the end.
        let (mut all, mut next) = (texts(&page), page);
        while next.has_more {
            next = read(Start::requested(next.events.last().unwrap().id()), 70).await;
            assert!(next.gap.is_none());
            all.extend(texts(&next));
        }
        let begin: usize = all[0].parse().unwrap();
        let expected: Vec<_> = (begin..400).map(|n| n.to_string()).collect();
        assert_eq!(all, expected, "{from:?}");
    }
}

#[tokio::test]
async fn a_look_sees_the_end_of_a_topic_wherever_it_starts() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    append(&log, "t", "1").await;
    Hub::new(log.clone()).finish(&topic("t")).await.unwrap();
    let elsewhere = append(&log, "u", "x").await;
    for from in [Start::Live, after(&elsewhere), Start::Earliest] {
        let page = log.read(&topic("t"), from.clone(), 10).await.unwrap();
        assert!(page.events.last().is_some_and(Logged::finishes_topic), "{from:?}");
    }
}

#[tokio::test]
async fn looks_at_names_and_ids_that_were_made_up_leave_nothing() {
    let server = Server::start().await;
    let log = log(&server.url()).await;
    let id = append(&log, "t", "1").await;
    let keys = || server.cli(&["KEYS", "*"]).lines().count();
    let before = keys();
    for n in 0..500 {
        let page = log.read(&topic(&format!("made.up.{n}")), after(&id), 10).await.unwrap();
        assert!(page.events.is_empty() && page.gap.is_none());
        log.latest(&topic("t").into()).await.unwrap();
    }
    assert!(format!("{log:?}").contains("topics: 0,"), "{log:?}");
    // A reservation is one key, whatever its number.
    assert!(keys() <= before + 1);
    let clients = server.cli(&["CLIENT", "LIST"]);
    assert!(!clients.contains("tower-sse-reader"), "nothing is followed: {clients}");
    // And it is followed as if there had been no look.
    let mut follower = follow(&log, &["made.up.7"], after(&id));
    append(&log, "made.up.7", "2").await;
    assert_eq!(said(&mut follower).await, "2");
}

#[tokio::test]
async fn a_look_while_redis_is_away_is_an_error() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let log = log(&way.url()).await;
    way.close().await;
    let read = log.read(&topic("t"), Start::Earliest, 10).await;
    assert!(matches!(read, Err(BrokerError::TimedOut | BrokerError::Away(_))), "{read:?}");
}
