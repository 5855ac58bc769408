//! A stream is on the list from the first sign of it until it is over, whatever ends it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use http::Request;
use tokio::time::{Instant, advance};
use tower::Layer;
use tower_sse::{
    EndReason, Event, EventId, EventIdLayer, Farewell, InvalidSetting, KeepAliveLayer, Label,
    NoBufferLayer, Registry, RegistryLayer, Shutdown, SseLayer, StreamState,
};

use crate::harness::rig::{
    Client, Failure, Fate, Feed, Handler, Piece, call, get, open, open_with,
};

/// A registry, and the ends that its hook was told of.
fn watched() -> (Registry, Arc<Mutex<Vec<EndReason>>>) {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&ends);
    let registry = Registry::builder()
        .count_events(true)
        .on_close(move |_, reason| told.lock().unwrap().push(reason));
    (registry.build().unwrap(), ends)
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_listed_before_it_is_polled() {
    let registry = Registry::new();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let response = call(&mut service, get());
    assert_eq!(registry.len(), 1);
    drop(response);
    assert!(registry.is_empty());
}

/// What may happen to a stream in the end.
type Ending = fn(Registry, Shutdown, Feed, Client) -> futures_util::future::BoxFuture<'static, ()>;

#[tokio::test(start_paused = true)]
async fn a_stream_leaves_once_whatever_ends_it() {
    #[rustfmt::skip]
    let table: &[(&str, EndReason, Ending)] = &[
        ("normal end", EndReason::Finished, |_, _, feed, client| async move {
            feed.data("data: a\n\n");
            drop(feed);
            client.rest().await;
        }.boxed()),
        ("client drop", EndReason::ClientGone, |_, _, feed, mut client| async move {
            feed.data("data: a\n\n");
            client.now().await;
        }.boxed()),
        ("body never polled", EndReason::ClientGone, |_, _, _, client| async move {
            drop(client);
        }.boxed()),
        ("inner error", EndReason::Error, |_, _, feed, mut client| async move {
            feed.give(Piece::Fail);
            assert_eq!(client.now().await.1, Fate::Failed);
        }.boxed()),
        ("truncated end", EndReason::Error, |_, _, feed, mut client| async move {
            feed.data("data: half");
            drop(feed);
            assert_eq!(client.now().await.1, Fate::Ended);
        }.boxed()),
        ("panic", EndReason::Error, |_, _, feed, client| async move {
            feed.give(Piece::Panic);
            assert!(tokio::spawn(client.rest()).await.unwrap_err().is_panic());
        }.boxed()),
        ("drain", EndReason::Closed, |_, shutdown, _, client| async move {
            shutdown.trigger();
            client.rest().await;
        }.boxed()),
        ("kick", EndReason::Kicked, |registry, _, _, client| async move {
            registry.close_where(|_| true, Farewell::none());
            client.rest().await;
        }.boxed()),
        ("long event cut", EndReason::Cut, |_, _, feed, client| async move {
            feed.data(format!("data: {}", "x".repeat(70_000)));
            drop(feed);
            client.rest().await;
        }.boxed()),
    ];
    for (name, reason, ending) in table {
        let (registry, ends) = watched();
        let shutdown = Shutdown::builder().window(Duration::ZERO).build().unwrap();
        let layer = SseLayer::new().registry(registry.clone()).shutdown(shutdown.clone());
        let (feed, client) = open(&mut layer.layer(Handler));
        assert_eq!(registry.len(), 1, "{name}");
        ending(registry.clone(), shutdown, feed, client).await;
        assert_eq!(registry.len(), 0, "{name}");
        assert!(registry.snapshot().is_empty(), "{name}");
        assert_eq!(*ends.lock().unwrap(), [*reason], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_is_caught_further_out_is_an_error_all_the_same() {
    let (registry, ends) = watched();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let (feed, mut client) = open(&mut service);
    feed.give(Piece::Panic);
    let polled = std::panic::AssertUnwindSafe(client.next()).catch_unwind();
    assert!(polled.await.is_err());
    drop(client);
    assert!(registry.is_empty());
    assert_eq!(*ends.lock().unwrap(), [EndReason::Error]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_kept_after_its_end_has_left_the_registry() {
    let (registry, ends) = watched();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let (feed, mut client) = open(&mut service);
    drop(feed);
    assert_eq!(client.now().await, (String::new(), Fate::Ended));
    assert_eq!((registry.len(), ends.lock().unwrap().len()), (0, 1));
    drop(client);
    assert_eq!(ends.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_is_not_listed() {
    let (registry, ends) = watched();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let head = Request::head("/events").body(()).unwrap();
    drop(call(&mut service, head));
    let silenced = RegistryLayer::off().layer(Handler);
    let mut service = RegistryLayer::new(registry.clone()).layer(silenced);
    let (_feed, _client) = open(&mut service);
    assert_eq!((registry.len(), ends.lock().unwrap().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_tells_all_of_a_stream() {
    let (registry, _) = watched();
    let layer = SseLayer::new()
        .no_buffer(NoBufferLayer::off())
        .keep_alive(KeepAliveLayer::every(Duration::from_secs(10)).jitter(0.0))
        .event_ids(EventIdLayer::sequential())
        .registry(RegistryLayer::new(registry.clone()).label(|request| {
            let tokens = request.uri.query().unwrap_or_default();
            tokens.replace("token=", "user ")
        }));
    let opened = Instant::now();
    let request = Request::post("/chat?token=7").header("last-event-id", "41");
    let (feed, mut client) = open_with(&mut layer.layer(Handler), request.body(()).unwrap());

    let [seen] = &registry.snapshot()[..] else { panic!("one stream is open") };
    assert_eq!((seen.method.as_str(), &*seen.path), ("POST", "/chat"));
    assert_eq!(seen.label, Label::new("user 7").unwrap());
    assert_eq!((seen.bytes, seen.keepalives, seen.events), (0, 0, Some(0)));
    assert_eq!(seen.started, opened.into_std());
    assert_eq!((seen.last_sent, seen.last_polled), (None, None));
    assert_eq!(seen.state, StreamState::Open);

    let mut sent = client.now().await.0.len();
    advance(Duration::from_secs(3)).await;
    feed.data("data: a\n\ndata: b\n\ndata: half");
    sent += client.now().await.0.len();
    let seen = registry.get(seen.id).unwrap();
    assert_eq!(seen.bytes, sent as u64);
    assert_eq!(seen.events, Some(2));
    assert_eq!(seen.last_event_id.as_ref().unwrap().as_str(), "2");
    let sent_at = seen.started + Duration::from_secs(3);
    assert_eq!((seen.last_sent, seen.last_polled), (Some(sent_at), Some(sent_at)));

    let frames = client.during(Duration::from_secs(21)).await;
    let seen = registry.get(seen.id).unwrap();
    assert_eq!(seen.keepalives as usize, frames.len());
    assert!(frames.len() >= 2, "{frames:?}");
    assert_eq!(seen.events, Some(2), "comments are no events");

    assert!(registry.close(seen.id, Farewell::close()));
    let seen = registry.get(seen.id).unwrap();
    assert_eq!(seen.state, StreamState::Closing);
    assert_eq!(client.now().await.1, Fate::Ended);
    assert!(registry.get(seen.id).is_none());
}

#[tokio::test(start_paused = true)]
async fn events_are_counted_only_if_asked_for() {
    let registry = Registry::new();
    let (feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    feed.data("data: a\n\n");
    client.now().await;
    let seen = &registry.snapshot()[0];
    assert_eq!((seen.events, seen.bytes), (None, 9));
}

#[tokio::test(start_paused = true)]
async fn the_last_id_follows_the_stream_and_what_is_sent_into_it() {
    let (registry, _) = watched();
    let (feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    let moving = Event::new().data("d").id(EventId::from_static("y"));
    let steps: [(&dyn Fn(), &str); 4] = [
        (&|| feed.data("id: x\ndata: a\n\n"), "x"),
        (&|| feed.data("data: b\n\n"), "x"),
        (&|| feed.data("id: held\ndata: c\n"), "x"),
        (&|| assert_eq!(registry.broadcast(moving.clone()).sent, 1), "y"),
    ];
    for (step, last) in steps {
        step();
        client.now().await;
        let seen = &registry.snapshot()[0];
        assert_eq!(seen.last_event_id.as_ref().unwrap().as_str(), last);
    }
}

#[tokio::test(start_paused = true)]
async fn labels_that_do_not_fit_are_mended() {
    let registry = Registry::new();
    for label in ["é".repeat(1_000), "a\r\nb\0".into(), "\u{7}".repeat(500), String::new()] {
        let layer = RegistryLayer::new(registry.clone()).label(move |_| label.clone());
        let (_feed, _client) = open(&mut layer.layer(Handler));
        let shown = registry.snapshot()[0].label.clone();
        assert!(shown.as_str().len() <= 128);
        assert!(!shown.as_str().contains(char::is_control), "{shown:?}");
        assert!(Label::new(shown.as_str()).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_panic_harm_nobody() {
    let registry = Registry::builder()
        .on_open(|_| panic!("on_open panics, as the test wants"))
        .on_close(|_, _| panic!("on_close panics, as the test wants"))
        .build()
        .unwrap();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let (feed, client) = open(&mut service);
    feed.data("data: a\n\n");
    drop(feed);
    assert_eq!(client.rest().await, "data: a\n\n");
    // The worst: a hook that panics while the stream's own panic unwinds.
    let (feed, client) = open(&mut service);
    feed.give(Piece::Panic);
    assert!(tokio::spawn(client.rest()).await.unwrap_err().is_panic());
    let (_feed, mut client) = open(&mut service);
    assert_eq!(registry.len(), 1);
    assert_eq!(registry.broadcast(Event::new().data("b")).sent, 1);
    assert_eq!(client.now().await, ("data: b\n\n".into(), Fate::Open));
}

#[tokio::test(start_paused = true)]
async fn hooks_may_use_the_registry() {
    let slot: Arc<Mutex<Option<Registry>>> = Arc::default();
    let (on_open, on_close) = (Arc::clone(&slot), Arc::clone(&slot));
    let builder = Registry::builder().on_open(move |stream| {
        let registry = on_open.lock().unwrap().clone().unwrap();
        assert!(registry.get(stream.id).is_some());
        registry.send(stream.id, Event::new().data("hello")).unwrap();
    });
    let builder = builder.on_close(move |stream, _| {
        let registry = on_close.lock().unwrap().clone().unwrap();
        assert!(registry.get(stream.id).is_none());
        registry.broadcast(Event::new().data("left"));
    });
    let registry = builder.build().unwrap();
    *slot.lock().unwrap() = Some(registry.clone());
    let mut service = RegistryLayer::new(registry).layer(Handler);
    let (_feed, mut stays) = open(&mut service);
    let (_, leaves) = open(&mut service);
    drop(leaves);
    assert_eq!(stays.now().await.0, "data: hello\n\ndata: left\n\n");
}

#[test]
fn a_mailbox_without_room_is_refused() {
    let error: InvalidSetting = Registry::builder().mailbox(0).build().unwrap_err();
    assert_eq!(error.setting(), "mailbox");
}

#[tokio::test(start_paused = true)]
async fn an_error_is_the_handlers_own() {
    let (_feed, mut client) = {
        let mut service = RegistryLayer::new(Registry::new()).layer(Handler);
        let (feed, client) = open(&mut service);
        feed.give(Piece::Fail);
        (feed, client)
    };
    assert_eq!(client.next().await, Some(Err(Failure)));
    assert_eq!(client.next().await, None);
}
