//! A look at a topic in PostgreSQL returns what there is and leaves and patterns come back as
//! far as nothing was deleted.

use futures_util::{StreamExt, stream};
use tower_sse::Hub;
use tower_sse::event_log::{BrokerError, EventLog, Logged, PostgresLog, Start};

use crate::harness::patterns;
use crate::harness::postgres::{
    Server, Way, address, after, append, connect, follow, log, said, topic,
};

#[tokio::test]
async fn a_look_sees_the_end_of_a_topic_wherever_it_starts() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    append(&log, "t", "1").await;
    Hub::new(log.clone()).finish(&topic("t")).await.unwrap();
    let elsewhere = append(&log, "u", "x").await;
    for from in [Start::Live, after(&elsewhere), Start::Earliest] {
        let page = log.read(&topic("t"), from.clone(), 10).await.unwrap();
        assert!(page.events.last().is_some_and(Logged::finishes_topic), "{from:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_looks_at_names_and_ids_that_were_made_up_leave_nothing() {
    let server = Server::start().await;
    let log = log(&server.address()).await;
    let id = append(&log, "t", "1").await;
    let held = || {
        server.sql(
            "SELECT (SELECT count(*) FROM tower_sse_events), (SELECT count(*) FROM tower_sse_topics)",
        )
    };
    let before = held();
    let looks = (0..10_000_u64).map(|n| {
        let (log, id) = (&log, &id);
        async move {
            let made_up = format!("{}-{}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n * 7);
            let from = if n % 2 == 0 { after(id) } else { Start::requested(&made_up) };
            let page = log.read(&topic(&format!("made.up.{n}")), from, 10).await.unwrap();
            assert!(page.events.is_empty() && page.gap.is_some() == (n % 2 == 1));
        }
    });
    stream::iter(looks).buffer_unordered(64).collect::<Vec<()>>().await;
    assert!(format!("{log:?}").contains("topics: 0,"), "{log:?}");
    assert_eq!(held(), before);
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    assert_eq!(server.sql(listening), "0", "nothing is followed");
    // And it is followed as if there had been no look.
    let mut follower = follow(&log, &["made.up.7"], after(&id));
    append(&log, "made.up.7", "2").await;
    assert_eq!(said(&mut follower).await, "2");
}

#[tokio::test]
async fn a_look_while_postgres_is_away_is_an_error() {
    let server = Server::start().await;
    let mut way = Way::to(&server).await;
    let log = log(&address(&way.url())).await;
    way.close().await;
    let read = log.read(&topic("t"), Start::Earliest, 10).await;
    let is_told = matches!(read, Err(BrokerError::TimedOut | BrokerError::Away(_)));
    assert!(is_told, "{read:?}");
}

#[tokio::test]
async fn a_follower_of_patterns_gets_each_event_that_matches_once_and_in_order() {
    let server = Server::start().await;
    let nodes = [log(&server.address()).await, log(&server.address()).await];
    patterns::a_follower_of_patterns_gets_each_event_that_matches_once_and_in_order(nodes).await;
}

#[tokio::test]
async fn what_was_deleted_may_be_missing_for_a_follower_of_a_pattern_and_is_a_gap() {
    let server = Server::start().await;
    let address = server.address();
    let node = || connect(PostgresLog::builder().events(100), &address);
    let log = node().await;
    patterns::what_is_not_listed_is_a_gap_for_a_follower_of_a_pattern(&log, &log, node()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_followers_are_one_reader_and_few_requests() {
    let server = Server::start().await;
    let way = Way::to(&server).await;
    let log = log(&address(&way.url())).await;
    let names: Vec<String> = (0..1_000).map(|n| format!("t.{n}")).collect();
    let mut few: Vec<_> = names[..5].iter().map(|it| follow(&log, &[it], Start::Live)).collect();
    let cost = async |followers: &mut [_]| {
        for (name, follower) in names.iter().zip(&mut *followers) {
            nothing_yet(follower).await;
            append(&log, name, "before").await;
        }
        // Then all topics are loaded.
        for follower in &mut *followers {
            assert_eq!(said(follower).await, "before");
        }
        let before = way.bytes();
        for n in 0..200 {
            append(&log, &names[n % 5], "x").await;
            assert_eq!(said(&mut followers[n % 5]).await, "x");
        }
        way.bytes() - before
    };
    let of_few = cost(&mut few).await;
    drop(few);
    let mut many: Vec<_> = names.iter().map(|it| follow(&log, &[it], Start::Live)).collect();
    let of_many = cost(&mut many).await;
    println!("{} and {} bytes an event", of_few / 200, of_many / 200);
    assert!(of_many < of_few * 11 / 10, "{of_few} bytes for 5 topics, {of_many} for 1,000");
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tower-sse'";
    assert!(server.sql(count).parse::<u32>().unwrap() <= 4);
}

/// Polls once.
async fn nothing_yet(follower: &mut <PostgresLog as EventLog>::Follower) {
    use tower_sse::event_log::Follow;
    std::future::poll_fn(|cx| {
        let _ = std::pin::Pin::new(&mut *follower).poll_next(cx);
        std::task::Poll::Ready(())
    })
    .await;
}
