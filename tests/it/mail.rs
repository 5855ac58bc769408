//! What the application sends into streams goes between their events, and a close is a close.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{
    Delivery, Event, EventId, EventIdLayer, EventName, Farewell, KeepAliveLayer, NoBufferLayer,
    Registry, RegistryLayer, SendError, SseLayer, StreamId,
};

use crate::harness::LONG;
use crate::harness::rig::{Client, Fate, Handler, open};

fn event(data: &str) -> Event {
    Event::new().data(data)
}

fn only_id(registry: &Registry) -> StreamId {
    let [stream] = &registry.snapshot()[..] else { panic!("one stream is open") };
    stream.id
}

#[tokio::test(start_paused = true)]
async fn an_event_goes_before_the_tail_that_is_held() {
    let registry = Registry::new();
    let (feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    feed.data("data: a\n\ndata: ha");
    assert_eq!(client.now().await.0, "data: a\n\n");
    registry.send(only_id(&registry), event("in")).unwrap();
    assert_eq!(client.now().await.0, "data: in\n\n");
    feed.data("lf\n\n");
    assert_eq!(client.now().await.0, "data: half\n\n");
}

#[tokio::test(start_paused = true)]
async fn an_event_arrives_at_once_in_a_silent_stream() {
    let registry = Registry::new();
    let (_feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    let read = tokio::spawn(async move { client.next().await });
    tokio::task::yield_now().await;
    assert_eq!(registry.broadcast(event("in")).sent, 1);
    assert_eq!(read.await.unwrap(), Some(Ok(Bytes::from("data: in\n\n"))));
}

#[tokio::test(start_paused = true)]
async fn an_event_waits_for_the_end_of_one_too_long_to_hold() {
    let registry = Registry::new();
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::off());
    let layer = layer.registry(registry.clone()).hold_limit(8);
    let (feed, mut client) = open(&mut layer.layer(Handler));
    feed.data("data: far too long");
    assert_eq!(client.now().await.0, "data: far too long");
    for data in ["1", "2"] {
        assert_eq!(registry.broadcast(event(data)).sent, 1);
        assert_eq!(client.now().await.0, "");
    }
    feed.data("!\n\ndata: b\n\n");
    let seen = client.now().await.0;
    assert_eq!(seen, "!\n\ndata: b\n\ndata: 1\n\ndata: 2\n\n");
}

#[tokio::test(start_paused = true)]
async fn events_end_their_lines_as_the_stream_does() {
    let registry = Registry::new();
    for end in ["\r\n", "\r", "\n"] {
        let (feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
        feed.data("data: a\n\n".replace('\n', end));
        registry.broadcast(Event::new().event(EventName::from_static("x")).data("1\n2"));
        client.now().await;
        registry.broadcast(Event::new().event(EventName::from_static("x")).data("1\n2"));
        let expected = "event: x\ndata: 1\ndata: 2\n\n".replace('\n', end);
        assert_eq!(client.now().await.0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_are_sent_are_numbered_with_the_streams_own() {
    let registry = Registry::new();
    let layer = SseLayer::new().registry(registry.clone());
    let layer = layer.event_ids(EventIdLayer::sequential());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    client.now().await;
    feed.data("data: a\n\n");
    let mut seen = client.now().await.0;
    registry.broadcast(event("b"));
    registry.broadcast(event("c").id(EventId::from_static("own")));
    registry.broadcast(Event::new().comment("none"));
    seen += &client.now().await.0;
    feed.data("data: d\n\n");
    seen += &client.now().await.0;
    let ids = Decoder::new().decode(seen.as_bytes());
    let ids: Vec<&str> = ids.iter().map(|event| &*event.last_event_id).collect();
    assert_eq!(ids, ["1", "2", "own", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_is_bounded_and_nobody_else_suffers() {
    let registry = Registry::new();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let (_feed, mut stalled) = open(&mut service);
    let id = only_id(&registry);
    let mut others: Vec<_> = (0..9).map(|_| open(&mut service)).collect();
    for n in 0..200 {
        let Delivery { sent, dropped, .. } = registry.broadcast(event(&n.to_string()));
        assert_eq!((sent, dropped), if n < 64 { (10, 0) } else { (9, 1) });
        for (_, client) in &mut others {
            assert_eq!(client.now().await.0, format!("data: {n}\n\n"));
        }
    }
    assert_eq!(registry.send(id, event("x")), Err(SendError::Full));
    let seen = (0..64).map(|n| format!("data: {n}\n\n")).collect::<Vec<_>>().concat();
    assert_eq!(stalled.now().await.0, seen);
    assert_eq!(registry.send(id, event("x")), Ok(()));
    drop(stalled);
    assert_eq!(registry.send(id, event("x")), Err(SendError::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_holds_what_it_was_built_for() {
    let registry = Registry::builder().mailbox(2).build().unwrap();
    let (_feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    let fits: Vec<usize> = (0..4).map(|_| registry.broadcast(event("x")).sent).collect();
    assert_eq!(fits, [1, 1, 0, 0]);
    // A close finds room always, and comes behind what was there before.
    registry.close_where(|_| true, Farewell::event(event("bye")));
    let seen = client.now().await;
    let expected = "data: x\n\ndata: x\n\ndata: bye\n\n";
    assert_eq!(seen, (expected.into(), Fate::Ended));
}

#[tokio::test(start_paused = true)]
async fn broadcast_where_asks_for_each_stream() {
    let registry = Registry::new();
    let mut clients: Vec<Client> = Vec::new();
    let mut feeds = Vec::new();
    for user in ["a", "b", "a"] {
        let layer = RegistryLayer::new(registry.clone()).label(move |_| user);
        let (feed, client) = open(&mut layer.layer(Handler));
        feeds.push(feed);
        clients.push(client);
    }
    let delivery = registry.broadcast_where(|stream| stream.label.as_str() == "a", event("x"));
    assert_eq!((delivery.sent, delivery.dropped), (2, 0));
    for (client, expected) in clients.iter_mut().zip(["data: x\n\n", "", "data: x\n\n"]) {
        assert_eq!(client.now().await.0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn close_where_ends_those_and_only_those() {
    let registry = Registry::new();
    let mut streams = Vec::new();
    for user in ["42", "7", "42"] {
        let layer = RegistryLayer::new(registry.clone()).label(move |_| user);
        streams.push(open(&mut layer.layer(Handler)));
    }
    let chosen = registry.close_where(|it| it.label.as_str() == "42", Farewell::close());
    assert_eq!((chosen, registry.len()), (2, 3));
    let closed = "event: close\ndata: {\"reason\":\"kicked\"}\n\n";
    for ((_, client), user) in streams.iter_mut().zip(["42", "7", "42"]) {
        let expected = if user == "42" { (closed, Fate::Ended) } else { ("", Fate::Open) };
        assert_eq!(client.now().await, (expected.0.to_owned(), expected.1));
    }
    assert_eq!(registry.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_kicked_is_really_over() {
    let registry = Registry::new();
    let layer = SseLayer::new().registry(registry.clone());
    let layer = layer.no_buffer(NoBufferLayer::off());
    let (feed, mut client) = open(&mut layer.layer(Handler));
    client.now().await;
    feed.data("id: 3\ndata: a\n\ndata: half");
    client.now().await;
    let id = only_id(&registry);
    assert!(registry.close(id, Farewell::close()));
    feed.data("\n\ndata: too late\n\n");
    let expected = "event: close\ndata: {\"reason\":\"kicked\"}\nid: 3\n\n";
    assert_eq!(client.now().await, (expected.into(), Fate::Ended));
    assert!(feed.is_gone() && registry.is_empty());
    assert!(client.during(Duration::from_secs(600)).await.is_empty());
    assert!(!registry.close(id, Farewell::close()));
    assert_eq!(registry.send(id, event("x")), Err(SendError::Gone));
}

#[tokio::test(start_paused = true)]
async fn of_two_kicks_the_first_is_heard() {
    let registry = Registry::new();
    let (_feed, mut client) = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    for bye in ["one", "two"] {
        assert!(registry.close(only_id(&registry), Farewell::event(event(bye))));
    }
    assert_eq!(client.now().await, ("data: one\n\n".into(), Fate::Ended));
}

#[tokio::test(start_paused = true)]
async fn a_kick_in_a_long_event_waits_for_its_end_and_not_for_ever() {
    for (rest, end) in [(Some("!\n\n"), "!\n\ndata: bye\n\n"), (None, "")] {
        let registry = Registry::new();
        let layer = SseLayer::new().keep_alive(KeepAliveLayer::off());
        let layer = layer.registry(registry.clone()).hold_limit(8);
        let (feed, mut client) = open(&mut layer.layer(Handler));
        feed.data("data: far too long");
        client.now().await;
        registry.close(only_id(&registry), Farewell::event(event("bye")));
        assert_eq!(client.now().await, (String::new(), Fate::Open));
        if let Some(rest) = rest {
            feed.data(rest);
        }
        assert_eq!(client.rest().await, end);
        assert!(registry.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_never_finds_a_newer_stream() {
    let registry = Registry::new();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let (_, first) = open(&mut service);
    let gone = only_id(&registry);
    drop(first);
    // More than enough to use every slot again.
    for _ in 0..1_000 {
        let (_feed, mut client) = open(&mut service);
        assert_ne!(only_id(&registry), gone);
        assert!(registry.get(gone).is_none());
        assert_eq!(registry.send(gone, event("x")), Err(SendError::Gone));
        assert!(!registry.close(gone, Farewell::close()));
        assert_eq!(client.now().await, (String::new(), Fate::Open));
    }
}

#[tokio::test(start_paused = true)]
async fn ids_are_running_numbers_and_are_not_given_again() {
    let registry = Registry::new();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    let streams: Vec<_> = (0..100).map(|_| open(&mut service)).collect();
    let shown = || registry.snapshot().iter().map(|stream| stream.id.to_string()).collect();
    let ids: Vec<String> = shown();
    assert!(ids.iter().map(|id| id.parse::<usize>().unwrap()).eq(1..=100));
    drop(streams);
    let _later = (open(&mut service), open(&mut service));
    let ids: Vec<String> = shown();
    assert_eq!(ids, ["101", "102"]);
    let old = (1..=100).map(|id: u64| id.to_string().parse().unwrap());
    assert!(old.into_iter().all(|id| registry.get(id).is_none()));
}

#[tokio::test(start_paused = true)]
async fn an_id_survives_being_written_down() {
    let registry = Registry::new();
    let _stream = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    let id = only_id(&registry);
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["0", "2", "18446744073709551615"] {
        assert!(registry.get(text.parse().unwrap()).is_none(), "{text}");
    }
    for text in ["", "-1", "18446744073709551616", "x"] {
        assert!(text.parse::<StreamId>().is_err(), "{text}");
    }
}

/// Runs `work` on a thread of its own, since it might never return.
fn returns(work: impl FnOnce() + Send + 'static) -> bool {
    let (done, is_done) = mpsc::channel();
    std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(LONG).is_ok()
}

#[test]
fn a_choice_may_use_the_registry() {
    let registry = Registry::new();
    let stream = open(&mut RegistryLayer::new(registry.clone()).layer(Handler));
    assert!(returns(move || {
        // Here, or its drop would wait for ever too.
        let _stream = stream;
        let known = |id| registry.get(id).is_some() && registry.snapshot().len() == 1;
        registry.broadcast_where(|stream| known(stream.id), event("x"));
        registry.close_where(|stream| known(stream.id), Farewell::close());
    }));
}

#[tokio::test(start_paused = true)]
async fn a_choice_that_panics_leaves_nobody_without_their_mail() {
    let registry = Registry::new();
    let mut service = RegistryLayer::new(registry.clone()).layer(Handler);
    // Each twice in the same shard of the list.
    let mut streams: Vec<_> = (0..128).map(|_| open(&mut service)).collect();
    for (_, client) in &mut streams {
        client.now().await;
    }
    let asked = std::cell::Cell::new(0);
    let broadcast = std::panic::AssertUnwindSafe(|| {
        let choose = |_: &_| {
            asked.set(asked.get() + 1);
            assert!(asked.get() < 2, "as the test wants");
            true
        };
        registry.broadcast_where(choose, event("x"));
    });
    assert!(std::panic::catch_unwind(broadcast).is_err());
    // All or nothing, but not something that is seen with the next event only.
    let mut first = String::new();
    for (_, client) in &mut streams {
        first += &client.now().await.0;
    }
    registry.broadcast(event("y"));
    let mut second = String::new();
    for (_, client) in &mut streams {
        second += &client.now().await.0;
    }
    assert!(!second.contains('x'), "late mail; at once came {first:?}");
}
