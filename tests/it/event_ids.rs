//! Events get ids that count up, and those that have one keep it.

use tower::Layer;
use tower_sse::wire::Decoder;
use tower_sse::{Event, EventId, EventIdLayer, KeepAliveLayer, Registry, SseLayer};

use crate::harness::rig::{Client, Handler, open};

/// The data and the id of each event that a client sees of `chunks`.
async fn ids(layer: EventIdLayer, chunks: &[&'static str]) -> Vec<(String, String)> {
    let (feed, client): (_, Client) = open(&mut layer.layer(Handler));
    for chunk in chunks {
        feed.data(*chunk);
    }
    drop(feed);
    let events = Decoder::new().decode(client.rest().await.as_bytes());
    events.into_iter().map(|event| (event.data, event.last_event_id)).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(data, id)| ((*data).to_owned(), (*id).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn events_without_an_id_are_numbered_one_by_one() {
    let chunks = ["data: a\n\nda", "ta: b\n", "\n: no event\n\nretry: 7\n\ndata: c\r\n\r\n"];
    let seen = ids(EventIdLayer::sequential(), &chunks).await;
    assert_eq!(seen, pairs(&[("a", "1"), ("b", "2"), ("c", "3")]));
}

#[tokio::test(start_paused = true)]
async fn an_id_of_the_streams_own_is_kept() {
    let chunks = ["id: x\ndata: a\n\n", "data: b\n\n", "data: c\nid\n\n", "id: n\0\ndata: d\n\n"];
    let seen = ids(EventIdLayer::sequential(), &chunks).await;
    // The empty id is one: it says that the client is to forget its own. One with a NUL is none.
    assert_eq!(seen, pairs(&[("a", "x"), ("b", "1"), ("c", ""), ("d", "2")]));
}

#[tokio::test(start_paused = true)]
async fn ids_can_be_the_applications() {
    let layer = EventIdLayer::with(|n| EventId::with_epoch(7, n));
    let seen = ids(layer, &["data: a\n\ndata: b\n\n"]).await;
    let [first, second] = [1, 2].map(|n| EventId::with_epoch(7, n));
    assert_eq!(seen, pairs(&[("a", first.as_str()), ("b", second.as_str())]));
}

/// One rule, whichever way an event takes: alone in its chunk, among others, or sent by a registry.
#[tokio::test(start_paused = true)]
async fn an_empty_id_of_the_function_gives_an_event_no_id_wherever_it_comes_from() {
    let registry = Registry::new();
    let odd = |n: u64| if n % 2 == 1 { n.to_string() } else { String::new() };
    let ids = EventIdLayer::with(move |n| EventId::new(odd(n)).unwrap());
    let layer = SseLayer::new().keep_alive(KeepAliveLayer::off()).event_ids(ids);
    let (feed, mut client) = open(&mut layer.registry(registry.clone()).layer(Handler));
    feed.data("data: a\n\n");
    feed.data("data: b\n\n");
    feed.data("event: e\ndata: c\n\n");
    feed.data("event: e\ndata: d\n\ndata: e\n\ndata: f\n\n");
    let expected = "data: a\nid: 1\n\ndata: b\n\nevent: e\ndata: c\nid: 3\n\n\
                    event: e\ndata: d\n\ndata: e\nid: 5\n\ndata: f\n\n";
    assert_eq!(client.now().await.0, expected);
    assert_eq!(registry.snapshot()[0].last_event_id.as_ref().unwrap().as_str(), "5");
    for expected in ["data: x\nid: 7\n\n", "data: x\n\n"] {
        registry.broadcast(Event::new().data("x"));
        assert_eq!(client.now().await.0, expected);
    }
    assert_eq!(registry.snapshot()[0].last_event_id.as_ref().unwrap().as_str(), "7");
}

#[tokio::test(start_paused = true)]
async fn every_stream_counts_for_itself() {
    let mut service = EventIdLayer::sequential().layer(Handler);
    for _ in 0..2 {
        let (feed, mut client) = open(&mut service);
        feed.data("data: a\n\n");
        assert_eq!(client.now().await.0, "data: a\nid: 1\n\n");
    }
}
