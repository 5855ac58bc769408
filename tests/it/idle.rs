//! A stream that has had no event of its own for a time ends, whatever keeps it alive.

use std::time::Duration;

use tokio::time::{Instant, advance, interval, sleep};
use tower::Layer;
use tower_sse::{Event, EventName, KeepAliveLayer, Registry, RotationLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Fate, Handler, open};

const LIMIT: Duration = Duration::from_secs(80);

fn idle() -> RotationLayer {
    RotationLayer::new().idle(LIMIT)
}

/// How long it takes until the farewell of an idle stream.
async fn end_of(client: Client) -> Duration {
    let began = Instant::now();
    let seen = client.rest().await;
    assert!(seen.contains("event: close\nretry: "), "{seen}");
    assert!(seen.contains("data: {\"reason\":\"idle\"}\n"), "{seen}");
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_events_ends_at_the_limit() {
    let (feed, client) = open(&mut idle().layer(Handler));
    assert_eq!(end_of(client).await, LIMIT);
    assert!(feed.is_gone());
}

#[tokio::test(start_paused = true)]
async fn an_end_is_an_eighth_late_at_most_and_never_early() {
    for wait in [0, 1, 3, 5_000, 9_999, 10_000, 10_001, 42_424, 79_999] {
        let (feed, mut client) = open(&mut idle().layer(Handler));
        client.during(Duration::from_millis(wait)).await;
        feed.data("data: a\n\n");
        let silent = end_of(client).await;
        assert!((LIMIT..=LIMIT + LIMIT / 8).contains(&silent), "{wait}: {silent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn comments_heartbeats_and_mail_do_not_keep_a_stream_from_being_idle() {
    let registry = Registry::new();
    let keep_alive =
        KeepAliveLayer::every(7 * SECOND).heartbeat(EventName::from_static("beat"), 5 * SECOND);
    let layer = SseLayer::new().keep_alive(keep_alive).registry(registry.clone()).rotation(idle());
    let (feed, client) = open(&mut layer.layer(Handler));
    let busy = tokio::spawn(async move {
        let mut ticks = interval(SECOND);
        while !feed.is_gone() {
            ticks.tick().await;
            feed.data(": upstream's keepalive\n\n");
            feed.data(":\n");
            feed.data("retry: 5\n\nevent: without data\n\n");
            registry.broadcast(Event::new().data("news"));
        }
    });
    assert_eq!(end_of(client).await, LIMIT);
    busy.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_endless_comments_is_idle() {
    let (feed, mut client) = open(&mut idle().layer(Handler));
    (0..200).for_each(|_| feed.data(": upstream is alive\n"));
    let mut seen = String::new();
    for _ in 0..100 {
        let Some(frame) = client.next().await else {
            assert!(seen.contains("data: {\"reason\":\"idle\"}\n"), "{seen}");
            return;
        };
        seen.push_str(std::str::from_utf8(&frame.unwrap()).unwrap());
        advance(SECOND).await;
    }
    panic!("it is open after 100 seconds without an event");
}

#[tokio::test(start_paused = true)]
async fn events_of_the_handler_keep_a_stream_from_being_idle() {
    let (feed, mut client) = open(&mut idle().layer(Handler));
    for _ in 0..20 {
        feed.data("data: a\n\n");
        let frames = client.during(79 * SECOND).await;
        assert_eq!(frames.len(), 1, "{frames:?}");
    }
    assert_eq!(client.now().await.1, Fate::Open);
    // Half an event is none.
    feed.data("data: half");
    assert!(end_of(client).await <= LIMIT / 8 + SECOND);
}

/// Events wait for a client that does not read; the stream is not idle for that.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_asked_is_not_idle() {
    let (feed, mut client) = open(&mut idle().layer(Handler));
    feed.data("data: a\n\n");
    client.now().await;
    sleep(100 * LIMIT).await;
    feed.data("data: b\n\n");
    assert_eq!(client.now().await, ("data: b\n\n".into(), Fate::Open));
    assert!((LIMIT..=LIMIT + LIMIT / 8).contains(&end_of(client).await));
}

#[tokio::test(start_paused = true)]
async fn an_age_counts_for_streams_that_are_not_idle() {
    let (feed, client) = open(&mut idle().max_age(LIMIT * 2).layer(Handler));
    tokio::spawn(async move {
        while !feed.is_gone() {
            feed.data("data: a\n\n");
            sleep(SECOND).await;
        }
    });
    assert!(client.rest().await.contains("{\"reason\":\"rotated\"}"));
}
