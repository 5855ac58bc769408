//! Topics that are finished at one node, and their clients at the others.

use http_body_util::BodyExt;
use tokio::time::timeout;
use tower_sse::event_log::{EventLog, RedisLog, Start, Topics};
use tower_sse::wire::Decoder;
use tower_sse::{EventId, Hub};

use crate::harness::broker::{LONG, append, data, topic, topics};
use crate::harness::nats::{self, Nats};
use crate::harness::redis::{self, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_in_redis_is_finished_for_the_clients_of_each_node() {
    let server = Server::start().await;
    // A window of two events, which are not the last ones of a topic for long.
    let settings = || RedisLog::builder().window_events(2).window_bytes(1 << 20);
    let log = async || redis::connect(settings(), &server.url()).await;
    a_topic_is_finished_for_the_clients_of_each_node(log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_in_nats_is_finished_for_the_clients_of_each_node() {
    let server = Nats::start().await;
    let settings = || nats::settings().window_events(2);
    let log = async || server.log_with(settings()).await;
    a_topic_is_finished_for_the_clients_of_each_node(log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_in_nats_is_finished_for_patterns_never() {
    let server = Nats::start().await;
    let hub = Hub::new(server.log().await);
    let body = hub.subscribe(topics(&["t.*"])).start(Start::Earliest).into_body();
    append(hub.log(), "t.a", "1").await;
    hub.finish(&topic("t.a")).await.unwrap();
    append(hub.log(), "t.b", "2").await;
    assert_eq!(said(body, 2).await, ["1", "2"]);
}

async fn a_topic_is_finished_for_the_clients_of_each_node<L: EventLog>(log: impl AsyncFn() -> L) {
    let [a, b] = [Hub::new(log().await), Hub::new(log().await)];
    append(a.log(), "other", "0").await;
    let at_both = [&a, &b].map(|hub| hub.subscribe(topic("t")).into_body());
    append(a.log(), "t", "1").await;
    let second = append(b.log(), "t", "2").await;
    let end = a.finish(&topic("t")).await.unwrap();
    let mut place = None;
    for body in at_both {
        let events = all(body).await;
        let [(one, _), (two, _), (close, id)] = &*events else { panic!("{events:?}") };
        assert_eq!((&**one, &**two, &**close), ("1", "2", FINISHED));
        assert!(id.starts_with(end.as_str()));
        place = Some(EventId::new(id).unwrap());
    }
    let told = Start::After(place.unwrap());

    // What is published besides, so that the end is in no window any more.
    let mut latest = a.latest(topic("t")).await.unwrap();
    for round in 0..2 {
        let c = Hub::new(log().await);
        for hub in [&a, &b, &c] {
            assert!(hub.subscribe(topic("t")).start(told.clone()).is_finished());
            let from = async |start| all(hub.subscribe(topic("t")).start(start).into_body()).await;
            for start in [Start::Live, Start::After(end.clone()), Start::After(latest.clone())] {
                let events = from(start.clone()).await;
                assert_eq!(events.len(), 1, "{round} {start:?} {events:?}");
                assert_eq!(events[0].0, FINISHED);
            }
            assert_eq!(from(Start::After(second.clone())).await.len(), 1);
            assert_eq!(from(Start::Earliest).await.len(), 3);
        }
        for n in 0..5 {
            append(a.log(), "other", &n.to_string()).await;
        }
        latest = b.latest(topic("t")).await.unwrap();
    }

    let both: Topics = topics(&["t", "u"]);
    let follow = |hub: &Hub<L>| hub.subscribe(both.clone()).into_body();
    let bodies = [follow(&a), follow(&b)];
    append(a.log(), "u", "3").await;
    b.finish(&topic("u")).await.unwrap();
    for body in bodies {
        let events = all(body).await;
        let said: Vec<&str> = events.iter().map(|(data, _)| &**data).collect();
        assert_eq!(said, ["3", FINISHED]);
    }
    let late = all(follow(&Hub::new(log().await))).await;
    assert_eq!(late.len(), 1);

    // It begins anew.
    a.publish(&topic("t"), data("4")).await.unwrap();
    let body = b.subscribe(topic("t")).after(end).into_body();
    assert_eq!(said(body, 1).await, ["4"]);
}

const FINISHED: &str = r#"{"reason":"finished"}"#;

type Body<L> = tower_sse::hub::HubBody<L>;

/// The data and the id of each event, up to the end.
async fn all<L: EventLog>(body: Body<L>) -> Vec<(String, String)> {
    let body = timeout(LONG, Box::pin(body).collect()).await.expect("it ends");
    let Ok(body) = body;
    let events = Decoder::new().decode(&body.to_bytes());
    events.into_iter().map(|event| (event.data, event.last_event_id)).collect()
}

/// The data of the first events.
async fn said<L: EventLog>(body: Body<L>, count: usize) -> Vec<String> {
    let (mut body, mut decoder, mut said) = (Box::pin(body), Decoder::new(), Vec::new());
    while said.len() < count {
        let frame = timeout(LONG, body.frame()).await.expect("more comes").expect("it goes on");
        let Ok(frame) = frame;
        let events = decoder.decode(&frame.into_data().unwrap());
        said.extend(events.into_iter().map(|event| event.data));
    }
    said
}
