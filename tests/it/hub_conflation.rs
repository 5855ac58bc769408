//! Clients that lag, and get the newest event of each key.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;
use tower_sse::Hub;
use tower_sse::event_log::{Logged, MemoryLog, Start, Topics};
use tower_sse::hub::{Conflation, HubBody};

use crate::harness::history::{History, NAMES, SETS, all_events, events, said};
use crate::harness::hub::{append, data_of, text, topic, topics};

const LAG: usize = 3;
const EVENTS: usize = 6;

/// The key of an event of these tests: that of the topics `a` and `b`.
fn key(event: &Logged) -> Option<String> {
    Some(event.topic().to_string()).filter(|name| name.len() == 1)
}

fn conflation() -> Conflation {
    Conflation::by(key).lag(LAG).events(EVENTS)
}

#[test]
fn a_client_that_keeps_up_gets_each_event() {
    let hub = Hub::default();
    let mut body = hub.subscribe(topic("a")).conflate(conflation()).into_body();
    let mut got = Vec::new();
    for n in 0..30 {
        append(hub.log(), "a", &n.to_string());
        if n % LAG == LAG - 1 {
            got.extend(said(&text(&mut body)));
        }
    }
    assert_eq!(got, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn no_key_waits_for_one_that_changes_all_the_time() {
    let hub = Hub::default();
    let mut body = hub.subscribe(topics(&["a", "b"])).conflate(conflation()).into_body();
    let mut got = Vec::new();
    for n in 0..100 {
        // Both change between any two events that the client reads.
        append(hub.log(), "a", &format!("a{n}"));
        append(hub.log(), "b", &format!("b{n}"));
        got.extend(events(&mut body).into_iter().flatten().map(|it| it.data));
    }
    for key in ["a", "b"] {
        let count = got.iter().filter(|it| it.starts_with(key)).count();
        assert!(count >= 40, "{count} of {}: {got:?}", got.len());
    }
}

#[tokio::test]
async fn a_gap_and_the_end_come_after_the_events_before_them() {
    let hub = Hub::new(MemoryLog::builder().events(8).build().unwrap());
    let mut body = hub.subscribe(topic("a")).conflate(conflation().events(4)).into_body();
    assert_eq!(said(&text(&mut body)), [""; 0]);
    for n in 0..20 {
        append(hub.log(), "a", &n.to_string());
    }
    hub.finish(&topic("a")).await.unwrap();
    assert_eq!(said(&text(&mut body)), ["gap", "19", "close"]);
    assert!(http_body::Body::is_end_stream(&body));
}

#[test]
fn what_a_filter_leaves_out_replaces_nothing_and_names_are_those_of_what_is_sent() {
    let hub = Hub::default();
    let body = hub.subscribe(topics(&["a", "b"])).conflate(conflation()).name_by_topic();
    let mut body = body.filter(|event| data_of(event.bytes()) != "no").into_body();
    for (name, data) in [("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"), ("a", "no"), ("b", "no")] {
        append(hub.log(), name, data);
    }
    assert_eq!(said(&text(&mut body)), ["b", "a"]);
}

/// What a client is sent of the events that wait for it, and how many of them are taken.
fn batch(waiting: &[usize], history: &History) -> (VecDeque<usize>, usize) {
    let key = |at: usize| Some(history.all[at].0).filter(|name| NAMES[*name].len() == 1);
    let left = |taken: &[usize]| -> VecDeque<usize> {
        let is_replaced = |place: usize| {
            let later = &taken[place + 1..];
            key(taken[place]).is_some_and(|of| later.iter().any(|at| key(*at) == Some(of)))
        };
        let stays = |place: &usize| taken.len() <= LAG || !is_replaced(*place);
        (0..taken.len()).filter(stays).map(|place| taken[place]).collect()
    };
    let full = (1..=waiting.len()).find(|len| left(&waiting[..*len]).len() >= EVENTS);
    let taken = full.unwrap_or(waiting.len());
    (left(&waiting[..taken]), taken)
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    Join(usize),
    /// One of the clients reads so many events.
    Read(prop::sample::Index, usize),
    /// It comes back with the id of the last event that it has.
    Reconnect(prop::sample::Index),
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<prop::sample::Index>;
    prop_oneof![
        12 => (0..NAMES.len()).prop_map(Act::Append),
        1 => (0..SETS.len()).prop_map(Act::Join),
        4 => (any(), 1..5_usize).prop_map(|(at, events)| Act::Read(at, events)),
        1 => any().prop_map(Act::Reconnect),
    ]
}

struct Client {
    set: Topics,
    body: HubBody<MemoryLog>,
    /// What was taken and not sent.
    batch: VecDeque<usize>,
    /// The first event that was not taken.
    next: usize,
    /// The first event that was there after the client joined.
    joined: usize,
    got: Vec<usize>,
}

impl Client {
    fn read(&mut self, history: &History) -> Result<bool, TestCaseError> {
        if self.batch.is_empty() {
            let waiting: Vec<usize> = history.of(&self.set, self.next).collect();
            let taken;
            (self.batch, taken) = batch(&waiting, history);
            self.next = waiting.get(taken).copied().unwrap_or(history.len());
        }
        let events = events(&mut self.body).unwrap_or_default();
        let got: Vec<usize> = events.iter().map(|it| it.data.parse().unwrap()).collect();
        let expected: Vec<usize> = self.batch.pop_front().into_iter().collect();
        prop_assert_eq!(&got, &expected);
        for (event, at) in events.iter().zip(&got) {
            prop_assert_eq!(&*event.last_event_id, history.all[*at].1.as_str());
        }
        self.got.extend(&got);
        Ok(!got.is_empty())
    }

    /// All that it got, over all of its connections.
    fn check(&self, history: &History) -> Result<(), TestCaseError> {
        prop_assert!(self.got.windows(2).all(|it| it[0] < it[1]), "in order, and once");
        for at in history.of(&self.set, self.joined) {
            let name = history.all[at].0;
            let is_newest = !history.all[at + 1..].iter().any(|it| it.0 == name);
            if NAMES[name].len() > 1 || is_newest {
                prop_assert!(self.got.contains(&at), "{} is missing", at);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_client_that_lags_and_comes_back_gets_what_a_list_of_everything_says_and_the_newest_of_each_key(
        acts in vec(act(), 1..150),
    ) {
        let mut history = History::keeping(1_000);
        let hub = Hub::new(history.log.clone());
        let mut clients: Vec<Client> = Vec::new();
        for act in acts {
            match act {
                Act::Append(name) => history.append(name),
                Act::Join(set) => {
                    let set = topics(SETS[set]);
                    let body = hub.subscribe(set.clone()).conflate(conflation()).into_body();
                    let (batch, joined) = (VecDeque::new(), history.len());
                    clients.push(Client { set, body, batch, next: joined, joined, got: Vec::new() });
                }
                Act::Read(at, times) if !clients.is_empty() => {
                    let at = at.index(clients.len());
                    for _ in 0..times {
                        clients[at].read(&history)?;
                    }
                }
                Act::Reconnect(at) if !clients.is_empty() => {
                    let at = at.index(clients.len());
                    let client = &mut clients[at];
                    if let Some(last) = client.got.last() {
                        let start = Start::After(history.all[*last].1.clone());
                        let body = hub.subscribe(client.set.clone()).start(start);
                        client.body = body.conflate(conflation()).into_body();
                        (client.batch, client.next) = (VecDeque::new(), last + 1);
                    }
                }
                _ => {}
            }
        }
        for client in &mut clients {
            while client.read(&history)? {}
            prop_assert_eq!(all_events(&mut client.body).len(), 0);
            client.check(&history)?;
        }
    }
}
