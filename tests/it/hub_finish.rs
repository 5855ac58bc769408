//! Topics that are over: what their followers are sent, and who is answered 204.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::task::Poll;
use std::thread;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use http::Request;
use http::request::Parts;
use http_body::Body;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower_sse::event_log::{GapPolicy, MemoryLog, Start, Topics};
use tower_sse::hub::{HubBody, Subscription};
use tower_sse::wire::{Decoder, MessageEvent};
use tower_sse::{EndReason, EventId, Hub, Registry, SseLayer};

use crate::harness::hub::{append, chunk, data, follow, id, next, said, text, topic, topics};
use crate::harness::net::Version::{H1, H2};
use crate::harness::net::{Client, listen, read_until};
use crate::harness::{LONG, SECOND};

fn finish(hub: &Hub, name: &str) -> EventId {
    hub.finish_blocking(&topic(name)).unwrap()
}

/// What a body sends now, and whether it then ends.
fn sent(mut body: HubBody<MemoryLog>) -> (Vec<String>, bool) {
    let mut bytes = Vec::new();
    let ended = loop {
        match chunk(&mut body) {
            Poll::Ready(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Poll::Ready(None) => break true,
            Poll::Pending => break false,
        }
    };
    let events = Decoder::new().decode(&bytes);
    (events.iter().map(word).collect(), ended && body.is_end_stream())
}

/// The data of an event, or its name if it has one.
fn word(event: &MessageEvent) -> String {
    match &*event.event {
        "message" => event.data.clone(),
        name => name.to_owned(),
    }
}

fn from(hub: &Hub, names: impl Into<Topics>, start: Start) -> (Vec<String>, bool) {
    sent(hub.subscribe(names).start(start).into_body())
}

/// The id that a client of these topics was sent with the close event.
fn told(hub: &Hub, names: impl Into<Topics>) -> EventId {
    let mut body = hub.subscribe(names).start(Start::Earliest).into_body();
    let events = Decoder::new().decode(text(&mut body).as_bytes());
    let close = events.last().unwrap();
    assert_eq!(close.event, "close");
    id(&close.last_event_id)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_topic_that_is_finished_says_close_to_its_followers_and_ends_their_streams() {
    let hub = Hub::default();
    let mut bodies = [(); 3].map(|()| hub.subscribe(topic("t")).into_body());
    let first = append(hub.log(), "t", "a");
    let end = finish(&hub, "t");
    for body in &mut bodies {
        let text = text(body);
        let close = format!("data: a\nid: {first}\n\nevent: close\nretry: 86400000\n");
        let rest = text.strip_prefix(&close).unwrap_or_else(|| panic!("{text}"));
        assert!(rest.starts_with(&format!("data: {{\"reason\":\"finished\"}}\nid: {end}.f")));
        assert!(rest.ends_with("\n\n") && body.is_end_stream());
        assert_eq!(chunk(body), Poll::Ready(None));
    }
    drop(bodies);
    assert_eq!(hub.log().followers(&topic("t")), 0);
}

#[test]
fn a_burst_before_the_end_is_sent_whole_and_then_the_close_event() {
    for events in [1_usize, 3, 4, 20, 500] {
        let hub = Hub::default();
        let mut body = hub.subscribe(topic("t")).into_body();
        let _other = hub.subscribe(topic("t")).into_body();
        for n in 0..events {
            append(hub.log(), "t", &n.to_string());
        }
        finish(&hub, "t");
        append(hub.log(), "t", "anew");
        let text = text(&mut body);
        assert!(!text.contains("anew") && !text.contains(": finished\n"), "{text}");
        let events_sent = Decoder::new().decode(text.as_bytes());
        let said: Vec<String> = events_sent.iter().map(word).collect();
        let numbers = (0..events).map(|n| n.to_string());
        assert_eq!(said, numbers.chain(["close".to_owned()]).collect::<Vec<_>>());
        assert!(body.is_end_stream());
    }
}

#[test]
fn a_client_that_comes_back_with_the_id_of_the_close_event_is_answered_204() {
    let hub = Hub::default();
    append(hub.log(), "t", "a");
    finish(&hub, "t");
    let place = told(&hub, topic("t")).as_str().to_owned();
    let by_query = format!("/?last_event_id={place}");
    for request in [
        request("/", &[("last-event-id", &place)]),
        request(&by_query, &[]),
        request("/?last_event_id=7-1", &[("last-event-id", &place)]),
    ] {
        let subscription = hub.subscribe(topic("t")).resume(&request);
        assert!(subscription.is_finished());
        let response = subscription.into_response();
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers().len(), 1);
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert_eq!(sent(response.into_body()), (vec![], true));
    }
    // Also where nothing is known of the topic any more.
    let start = Start::requested(&place);
    assert!(Hub::default().subscribe(topic("t")).start(start).is_finished());
}

#[test]
fn htmx_4_is_told_again_since_it_asks_on_after_a_204() {
    let hub = Hub::default();
    finish(&hub, "t");
    let place = told(&hub, topic("t")).as_str().to_owned();
    let of_htmx = [("last-event-id", &*place), ("hx-request", "true")];
    // Also where nothing is known of the topic any more, and each time.
    for hub in [&hub, &Hub::default()] {
        let subscription = hub.subscribe(topic("t")).resume(&request("/", &of_htmx));
        assert!(!subscription.is_finished());
        let response = subscription.into_response();
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        assert!(!body.is_end_stream());
        let text = text(&mut body);
        assert!(text.starts_with("event: close\nretry: 86400000\n"), "{text}");
        assert!(text.ends_with(&format!("\nid: {place}\n\n")), "{text}");
        assert!(body.is_end_stream());
    }
}

#[test]
fn a_client_that_comes_back_in_the_middle_gets_the_rest_and_then_the_close_event() {
    let hub = Hub::default();
    let ids = ["a", "b", "c"].map(|text| append(hub.log(), "t", text));
    finish(&hub, "t");
    let close = |rest: &[&str]| (words(&[rest, &["close"]].concat()), true);
    let [a, b, c] = ids.map(Start::After);
    assert_eq!(from(&hub, topic("t"), Start::Earliest), close(&["a", "b", "c"]));
    assert_eq!(from(&hub, topic("t"), a), close(&["b", "c"]));
    assert_eq!(from(&hub, topic("t"), b), close(&["c"]));
    assert_eq!(from(&hub, topic("t"), c), close(&[]));
    assert_eq!(from(&hub, topic("t"), Start::Unknown), close(&["gap", "a", "b", "c"]));
}

#[tokio::test]
async fn a_client_that_comes_when_all_is_over_is_told_at_once() {
    let hub = Hub::default();
    append(hub.log(), "t", "a");
    let end = finish(&hub, "t");
    append(hub.log(), "other", "x");
    let latest = hub.latest(topic("t")).await.unwrap();
    for start in [Start::Live, Start::After(end), Start::After(latest)] {
        assert_eq!(from(&hub, topic("t"), start), (words(&["close"]), true));
    }
    // One that was never used, too.
    finish(&hub, "empty");
    assert_eq!(from(&hub, topic("empty"), Start::Live), (words(&["close"]), true));
    // And one that was finished twice.
    finish(&hub, "empty");
    assert_eq!(from(&hub, topic("empty"), Start::Live), (words(&["close"]), true));
    assert_eq!(from(&hub, topic("empty"), Start::Earliest), (words(&["close"]), true));
}

#[test]
fn a_stream_of_several_topics_ends_when_all_of_them_are_finished() {
    let hub = Hub::default();
    let mut body = hub.subscribe(topics(&["a", "b", "c"])).into_body();
    append(hub.log(), "a", "1");
    finish(&hub, "a");
    finish(&hub, "c");
    append(hub.log(), "b", "2");
    let first = text(&mut body);
    assert!(!first.contains("close") && !first.contains("finished"), "{first}");
    assert!(!body.is_end_stream());

    // A client that comes back in the meantime knows nothing less.
    let place = id(Decoder::new().decode(first.as_bytes()).pop().unwrap().last_event_id);
    let mut returned = hub.subscribe(topics(&["a", "b", "c"])).after(place).into_body();
    assert_eq!(text(&mut returned), "");
    append(hub.log(), "b", "3");
    finish(&hub, "b");
    for body in [body, returned] {
        assert_eq!(sent(body), (words(&["3", "close"]), true));
    }
    let all = topics(&["c", "b", "a"]);
    assert_eq!(from(&hub, all.clone(), Start::Live), (words(&["close"]), true));
    let place = told(&hub, all.clone());
    assert!(hub.subscribe(all).start(Start::After(place)).is_finished());
}

#[test]
fn who_was_told_of_other_topics_gets_what_follows_of_these() {
    let hub = Hub::default();
    finish(&hub, "a");
    let place = told(&hub, topic("a"));
    append(hub.log(), "b", "1");
    for names in [topics(&["b"]), topics(&["a", "b"]), topics(&["b.*", "b"]), topics(&["*"])] {
        let subscription = hub.subscribe(names).after(place.clone());
        assert!(!subscription.is_finished());
        assert_eq!(sent(subscription.into_body()), (words(&["1"]), false));
    }
    // A pattern that has the same names beside it.
    let subscription = hub.subscribe(topics(&["a", "*"])).after(place);
    assert_eq!(sent(subscription.into_body()), (words(&["1"]), false));
}

#[test]
fn a_pattern_never_ends_and_its_clients_see_nothing_of_an_end() {
    let hub = Hub::default();
    let mut body = hub.subscribe(topics(&["orders.*", "orders.1"])).into_body();
    append(hub.log(), "orders.1", "paid");
    finish(&hub, "orders.1");
    append(hub.log(), "orders.2", "paid");
    finish(&hub, "orders.2");
    let text = text(&mut body);
    assert_eq!(Decoder::new().decode(text.as_bytes()).len(), 2, "{text}");
    assert!(!text.contains("finished") && !body.is_end_stream());
    let late = from(&hub, topics(&["orders.*"]), Start::Earliest);
    assert_eq!(late, (words(&["paid", "paid"]), false));
}

#[test]
fn a_topic_begins_anew_with_what_is_published_after_its_end() {
    let hub = Hub::default();
    let first = append(hub.log(), "t", "old");
    let before = hub.subscribe(topic("t")).into_body();
    let end = finish(&hub, "t");
    let anew = append(hub.log(), "t", "new");
    assert_eq!(sent(before), (words(&["close"]), true));
    // Who was in the middle gets no further than the end that there was.
    assert_eq!(from(&hub, topic("t"), Start::After(first)), (words(&["close"]), true));
    // Who comes from after it follows.
    assert_eq!(from(&hub, topic("t"), Start::After(end)), (words(&["new"]), false));
    assert_eq!(from(&hub, topic("t"), Start::After(anew.clone())), (vec![], false));
    assert_eq!(from(&hub, topic("t"), Start::Live), (vec![], false));
    let mut live = hub.subscribe(topic("t")).into_body();
    assert_eq!(text(&mut live), "");
    finish(&hub, "t");
    assert_eq!(sent(live), (words(&["close"]), true));

    // Of several topics, one that began anew has to be finished again.
    let mut both = hub.subscribe(topics(&["t", "u"])).into_body();
    append(hub.log(), "t", "newer");
    finish(&hub, "u");
    assert!(text(&mut both).contains("newer") && !both.is_end_stream());
    finish(&hub, "t");
    assert_eq!(sent(both), (words(&["close"]), true));
}

#[test]
fn a_filter_hides_events_and_not_the_end() {
    let hub = Hub::default();
    for names in [topics(&["t"]), topics(&["t", "u"])] {
        let filtered = hub.subscribe(names).start(Start::Earliest);
        let mut body = filtered.filter(|event| {
            assert!(!event.finishes_topic(), "it is not asked");
            false
        });
        body = body.on_gap(GapPolicy::Live);
        append(hub.log(), "t", "a");
        finish(&hub, "t");
        finish(&hub, "u");
        assert_eq!(sent(body.into_body()), (words(&["close"]), true));
    }
}

#[test]
fn the_end_comes_after_a_gap_whatever_the_policy() {
    let log = MemoryLog::builder().events(2).build().unwrap();
    let hub = Hub::new(log);
    let first = append(hub.log(), "t", "a");
    for text in ["b", "c"] {
        append(hub.log(), "t", text);
    }
    finish(&hub, "t");
    for (policy, expected) in [
        (GapPolicy::Replay, (words(&["gap", "c", "close"]), true)),
        (GapPolicy::Live, (words(&["gap", "close"]), true)),
        (GapPolicy::End, (words(&["gap"]), true)),
    ] {
        let body = hub.subscribe(topic("t")).after(first.clone()).on_gap(policy).into_body();
        assert_eq!(sent(body), expected, "{policy:?}");
    }
    // The place after that gap is the end.
    let mut body = hub.subscribe(topic("t")).after(first).on_gap(GapPolicy::End).into_body();
    let place = Decoder::new().decode(text(&mut body).as_bytes()).pop().unwrap().last_event_id;
    assert_eq!(from(&hub, topic("t"), Start::After(id(place))), (words(&["close"]), true));
}

/// The end of a topic is before the place of the client, and the events of another one are lost.
#[test]
fn a_topic_that_was_over_before_a_gap_keeps_no_stream_of_several_topics_open() {
    for policy in [GapPolicy::Replay, GapPolicy::Live] {
        let hub = Hub::new(MemoryLog::builder().events(2).build().unwrap());
        finish(&hub, "a");
        let place = append(hub.log(), "b", "1");
        for text in ["2", "3", "4"] {
            append(hub.log(), "b", text);
        }
        let subscription = hub.subscribe(topics(&["a", "b"])).after(place);
        let mut body = subscription.on_gap(policy).into_body();
        let first = text(&mut body);
        assert_eq!(first.contains("data: 3"), policy == GapPolicy::Replay, "{first}");
        assert!(first.starts_with("event: gap\n") && !first.contains("close"), "{first}");
        finish(&hub, "b");
        assert_eq!(sent(body), (words(&["close"]), true), "{policy:?}");
    }
}

/// The event with which a topic began anew is lost, so nothing but the gap tells of it.
#[tokio::test(start_paused = true)]
async fn a_topic_that_began_anew_in_a_gap_keeps_its_stream_open() {
    for policy in [GapPolicy::Replay, GapPolicy::Live] {
        for begins_anew in [true, false] {
            let what = format!("{policy:?} {begins_anew}");
            let hub = Hub::new(MemoryLog::builder().age(SECOND).build().unwrap());
            let names = topics(&["a", "b", "c"]);
            let mut body = hub.subscribe(names).on_gap(policy).into_body();
            finish(&hub, "a");
            finish(&hub, "b");
            assert_eq!(text(&mut body), "", "{what}");
            append(hub.log(), if begins_anew { "a" } else { "c" }, "lost");
            tokio::time::advance(2 * SECOND).await;
            append(hub.log(), "c", "1");
            assert!(text(&mut body).starts_with("event: gap\n"), "{what}");
            finish(&hub, "c");
            if begins_anew {
                assert_eq!(text(&mut body), "", "{what}");
                append(hub.log(), "a", "2");
                assert!(text(&mut body).starts_with("data: 2\n"), "{what}");
                finish(&hub, "a");
            }
            assert_eq!(sent(body), (words(&["close"]), true), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_in_memory_knows_of_an_end_until_the_topic_ends() {
    let log = MemoryLog::builder().age(10 * SECOND).idle(60 * SECOND).build().unwrap();
    let hub = Hub::new(log);
    append(hub.log(), "t", "a");
    finish(&hub, "t");
    let place = told(&hub, topic("t"));
    for _ in 0..5 {
        tokio::time::advance(11 * SECOND).await;
        assert_eq!(hub.log().topics(), 1);
        assert_eq!(from(&hub, topic("t"), Start::Live), (words(&["close"]), true));
    }
    assert_eq!(hub.log().window(&topic("t")).0, 1, "what was before it is gone in its time");
    tokio::time::advance(6 * SECOND).await;
    assert_eq!(hub.log().topics(), 0);
    assert_eq!(from(&hub, topic("t"), Start::Live), (vec![], false));
    // Who was told is known all the same.
    assert!(hub.subscribe(topic("t")).start(Start::After(place)).is_finished());
}

#[test]
fn followers_of_a_log_are_given_the_end_by_name_and_not_by_pattern() {
    let hub = Hub::default();
    append(hub.log(), "a", "1");
    finish(&hub, "a");
    append(hub.log(), "b", "2");
    let mut by_name = follow(hub.log(), &["a", "b"], Start::Live);
    assert!(said(&next(&mut by_name).unwrap()).contains("finished"));
    assert!(next(&mut by_name).is_none());
    let mut by_pattern = follow(hub.log(), &["*"], Start::Live);
    assert!(next(&mut by_pattern).is_none());
}

/// Where an event of another thread stands in the log, before the end or after it, it stands for
/// all.
#[test]
fn events_and_an_end_that_meet_are_in_one_order_for_all_clients() {
    for round in 0..200 {
        let hub = Hub::default();
        let bodies = [(); 4].map(|()| hub.subscribe(topic("t")).into_body());
        let together = Barrier::new(3);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    together.wait();
                    for n in 0..20 {
                        append(hub.log(), "t", &n.to_string());
                    }
                });
            }
            scope.spawn(|| {
                together.wait();
                for _ in 0..round % 20 {
                    thread::yield_now();
                }
                finish(&hub, "t");
            });
        });
        let [first, others @ ..] = bodies.map(sent);
        assert!(first.1 && first.0.last().unwrap() == "close", "{first:?}");
        assert_eq!(first.0.iter().filter(|word| *word == "close").count(), 1);
        for other in others {
            assert_eq!(other, first);
        }
        assert_eq!(from(&hub, topic("t"), Start::Earliest), first);
    }
}

