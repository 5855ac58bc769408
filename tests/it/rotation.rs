//! Streams with a maximum age end in its last fifth, evenly spread, and always behind a whole
//! event.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{
    EventIdLayer, Farewell, KeepAliveLayer, Registry, RotationLayer, SseLayer, StreamState,
};

use crate::harness::rig::{Client, Fate, Feed, Handler, LIKELY, Piece, open, unevenness};

const AGE: Duration = Duration::from_secs(600);
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(5);

fn rotation() -> RotationLayer {
    RotationLayer::new().max_age(AGE).retry(LEAST..=MOST)
}

/// What a stream's client saw last, and when.
struct End {
    /// In the share of the last fifth of the age.
    at: f64,
    /// After how long it comes back, in the share of the range.
    back: f64,
    events: usize,
}

/// Where `it` is between two durations, from zero to one.
fn share(it: Duration, least: Duration, most: Duration) -> f64 {
    (it.as_secs_f64() - least.as_secs_f64()) / (most.as_secs_f64() - least.as_secs_f64())
}

/// Reads to the end, at which the last event must be the farewell, and all before it whole.
async fn end_of(mut client: Client) -> End {
    let (began, mut seen) = (Instant::now(), Vec::new());
    let mut ended = began.elapsed();
    while let Some(Ok(frame)) = client.next().await {
        seen.extend(frame);
        assert!(seen.ends_with(b"\n\n") || seen.ends_with(b":\n"), "not on a boundary");
        ended = began.elapsed();
    }
    assert!(ended <= AGE, "late: {ended:?}");
    assert!(ended >= AGE * 4 / 5, "early: {ended:?}");
    let mut decoder = Decoder::new();
    let mut events = decoder.decode(&seen);
    let last = events.pop().unwrap();
    assert_eq!((&*last.event, &*last.data), ("close", r#"{"reason":"rotated"}"#));
    let halves = events.iter().all(|event| event.data == "whole and well");
    assert!(halves, "an event is not what was sent");
    let retry = decoder.retry().unwrap();
    assert!((LEAST..=MOST).contains(&retry));
    End {
        at: share(ended, AGE * 4 / 5, AGE),
        back: share(retry, LEAST, MOST),
        events: events.len(),
    }
}

fn assert_even(values: impl Iterator<Item = f64>, what: &str) {
    let mut values: Vec<f64> = values.collect();
    let uneven = unevenness(&mut values);
    println!("{what}: {uneven:.3} of {LIKELY}");
    assert!(uneven < LIKELY, "{what}: {uneven}");
}

/// Has the handlers' bodies write halves of events, each at its own times.
fn write_halves(feeds: Vec<Feed>) {
    for (n, feed) in feeds.into_iter().enumerate() {
        let pace = Duration::from_millis(40_000 + 7 * n as u64);
        tokio::spawn(async move {
            while !feed.is_gone() {
                feed.data("data: whole");
                sleep(pace).await;
                feed.data(" and well\n\n");
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_ends_are_uniform_over_the_window_and_none_is_late() {
    let mut service = rotation().layer(Handler);
    let (_feeds, clients): (Vec<_>, Vec<_>) = (0..10_000).map(|_| open(&mut service)).unzip();
    let reads = clients.into_iter().map(|client| tokio::spawn(end_of(client)));
    let ends: Vec<End> = join_all(reads).await.into_iter().map(Result::unwrap).collect();
    assert_even(ends.iter().map(|end| end.at), "ends");
    assert_even(ends.iter().map(|end| end.back), "retries");
    // Those that end together do not come back together.
    for tenth in 0_u32..10 {
        let low = f64::from(tenth) / 10.0;
        let together = ends.iter().filter(|end| end.at >= low && end.at < low + 0.1);
        assert_even(together.map(|end| end.back), "retries of a tenth");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_write_half_events_end_on_a_boundary_all_the_same() {
    // Alone, and with layers that look at each event and at each frame.
    let alone = SseLayer::off().rotation(rotation());
    let scanned = SseLayer::new().event_ids(EventIdLayer::sequential()).rotation(rotation());
    for (what, layer) in [("alone", alone), ("with ids and keepalives", scanned)] {
        let mut service = layer.layer(Handler);
        let (feeds, clients): (Vec<_>, Vec<_>) = (0..1_000).map(|_| open(&mut service)).unzip();
        write_halves(feeds);
        let reads = clients.into_iter().map(|client| tokio::spawn(end_of(client)));
        let ends: Vec<End> = join_all(reads).await.into_iter().map(Result::unwrap).collect();
        assert_even(ends.iter().map(|end| end.at), what);
        assert!(ends.iter().all(|end| end.events >= 9), "{what}: events are missing");
    }
}

/// A client that takes a frame a second, from a body that always has one: it never waits, so no
/// timer tells.
#[tokio::test(start_paused = true)]
async fn a_stream_that_never_waits_ends_in_time() {
    for layer in [
        SseLayer::off().rotation(rotation()),
        SseLayer::new().rotation(rotation()),
        SseLayer::new().event_ids(EventIdLayer::sequential()).rotation(rotation()),
    ] {
        let (feed, mut client) = open(&mut layer.layer(Handler));
        let began = Instant::now();
        for _ in 0..2_000 {
            feed.data("data: a\n\n");
        }
        let last = loop {
            match client.next().await {
                Some(Ok(frame)) if frame.starts_with(b"event: close") => break began.elapsed(),
                Some(Ok(_)) => sleep(Duration::from_secs(1)).await,
                end => panic!("{end:?}"),
            }
        };
        assert!((AGE * 4 / 5..=AGE).contains(&last), "{last:?}");
        assert_eq!(client.now().await, (String::new(), Fate::Ended));
        assert!(feed.is_gone());
    }
}

/// It waits at first, so that its sleep is set, and then never again.
#[tokio::test(start_paused = true)]
async fn a_stream_with_a_burst_after_silence_ends_in_time() {
    let (feed, mut client) = open(&mut rotation().layer(Handler));
    feed.data("data: a\n\n");
    client.now().await;
    sleep(AGE * 3 / 4).await;
    let more = || feed.data("data: a\n\n".repeat(100));
    let began = Instant::now();
    while began.elapsed() <= AGE / 4 {
        more();
        match client.next().await {
            Some(Ok(frame)) if frame.starts_with(b"event: close") => return,
            Some(Ok(_)) => sleep(Duration::from_secs(1)).await,
            end => panic!("{end:?}"),
        }
    }
    panic!("it is open still");
}

#[tokio::test(start_paused = true)]
async fn a_long_event_is_not_cut_and_the_end_follows_it() {
    let layer = SseLayer::off().hold_limit(8).rotation(rotation());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    assert_eq!(client.during(10 * AGE).await.len(), 1);
    feed.data(" to hold\n\ndata: b\n\n");
    let (seen, fate) = client.now().await;
    assert!(seen.starts_with(" to hold\n\nevent: close\nretry: "), "{seen}");
    assert_eq!((fate, seen.contains("data: b")), (Fate::Ended, false));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_in_a_long_event_for_its_end_is_shown_as_closing() {
    let registry = Registry::new();
    let listed = SseLayer::off().registry(registry.clone());
    let layer = listed.hold_limit(8).rotation(rotation());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    let state = || registry.snapshot()[0].state;
    assert_eq!(client.during(AGE / 2).await.len(), 1);
    assert_eq!(state(), StreamState::Open);
    assert_eq!(client.during(AGE).await.len(), 0);
    assert_eq!(state(), StreamState::Closing);
}

#[tokio::test(start_paused = true)]
async fn the_place_is_restated_so_that_nothing_is_missed() {
    let (feed, client) = open(&mut rotation().layer(Handler));
    feed.data("id: 7\ndata: a\n\nid: 8\ndata: half");
    let seen = client.rest().await;
    assert!(seen.ends_with("data: {\"reason\":\"rotated\"}\nid: 7\n\n"), "{seen}");
    // By default clients come back soon, but not at once.
    let mut service = RotationLayer::new().max_age(AGE).layer(Handler);
    for _ in 0..50 {
        let (_feed, client) = open(&mut service);
        let mut decoder = Decoder::new();
        decoder.decode(client.rest().await.as_bytes());
        let retry = decoder.retry().unwrap().as_millis();
        assert!((100..=1_000).contains(&retry), "{retry}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_farewell_of_choice_is_said() {
    for (farewell, expected) in [
        (
            Farewell::reconnect(),
            "event: reconnect\nretry: 1000\ndata: {\"reason\":\"rotated\"}\n\n",
        ),
        (Farewell::bytes("bye"), "bye"),
        (Farewell::none(), ""),
    ] {
        let (feed, client) = open(&mut rotation().farewell(farewell).layer(Handler));
        assert_eq!(client.rest().await, expected);
        assert!(feed.is_gone());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_before_its_age_is_left_alone() {
    let (feed, mut client) = open(&mut rotation().layer(Handler));
    feed.data("data: a\n\n");
    sleep(AGE / 2).await;
    assert_eq!(client.now().await, ("data: a\n\n".into(), Fate::Open));
    drop(feed);
    assert_eq!(client.now().await, (String::new(), Fate::Ended));
    let (feed, mut client) = open(&mut rotation().layer(Handler));
    feed.give(Piece::Fail);
    assert_eq!(client.now().await, (String::new(), Fate::Failed));
}

#[tokio::test(start_paused = true)]
async fn an_age_of_zero_is_never() {
    let none = RotationLayer::new().max_age(Duration::ZERO).idle(Duration::ZERO);
    let never = RotationLayer::new().max_age(Duration::MAX).idle(Duration::MAX);
    for layer in [none, never, RotationLayer::new(), RotationLayer::off().max_age(AGE)] {
        let (_feed, mut client) = open(&mut layer.layer(Handler));
        assert_eq!(client.during(10 * AGE).await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_of_retry_that_cannot_work_is_clamped() {
    let (nothing, millisecond) = (Duration::ZERO, Duration::from_millis(1));
    let cases = [
        (MOST..=LEAST, MOST),
        (nothing..=nothing, millisecond),
        (Duration::from_micros(9)..=Duration::from_micros(10), millisecond),
    ];
    for (retry, told) in cases {
        let layer = RotationLayer::new().max_age(AGE).retry(retry);
        let (_feed, client) = open(&mut layer.layer(Handler));
        let seen = client.rest().await;
        assert!(seen.contains(&format!("retry: {}\n", told.as_millis())), "{seen}");
    }
}

#[test]
fn rotation_needs_no_runtime_until_it_has_to_wait() {
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::off()).rotation(rotation());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: a\n\n");
    let first = futures_util::FutureExt::now_or_never(client.next());
    assert_eq!(first.unwrap().unwrap().unwrap(), "data: a\n\n");
}
