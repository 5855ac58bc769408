//! Clients that first get the last events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tower_sse::event_log::{
    EventLog, GapPolicy, Logged, MemoryFollower, MemoryLog, MemoryLogError,
};
use tower_sse::event_log::{Start, Topic, Topics};
use tower_sse::hub::HubBody;
use tower_sse::{Event, EventId, Hub};

use crate::harness::bodies::read;
use crate::harness::history::{History, NAMES, SETS, all_events, events, said};
use crate::harness::hub::{all, append, follow, text, topic, topics};
use crate::harness::topics::data_of;

#[test]
fn a_client_that_names_no_position_first_gets_the_last_events_and_no_gap() {
    let hub = Hub::new(MemoryLog::builder().events(3).build().unwrap());
    // `busy` has lost events that are newer than those of `quiet`.
    for (name, data) in
        [("quiet", "a"), ("quiet", "b"), ("busy", "c"), ("busy", "d"), ("busy", "e"), ("busy", "f")]
    {
        append(hub.log(), name, data);
    }
    let sets: [&[&str]; 5] =
        [&["quiet"], &["busy"], &["quiet", "busy"], &["*"], &["quiet", ">", "new"]];
    let all: [&[&str]; 5] = [
        &["a", "b"],
        &["d", "e", "f"],
        &["a", "b", "d", "e", "f"],
        &["a", "b", "d", "e", "f"],
        &["a", "b", "d", "e", "f"],
    ];
    for (set, all) in sets.into_iter().zip(all) {
        for count in 0..7 {
            for policy in [GapPolicy::Replay, GapPolicy::Live, GapPolicy::End] {
                let body = hub.subscribe(topics(set)).last(count).on_gap(policy);
                let mut body = body.into_body();
                let expected = &all[all.len().saturating_sub(count)..];
                assert_eq!(said(&text(&mut body)), expected, "the last {count} of {set:?}");
            }
        }
    }
}

#[test]
fn a_client_that_comes_back_or_asks_for_now_gets_no_last_events() {
    let hub = Hub::default();
    let ids = ["a", "b", "c"].map(|text| append(hub.log(), "t", text));
    for (requested, expected) in [
        ("", &["b", "c"][..]),
        ("now", &[]),
        ("earliest", &["a", "b", "c"]),
        (ids[1].as_str(), &["c"]),
        (ids[2].as_str(), &[]),
        ("7-7", &["gap", "a", "b", "c"]),
    ] {
        let body = hub.subscribe(topic("t")).start(Start::requested(requested)).last(2);
        assert_eq!(said(&text(&mut body.into_body())), expected, "{requested:?}");
    }
}

#[tokio::test]
async fn the_end_of_a_topic_is_none_of_its_last_events_and_follows_them() {
    let hub = Hub::default();
    append(hub.log(), "t", "a");
    append(hub.log(), "t", "b");
    hub.finish(&topic("t")).await.unwrap();
    let mut body = hub.subscribe(topic("t")).last(1).into_body();
    assert_eq!(said(&text(&mut body)), ["b", "close"]);
    let mut body = hub.subscribe(topics(&["t", "u"])).last(5).into_body();
    assert_eq!(said(&text(&mut body)), ["a", "b"]);
}

#[test]
fn a_gap_after_the_last_events_is_told() {
    let hub = Hub::new(MemoryLog::builder().events(3).build().unwrap());
    (0..3).for_each(|n| drop(append(hub.log(), "t", &n.to_string())));
    let mut body = hub.subscribe(topic("t")).last(2).into_body();
    assert_eq!(said(&text(&mut body)), ["1", "2"]);
    (3..8).for_each(|n| drop(append(hub.log(), "t", &n.to_string())));
    assert_eq!(said(&text(&mut body)), ["gap", "5", "6", "7"]);
}

#[test]
fn a_body_that_looks_for_the_last_events_has_not_ended_and_leaves_nothing() {
    let hub = Hub::default();
    let body = hub.subscribe(topic("t")).last(2).into_body();
    assert!(!http_body::Body::is_end_stream(&body));
    assert_eq!(hub.log().topics(), 0);
    drop(body);
    let mut body = hub.subscribe(topic("t")).last(2).into_body();
    assert_eq!(text(&mut body), "");
    assert_eq!(hub.log().followers(&topic("t")), 1);
    drop(body);
    assert_eq!(hub.log().topics(), 0);
}

/// A log without a `last` of its own, which cannot be read at first.
#[derive(Clone)]
struct Own {
    log: MemoryLog,
    failures: Arc<AtomicU32>,
    /// So many events are appended after the next page was read.
    meanwhile: Arc<AtomicU32>,
}