/// What a client is sent by the rules alone: `published` are topics with whether they are finished,
/// `here` is how many of these there were when the client came, from after the first `start`.
fn expected(
    published: &[(usize, bool)],
    (start, here): (usize, usize),
    followed: &[usize],
) -> (Vec<String>, bool) {
    let (mut sent, mut over) = (Vec::new(), HashSet::new());
    for topic in followed {
        let last = published[..here].iter().rposition(|(it, _)| it == topic);
        if last.is_some_and(|last| last < start && published[last].1) {
            over.insert(*topic);
        }
    }
    let mut rest = published.iter().enumerate().skip(start);
    while over.len() < followed.len() {
        let Some((n, (topic, finishes))) = rest.next() else {
            return (sent, false);
        };
        match (followed.contains(topic), finishes) {
            (false, _) => {}
            (true, true) => drop(over.insert(*topic)),
            (true, false) => {
                over.remove(topic);
                sent.push(n.to_string());
            }
        }
    }
    sent.push("close".to_owned());
    (sent, true)
}

proptest! {
    #[test]
    fn whatever_is_finished_and_begun_anew_clients_are_sent_what_the_rules_say(
        published in prop::collection::vec((0..3_usize, any::<bool>()), 0..14),
        places in (0..15_usize, 0..15_usize),
        followed in prop::collection::btree_set(0..3_usize, 1..4),
        filtered: bool,
    ) {
        let here = places.0.min(published.len());
        let start = places.1.min(here);
        let followed: Vec<usize> = followed.into_iter().collect();
        let hub = Hub::default();
        let publish = |published: &[(usize, bool)], from: usize| -> Vec<EventId> {
            let published = published.iter().zip(from..);
            published.map(|((topic, finishes), n)| match finishes {
                true => finish(&hub, &topic.to_string()),
                false => append(hub.log(), &topic.to_string(), &n.to_string()),
            }).collect()
        };
        // So that the first place has an id, too.
        let first = append(hub.log(), "other", "");
        let ids = publish(&published[..here], 0);
        let place = if start == 0 { first } else { ids[start - 1].clone() };
        let names: Vec<String> = followed.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        let mut subscription = hub.subscribe(topics(&names)).after(place);
        if filtered {
            subscription = subscription.filter(|_| true);
        }
        let body = subscription.into_body();
        publish(&published[here..], here);
        prop_assert_eq!(sent(body), expected(&published, (start, here), &followed));
    }
}

