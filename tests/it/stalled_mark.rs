//! A registry shows which streams are stuck behind a client that does not read.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::advance;
use tower::Layer;
use tower_sse::StreamState::{self, Closing, Open, Stalled};
use tower_sse::{
    Event, EventIdLayer, Farewell, KeepAliveLayer, Registry, RegistryLayer, Shutdown, SseLayer,
};

use crate::harness::SECOND;
use crate::harness::rig::{Client, Fate, Feed, Handler, open};

/// A stream, and what the registry shows of it.
fn listed(registry: &Registry) -> (Feed, Client) {
    open(&mut RegistryLayer::new(registry.clone()).layer(Handler))
}

fn state(registry: &Registry) -> StreamState {
    let [seen] = &registry.snapshot()[..] else { panic!("one stream is open") };
    assert_eq!(registry.get(seen.id).unwrap().state, seen.state);
    seen.state
}

/// Asserts that the stream is marked after five seconds, and not before.
async fn assert_stalls(registry: &Registry, before: StreamState) {
    advance(Duration::from_millis(4_999)).await;
    assert_eq!(state(registry), before);
    advance(Duration::from_millis(1)).await;
    assert_eq!(state(registry), Stalled);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_gave_bytes_and_is_not_asked_for_more_is_marked() {
    let registry = Registry::new();
    let (feed, mut client) = listed(&registry);
    feed.data("data: a\n\n");
    client.next().await.unwrap().unwrap();
    assert_stalls(&registry, Open).await;
    // Asked again, it is not.
    client.now().await;
    assert_eq!(state(&registry), Open);
    advance(100 * SECOND).await;
    assert_eq!(state(&registry), Open);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_is_never_marked_as_stalled() {
    let registry = Registry::new();
    let (feed, mut client) = listed(&registry);
    assert_eq!(state(&registry), Open);
    advance(100 * SECOND).await;
    assert_eq!(state(&registry), Open, "not asked at all yet");
    client.now().await;
    for _ in 0..3 {
        feed.data("data: a\n\n");
        client.now().await;
        advance(1_000 * SECOND).await;
        assert_eq!(state(&registry), Open);
    }
}

/// The time of a frame is its own, and not that of the silence before it.
#[tokio::test(start_paused = true)]
async fn silence_before_a_frame_does_not_count() {
    let registry = Registry::new();
    let (feed, mut client) = listed(&registry);
    for _ in 0..5 {
        client.now().await;
        advance(100 * SECOND).await;
        feed.data("data: a\n\n");
        client.next().await.unwrap().unwrap();
        assert_stalls(&registry, Open).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_known_to_within_sixteen_frames() {
    let registry = Registry::new();
    let (feed, mut client) = listed(&registry);
    for frame in 0..100 {
        feed.data("data: a\n\n");
        client.next().await.unwrap().unwrap();
        let seen = &registry.snapshot()[0];
        let now = tokio::time::Instant::now().into_std();
        let behind = now - seen.last_polled.unwrap();
        assert!(behind < Duration::from_millis(16), "{frame}: {behind:?}");
        advance(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_frame_every_two_seconds_is_never_marked() {
    // After bursts of any length, so that the clock was last read any number of frames ago.
    for burst in 0..40 {
        let registry = Registry::new();
        let (feed, mut client) = listed(&registry);
        for frame in 0..burst + 40 {
            feed.data("data: a\n\n");
            client.next().await.unwrap().unwrap();
            assert_eq!(state(&registry), Open, "frame {frame} after a burst of {burst}");
            if frame >= burst {
                advance(2 * SECOND).await;
                assert_eq!(state(&registry), Open, "after frame {frame}, a burst of {burst}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stops_in_a_burst_is_marked_after_sixteen_times_as_long_at_most() {
    for burst in 1..40 {
        let registry = Registry::new();
        let (feed, mut client) = listed(&registry);
        for _ in 0..burst {
            feed.data("data: a\n\n");
            client.next().await.unwrap().unwrap();
        }
        advance(Duration::from_millis(4_999)).await;
        assert_eq!(state(&registry), Open, "{burst}");
        advance(75 * SECOND + Duration::from_millis(1)).await;
        assert_eq!(state(&registry), Stalled, "{burst}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_mail_is_not_read_is_marked() {
    let registry = Registry::new();
    let (_feed, mut client) = listed(&registry);
    client.now().await;
    advance(100 * SECOND).await;
    let id = registry.snapshot()[0].id;
    registry.send(id, Event::new().data("a")).unwrap();
    advance(SECOND).await;
    // The first counts.
    registry.broadcast(Event::new().data("b"));
    advance(Duration::from_millis(3_999)).await;
    assert_eq!(state(&registry), Open);
    advance(Duration::from_millis(1)).await;
    assert_eq!(state(&registry), Stalled);
    assert_eq!(client.now().await.0, "data: a\n\ndata: b\n\n");
    assert_eq!(state(&registry), Open);
    registry.broadcast_where(|_| true, Event::new().data("c"));
    assert_stalls(&registry, Open).await;
}

/// That an operator's order is not followed is what the operator has to see.
#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_close_is_stalled_rather_than_closing() {
    let registry = Registry::new();
    let (feed, mut client) = listed(&registry);
    feed.data("data: a\n\n");
    client.now().await;
    advance(100 * SECOND).await;
    assert_eq!(registry.close_where(|_| true, Farewell::close()), 1);
    assert_stalls(&registry, Closing).await;
    assert_eq!(client.now().await.1, Fate::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_does_not_hear_a_drain_is_marked() {
    let near = |layer: SseLayer, _: &Registry, shutdown: Shutdown| layer.shutdown(shutdown);
    let registry = Registry::new();
    let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
    let layer = SseLayer::off().registry(registry.clone());
    let (_feed, mut client) = open(&mut near(layer, &registry, shutdown.clone()).layer(Handler));
    client.now().await;
    advance(100 * SECOND).await;
    shutdown.trigger();
    assert_stalls(&registry, Open).await;
    assert_eq!(client.now().await.1, Fate::Ended);

    // One that has heard and waits for its turn is not stuck.
    let shutdown = Shutdown::builder().rate(1).window(9 * SECOND).build().unwrap();
    let layer = SseLayer::off().registry(registry.clone()).shutdown(shutdown.clone());
    let mut service = layer.layer(Handler);
    let mut streams: Vec<_> = (0..9).map(|_| open(&mut service)).collect();
    shutdown.trigger();
    for (_, client) in &mut streams {
        client.now().await;
    }
    advance(6 * SECOND).await;
    assert!(registry.snapshot().iter().any(|seen| seen.state == Closing));
    assert!(registry.snapshot().iter().all(|seen| seen.state != Stalled));
}

/// It is the event that is waited for, not the client.
#[tokio::test(start_paused = true)]
async fn mail_that_waits_for_a_long_event_marks_no_stream() {
    let registry = Registry::new();
    let layer = SseLayer::off().hold_limit(8).registry(registry.clone());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    client.now().await;
    registry.broadcast(Event::new().data("a"));
    client.now().await;
    advance(100 * SECOND).await;
    assert_eq!(state(&registry), Open);
    registry.close_where(|_| true, Farewell::close());
    client.now().await;
    advance(2 * SECOND).await;
    assert_eq!(state(&registry), Closing);
}

#[tokio::test(start_paused = true)]
async fn the_time_to_the_mark_is_a_setting_and_zero_marks_no_stream() {
    for (after, shown) in [(SECOND, Stalled), (60 * SECOND, Open), (Duration::ZERO, Open)] {
        let told = Arc::new(Mutex::new(None));
        let hook = Arc::clone(&told);
        let registry = Registry::builder()
            .stalled_after(after)
            .on_close(move |seen, _| *hook.lock().unwrap() = Some(seen.state));
        let registry = registry.build().unwrap();
        let (feed, mut client) = listed(&registry);
        feed.data("data: a\n\n");
        client.next().await.unwrap().unwrap();
        assert_eq!(state(&registry), Open);
        advance(10 * SECOND).await;
        assert_eq!(state(&registry), shown);
        drop(client);
        assert_eq!(*told.lock().unwrap(), Some(shown), "the hook is shown the same");
    }
    assert_eq!(Stalled.to_string(), "stalled");
}

/// It is published only where it changed, and must not be missed.
#[tokio::test(start_paused = true)]
async fn the_place_that_is_shown_follows_every_change() {
    let registry = Registry::new();
    let place = || registry.snapshot()[0].last_event_id.clone().map(|id| id.as_str().to_owned());
    let ids = EventIdLayer::with(|n| format!("e-{n}").try_into().unwrap());
    for (numbered, expected) in [(Some(ids), Some("e-20")), (None, None)] {
        let layer = SseLayer::off().registry(registry.clone());
        let layer = match numbered {
            Some(ids) => layer.event_ids(ids),
            None => layer.keep_alive(KeepAliveLayer::every(SECOND)),
        };
        let request = http::Request::get("/").header("last-event-id", "41").body(()).unwrap();
        let (feed, mut client) = crate::harness::rig::open_with(&mut layer.layer(Handler), request);
        feed.data(": hello\n\n");
        client.now().await;
        assert_eq!(place().as_deref(), Some("41"));
        for n in 1..=20 {
            feed.data("data: a\n\n");
            client.now().await;
            if expected.is_some() {
                assert_eq!(place(), Some(format!("e-{n}")));
            }
        }
        // Without ids it is not known any more after a while.
        assert_eq!(place().as_deref(), expected);
    }
}