impl EventLog for Own {
    type Error = MemoryLogError;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.log.append(topic, event).await
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.log.follow(topics, from)
    }

    async fn read(
        &self,
        topic: &Topic,
        from: Start,
        limit: usize,
    ) -> Result<tower_sse::event_log::Page, MemoryLogError> {
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            return Err(MemoryLogError::NoData);
        }
        let page = self.log.read(topic, from, limit.min(2)).await;
        for n in 0..self.meanwhile.swap(0, Ordering::Relaxed) {
            append(&self.log, topic.as_str(), &format!("new {n}"));
        }
        page
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
        self.log.latest(topics).await
    }
}

/// A log to which events are appended while it is asked for something.
#[derive(Clone)]
struct Busy(MemoryLog);

impl EventLog for Busy {
    type Error = MemoryLogError;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.0.append(topic, event).await
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        append(&self.0, "t", "before it is followed");
        self.0.follow(topics, from)
    }

    async fn last(&self, topics: &Topics, count: usize) -> Result<Vec<Logged>, MemoryLogError> {
        let last = self.0.last(topics, count).await;
        append(&self.0, "t", "after the last events");
        last
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
        let latest = self.0.latest(topics).await;
        append(&self.0, "t", "after the position");
        latest
    }
}

#[test]
fn an_event_that_comes_while_the_last_ones_are_looked_for_is_not_lost() {
    // Also if there are no last events.
    for before in [&["a"][..], &[]] {
        for set in [&["t"][..], &["t", "u"], &["*"]] {
            let log = MemoryLog::new();
            let hub = Hub::new(Busy(log.clone()));
            for text in before {
                append(&log, "t", text);
            }
            let mut body = hub.subscribe(topics(set)).last(2).into_body();
            let got = said(&text(&mut body));
            let there = all(&mut follow(&log, &["t"], Start::Earliest));
            assert_eq!((got.len(), got), (before.len() + 3, there), "{set:?}");
        }
    }
}

#[tokio::test]
async fn the_last_events_of_many_topics_are_looked_for_in_slices() {
    let hub = Hub::default();
    for n in 0..3_000 {
        append(hub.log(), &format!("t.{n}"), &n.to_string());
    }
    let mut body = hub.subscribe(topics(&["t.*"])).last(2).into_body();
    let mut polls = 0;
    let got = std::future::poll_fn(|cx| {
        polls += 1;
        http_body::Body::poll_frame(std::pin::Pin::new(&mut body), cx)
    });
    let got = got.await.unwrap().unwrap().into_data().unwrap();
    assert!(got.starts_with(b"data: 2998\n"), "{got:?}");
    assert_eq!(polls, 3);
}