async fn events(State(hub): State<Hub>, Path(name): Path<String>, start: Start) -> Subscription {
    hub.subscribe(topic(&name)).start(start)
}

async fn serve(hub: &Hub, registry: &Registry) -> SocketAddr {
    let (listener, address) = listen().await;
    let layer = SseLayer::new().registry(registry.clone());
    let app = Router::new().route("/{name}", get(events)).layer(layer).with_state(hub.clone());
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

#[tokio::test]
async fn over_sockets_a_stream_ends_whole_and_its_client_is_answered_204() {
    let reasons = std::sync::Arc::<std::sync::Mutex<Vec<EndReason>>>::default();
    let registry = {
        let reasons = reasons.clone();
        Registry::builder().on_close(move |_, reason| reasons.lock().unwrap().push(reason))
    };
    let (hub, registry) = (Hub::default(), registry.build().unwrap());
    let address = serve(&hub, &registry).await;
    for (version, name) in [(H1, "one"), (H2, "two")] {
        let mut client = Client::connect(address, version).await;
        let response = client.get(&format!("/{name}")).await;
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        hub.publish(&topic(name), data("a")).await.unwrap();
        hub.finish(&topic(name)).await.unwrap();
        let mut text = String::new();
        read_until(&mut body, &mut text, |_| false).await.unwrap();
        let mut decoder = Decoder::new();
        let said: Vec<String> = decoder.decode(text.as_bytes()).iter().map(word).collect();
        assert_eq!(said, ["a", "close"]);
        let place = decoder.last_event_id().to_owned();

        // On the same connection, which is whole.
        let response = client.get(&format!("/{name}?last_event_id={place}")).await;
        assert_eq!(response.status(), 204);
        let mut text = String::new();
        read_until(&mut response.into_body(), &mut text, |_| false).await.unwrap();
        assert_eq!(text, "");
        let again = client.get(&format!("/{name}")).await;
        let mut text = String::new();
        read_until(&mut again.into_body(), &mut text, |_| false).await.unwrap();
        assert!(text.contains("event: close\n") && !text.contains("data: a\n"), "{text}");
    }
    assert!(registry.is_empty());
    let reasons = reasons.lock().unwrap();
    assert!(reasons.len() == 4 && reasons.iter().all(|reason| *reason == EndReason::Finished));
}

#[tokio::test]
async fn a_204_has_no_body_and_no_head_of_a_stream() {
    let hub = Hub::default();
    hub.finish(&topic("t")).await.unwrap();
    let place = told(&hub, topic("t"));
    let address = serve(&hub, &Registry::new()).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /t HTTP/1.1\r\nhost: x\r\nlast-event-id: {place}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(LONG, socket.read_to_string(&mut answer));
    read.await.expect("it ends").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 204 No Content\r\ncache-control: no-store\r\n"), "{head}");
    assert!(!head.contains("content-type") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(body, "");
}
