//! Clients that follow several topics, and are told of which an event is.

use tower_sse::event_log::{GapPolicy, Logged, Start};
use tower_sse::wire::Decoder;
use tower_sse::{EventName, Hub};

use crate::harness::hub::{append, chunk, data, id, text, topic, topics};

#[tokio::test]
async fn a_client_of_several_topics_is_told_the_topic_of_each_event_by_its_name() {
    let hub = Hub::default();
    let named = data("paid").event(EventName::from_static("status"));
    hub.publish(&topic("orders.1"), named).await.unwrap();
    append(hub.log(), "news", "extra");
    let body = hub.subscribe(topics(&["news", "orders.*"])).start(Start::Earliest);
    let mut body = body.name_by_topic().into_body();
    let sent = text(&mut body);
    let events = Decoder::new().decode(sent.as_bytes());
    let said: Vec<_> = events.iter().map(|it| (&*it.event, &*it.data)).collect();
    assert_eq!(said, [("orders.1", "paid"), ("news", "extra")]);
    assert!(!sent.contains("status"));
}

#[test]
fn a_function_names_some_events_and_leaves_others_as_they_are() {
    let hub = Hub::default();
    let ids = ["a", "b"].map(|name| append(hub.log(), name, "x"));
    let name =
        |event: &Logged| (event.topic().as_str() == "a").then(|| EventName::from_static("first"));
    let body = hub.subscribe(topics(&["a", "b"])).start(Start::Earliest).name_by(name);
    let expected = format!("event: first\ndata: x\nid: {}\n\ndata: x\nid: {}\n\n", ids[0], ids[1]);
    assert_eq!(text(&mut body.into_body()), expected);
}

#[tokio::test]
async fn a_gap_and_the_end_keep_their_names() {
    let hub = Hub::default();
    append(hub.log(), "t", "x");
    hub.finish(&topic("t")).await.unwrap();
    let body = hub.subscribe(topic("t")).after(id("7-7")).name_by_topic();
    let sent = text(&mut body.on_gap(GapPolicy::Replay).into_body());
    let names: Vec<_> =
        Decoder::new().decode(sent.as_bytes()).into_iter().map(|it| it.event).collect();
    assert_eq!(names, ["gap", "t", "close"]);
}

#[test]
fn clients_that_are_told_no_topic_share_the_bytes_of_an_event() {
    let hub = Hub::default();
    let set = topics(&["a", "b"]);
    let mut plain = [(); 2].map(|()| hub.subscribe(set.clone()).into_body());
    let mut named = hub.subscribe(set.clone()).name_by(|_| None).into_body();
    append(hub.log(), "a", "x");
    let address = |body: &mut _| match chunk(body) {
        std::task::Poll::Ready(Some(bytes)) => bytes.as_ptr().addr(),
        other => panic!("no event but {other:?}"),
    };
    let first = address(&mut plain[0]);
    assert_eq!(address(&mut plain[1]), first);
    assert_eq!(address(&mut named), first);
}
