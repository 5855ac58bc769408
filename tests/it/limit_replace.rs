//! At a key's cap the oldest stream may be told to go, and the new one is let in.

use std::sync::{Arc, Mutex};

use http::{HeaderValue, Request};
use tower::{Layer, ServiceExt};
use tower_sse::wire::Decoder;
use tower_sse::{
    EndReason, Event, EventIdLayer, Farewell, KeepAliveLayer, Limit, LimitBuilder, LimitLayer,
    Registry, Shutdown, SseLayer, SseService,
};

use crate::harness::SECOND;
use crate::harness::layers;
use crate::harness::rig::{Client, Fate, Feed, Handler, LIKELY, get, open, open_with, unevenness};

/// By user; the newest of each stay.
fn newest(max: usize) -> LimitBuilder {
    let limit = Limit::builder().per_key(max, |request| {
        request.headers.get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned)
    });
    limit.replace_oldest().retry(7 * SECOND..=7 * SECOND)
}

fn open_as(user: &'static str, service: &mut SseService<Handler>) -> (Feed, Client) {
    let mut request = get();
    request.headers_mut().insert("x-user", HeaderValue::from_static(user));
    open_with(service, request)
}

const REPLACED: &str = "event: close\nretry: 7000\ndata: {\"reason\":\"replaced\"}\n";

#[tokio::test(start_paused = true)]
async fn the_oldest_of_the_key_is_told_and_the_new_one_is_let_in() {
    let limit = newest(2).build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let mut alices: Vec<_> = (0..2).map(|_| open_as("alice", &mut service)).collect();
    let (_bob_feed, mut bob) = open_as("bob", &mut service);
    for (feed, client) in &mut alices {
        feed.data("data: a\nid: 7\n\ndata: half");
        assert_eq!(client.now().await.0, "data: a\nid: 7\n\n");
    }
    let (feed, mut newest) = open_as("alice", &mut service);
    let (seen, fate) = alices[0].1.now().await;
    assert_eq!((seen, fate), (format!("{REPLACED}id: 7\n\n"), Fate::Ended));
    assert_eq!(alices[1].1.now().await, (String::new(), Fate::Open));
    assert_eq!(bob.now().await, (String::new(), Fate::Open));
    feed.data("data: b\n\n");
    assert_eq!(newest.now().await, ("data: b\n\n".into(), Fate::Open));
    assert_eq!((limit.open(), limit.keys(), limit.refused()), (3, 2, 0));

    // The one that was replaced gives nothing back; the others do, each once.
    let _ = alices.remove(0);
    assert_eq!((limit.open(), limit.keys()), (3, 2));
    drop((alices, newest));
    assert_eq!((limit.open(), limit.keys()), (1, 1));
}

/// A task that waits for its body is woken.
#[tokio::test(start_paused = true)]
async fn the_oldest_is_woken_whatever_it_waits_for() {
    for layer in [
        SseLayer::off(),
        SseLayer::new(),
        SseLayer::new().keep_alive(KeepAliveLayer::off()).registry(Registry::new()),
        SseLayer::new().event_ids(EventIdLayer::sequential()).shutdown(Shutdown::new()),
    ] {
        let mut service = layer.limit(newest(1).build().unwrap()).layer(Handler);
        let mut ends = Vec::new();
        for _ in 0..5 {
            let (feed, client) = open_as("alice", &mut service);
            feed.data("data: a\n\n");
            ends.push((feed, tokio::spawn(client.rest())));
            tokio::time::sleep(SECOND).await;
        }
        let last = ends.pop().unwrap();
        for (_feed, end) in ends {
            assert!(end.is_finished());
            assert!(end.await.unwrap().contains(REPLACED));
        }
        assert!(!last.1.is_finished());
        last.1.abort();
    }
}

/// Its client does not read: it is not polled, and counts no more all the same.
#[tokio::test(start_paused = true)]
async fn a_stalled_oldest_blocks_nobody() {
    let limit = newest(1).build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let (old_feed, mut old) = open_as("alice", &mut service);
    old.now().await;
    old_feed.data("data: not taken\n\n");
    let mut open: Vec<_> = (0..100).map(|_| open_as("alice", &mut service)).collect();
    assert_eq!((limit.open(), limit.keys(), limit.refused()), (1, 1, 0));
    assert_eq!(open.last_mut().unwrap().1.now().await.1, Fate::Open);
    // Whoever is polled at last says farewell, also one that never was before.
    assert_eq!(old.now().await, (format!("{REPLACED}\n"), Fate::Ended));
    assert_eq!(open[50].1.now().await, (format!("{REPLACED}\n"), Fate::Ended));
    drop((old, open));
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}