fn own(failures: u32) -> Hub<Own> {
    let log = MemoryLog::builder().events(4).build().unwrap();
    Hub::new(Own { log, failures: Arc::new(failures.into()), meanwhile: Arc::default() })
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_look_from_the_end_has_the_same_last_events() {
    let hub = own(0);
    for (n, name) in ["a", "b", "a", "a", "a", "b", "a"].into_iter().enumerate() {
        append(&hub.log().log, name, &n.to_string());
    }
    for (set, all) in
        [(&["a"][..], &["2", "3", "4", "6"][..]), (&["a", "b"], &["1", "2", "3", "4", "5", "6"])]
    {
        for count in 1..8 {
            let mut body = hub.subscribe(topics(set)).last(count).into_body();
            let expected = &all[all.len().saturating_sub(count)..];
            let got = read(&mut body, Duration::from_secs(5)).await.text();
            assert_eq!(said(&got), expected, "the last {count} of {set:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_events_of_several_topics_are_known_without_a_silence() {
    let hub = own(0);
    for (n, name) in ["a", "b", "a", "c", "b"].into_iter().enumerate() {
        append(&hub.log().log, name, &n.to_string());
    }
    hub.finish(&topic("c")).await.unwrap();
    let began = tokio::time::Instant::now();
    let last = hub.log().last(&topics(&["a", "none", "b", "c"]), 3).await.unwrap();
    let last: Vec<_> = last.iter().map(|event| data_of(event.bytes())).collect();
    assert_eq!(last, ["2", "3", "4"]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// The client is not told of what is lost between two of its last events.
#[tokio::test(start_paused = true)]
async fn events_before_those_that_are_lost_while_a_topic_is_read_are_none_of_its_last_events() {
    let hub = own(0);
    for n in 0..4 {
        append(&hub.log().log, "t", &n.to_string());
    }
    hub.log().meanwhile.store(3, Ordering::Relaxed);
    let mut body = hub.subscribe(topic("t")).last(10).into_body();
    let got = read(&mut body, Duration::from_secs(5)).await.text();
    assert_eq!(said(&got), ["3", "new 0", "new 1", "new 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_search_for_the_last_events_ends_although_events_come_all_the_time() {
    let hub = own(0);
    let log = hub.log().log.clone();
    let publisher = tokio::spawn(async move {
        for n in 0_u32.. {
            append(&log, if n % 2 == 0 { "a" } else { "b" }, &n.to_string());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut body = hub.subscribe(topics(&["a", "b"])).last(2).into_body();
    let got = read(&mut body, Duration::from_secs(2)).await.text();
    publisher.abort();
    let got: Vec<u32> = said(&got).iter().map(|it| it.parse().unwrap()).collect();
    assert!(got.len() > 100 && got.windows(2).all(|it| it[0] + 1 == it[1]), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_a_log_that_is_away_and_gets_its_last_events() {
    let hub = own(3);
    append(&hub.log().log, "t", "a");
    append(&hub.log().log, "t", "b");
    let mut body = hub.subscribe(topic("t")).last(1).into_body();
    assert_eq!(read(&mut body, Duration::from_millis(2_500)).await.text(), "");
    let got = read(&mut body, Duration::from_secs(1)).await.text();
    assert_eq!(said(&got), ["b"]);
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    /// A client of a set that is new gets the last events, so many.
    Join(usize, usize),
    /// One of the clients reads so many chunks.
    Read(prop::sample::Index, usize),
    /// It comes back with the id of the last event that it has.
    Reconnect(prop::sample::Index),
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<prop::sample::Index>;
    prop_oneof![
        8 => (0..NAMES.len()).prop_map(Act::Append),
        2 => (0..SETS.len(), 1..8_usize).prop_map(|(set, count)| Act::Join(set, count)),
        4 => (any(), 1..4_usize).prop_map(|(at, chunks)| Act::Read(at, chunks)),
        2 => any().prop_map(Act::Reconnect),
    ]
}

struct Client {
    set: Topics,
    body: HubBody<MemoryLog>,
    /// Numbers of events that it is to get, or was told of in a gap.
    next: usize,
    last_event_id: String,
}

impl Client {
    /// Reads a chunk. Each event is the next one of the set, unless a gap tells that it is lost.
    fn read(&mut self, history: &History) -> Result<bool, TestCaseError> {
        let Some(events) = events(&mut self.body) else {
            prop_assert_eq!(history.of(&self.set, self.next).next(), None);
            return Ok(false);
        };
        for event in events {
            if event.event == "gap" {
                let lost = history.of(&self.set, self.next).any(|at| !history.is_kept(at));
                prop_assert!(lost, "a gap, and nothing is lost");
                // What comes at once is what is left.
                let left: Vec<_> =
                    history.of(&self.set, self.next).filter(|at| history.is_kept(*at)).collect();
                let got = all_events(&mut self.body);
                let numbers: Vec<usize> = got.iter().map(|it| it.data.parse().unwrap()).collect();
                prop_assert_eq!(numbers, left);
                self.next = history.len();
                self.last_event_id = got.last().unwrap_or(&event).last_event_id.clone();
                return Ok(true);
            }
            let number: usize = event.data.parse().unwrap();
            prop_assert_eq!(history.of(&self.set, self.next).next(), Some(number));
            prop_assert_eq!(&event.last_event_id, history.all[number].1.as_str());
            self.next = number + 1;
            self.last_event_id = event.last_event_id;
        }
        Ok(true)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn last_events_and_what_follows_are_what_a_list_of_everything_has(
        acts in vec(act(), 1..120),
    ) {
        let mut history = History::new();
        let hub = Hub::new(history.log.clone());
        let mut clients: Vec<Client> = Vec::new();
        for act in acts {
            match act {
                Act::Append(name) => history.append(name),
                Act::Join(set, count) => {
                    let set = topics(SETS[set]);
                    let mut body = hub.subscribe(set.clone()).last(count).into_body();
                    let got = all_events(&mut body);
                    let kept: Vec<usize> =
                        history.of(&set, 0).filter(|at| history.is_kept(*at)).collect();
                    let numbers: Vec<usize> = got.iter().map(|it| it.data.parse().unwrap()).collect();
                    prop_assert_eq!(&numbers[..], &kept[kept.len().saturating_sub(count)..]);
                    let last_event_id = got.last().map_or("", |it| &it.last_event_id).to_owned();
                    clients.push(Client { set, body, next: history.len(), last_event_id });
                }
                Act::Read(at, chunks) if !clients.is_empty() => {
                    let at = at.index(clients.len());
                    let client = &mut clients[at];
                    for _ in 0..chunks {
                        client.read(&history)?;
                    }
                }
                Act::Reconnect(at) if !clients.is_empty() => {
                    let at = at.index(clients.len());
                    let client = &mut clients[at];
                    // One that has nothing yet is new.
                    if !client.last_event_id.is_empty() {
                        let start = Start::requested(&client.last_event_id);
                        client.body = hub.subscribe(client.set.clone()).start(start).last(3).into_body();
                    }
                }
                _ => {}
            }
        }
        for client in &mut clients {
            while client.read(&history)? {}
        }
    }
}