/// A signal to another is not taken for one's own.
#[tokio::test(start_paused = true)]
async fn nobody_goes_but_the_oldest() {
    let limit = newest(1).build().unwrap();
    let registry = Registry::new();
    let mut service =
        SseLayer::off().limit(limit.clone()).registry(registry.clone()).layer(Handler);
    let users: Vec<&'static str> = (0..200).map(|n| &*format!("user {n}").leak()).collect();
    let mut streams: Vec<_> = users.iter().map(|user| open_as(user, &mut service)).collect();
    for user in users.iter().step_by(2) {
        streams.push(open_as(user, &mut service));
    }
    registry.broadcast(Event::new().data("all"));
    for (n, (_, client)) in streams.iter_mut().enumerate() {
        let replaced = n < 200 && n % 2 == 0;
        let (seen, fate) = client.now().await;
        assert_eq!((seen.contains(REPLACED), fate == Fate::Ended), (replaced, replaced), "{n}");
        assert!(seen.starts_with("data: all\n\n"), "{n}: {seen}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_key_and_at_the_cap_in_all_a_request_is_refused() {
    let limit = Limit::builder().max(2).per_key(2, |request| {
        request.headers.get("x-user").and_then(|user| user.to_str().ok()).map(str::to_owned)
    });
    let limit = limit.replace_oldest().build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let mut first = open_as("alice", &mut service);
    let mut second = open(&mut service);
    assert!(open(&mut service).1.now().await.0.contains("event: limit\n"));
    assert!(open_as("bob", &mut service).1.now().await.0.contains("event: limit\n"));
    assert!(open_as("alice", &mut service).1.now().await.0.contains("event: limit\n"));
    for client in [&mut first.1, &mut second.1] {
        assert_eq!(client.now().await.1, Fate::Open);
    }
    assert_eq!((limit.open(), limit.keys(), limit.refused()), (2, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_stream_counts_as_kicked_and_ends_with_the_farewell_that_was_set() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ends);
    let registry = Registry::builder().on_close(move |_, why| told.lock().unwrap().push(why));
    let limit = newest(1).farewell(Farewell::reconnect()).build().unwrap();
    let layer = SseLayer::off().limit(limit.clone()).registry(registry.build().unwrap());
    let mut service = layer.layer(Handler);
    let (_old_feed, mut old) = open_as("alice", &mut service);
    old.now().await;
    let _new = open_as("alice", &mut service);
    let farewell = REPLACED.replace("close", "reconnect");
    assert_eq!(old.now().await, (format!("{farewell}\n"), Fate::Ended));
    assert_eq!(*ends.lock().unwrap(), [EndReason::Kicked]);
}

/// In the middle of a long event nothing can be said, and after a while it is cut.
#[tokio::test(start_paused = true)]
async fn the_oldest_in_a_long_event_ends_after_it_or_is_cut() {
    for finishes in [true, false] {
        let layer = SseLayer::off().hold_limit(8).limit(newest(1).build().unwrap());
        let mut service = layer.layer(Handler);
        let (feed, mut old) = open_as("alice", &mut service);
        feed.data("data: far too long");
        old.now().await;
        let (_new_feed, mut new) = open_as("alice", &mut service);
        assert_eq!(old.now().await, (String::new(), Fate::Open));
        assert_eq!(new.now().await.1, Fate::Open);
        if finishes {
            feed.data(" to hold\n\n");
            assert_eq!(old.now().await.0, format!(" to hold\n\n{REPLACED}\n"));
        } else {
            assert_eq!(tokio::time::timeout(10 * SECOND, old.rest()).await.unwrap(), "");
        }
    }
}

/// Clients that are replaced together do not come back together.
#[tokio::test(start_paused = true)]
async fn replaced_clients_are_told_to_come_back_spread_over_time() {
    let limit = newest(1).retry(2 * SECOND..=10 * SECOND).build().unwrap();
    let mut service = LimitLayer::new(limit.clone()).layer(Handler);
    let mut retries = Vec::new();
    let mut old = open_as("alice", &mut service);
    for _ in 0..10_000 {
        let new = open_as("alice", &mut service);
        let mut decoder = Decoder::new();
        decoder.decode(std::mem::replace(&mut old, new).1.rest().await.as_bytes());
        let retry = decoder.retry().unwrap().as_secs_f64();
        assert!((2.0..=10.0).contains(&retry));
        retries.push((retry - 2.0) / 8.0);
    }
    let uneven = unevenness(&mut retries);
    assert!(uneven < LIKELY, "{uneven}");
}

/// The layer that replaces is not heard by the one that looks after the stream.
#[tokio::test(start_paused = true)]
async fn the_oldest_is_replaced_through_middleware_that_drops_extensions() {
    let limit = Limit::builder().max(9).per_key(1, |_| 7).replace_oldest().build().unwrap();
    let inner =
        SseLayer::new().layer(layers::handler_of(|| vec![crate::harness::bodies::Step::Hang]));
    let forgetful = inner.map_request(|_: Request<()>| Request::new(()));
    let service = LimitLayer::new(limit.clone()).layer(forgetful);
    let mut old = service.clone().oneshot(Request::new(())).await.unwrap().into_body();
    let read =
        tokio::spawn(async move { crate::harness::bodies::read(&mut old, 60 * SECOND).await });
    tokio::time::sleep(SECOND).await;
    let never_polled = service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(limit.open(), 1);
    let read = read.await.unwrap();
    assert!(read.ended && read.text().contains(r#"{"reason":"replaced"}"#), "{read:?}");
    drop(never_polled);
    assert_eq!((limit.open(), limit.keys()), (0, 0));
}
