//! Clients that get a state in place of the events that led to it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::Duration;

use http_body::Body;
use http_body_util::combinators::BoxBody;
use proptest::collection::vec;
use proptest::prelude::*;
use tower_sse::event_log::{MemoryLog, Start, Topics};
use tower_sse::hub::{HubBody, Snapshot, SnapshotRequest};
use tower_sse::wire::{Decoder, MessageEvent};
use tower_sse::{Event, EventName, Hub};

use crate::harness::bodies::read;
use crate::harness::history::{History, NAMES, SETS, events};
use crate::harness::hub::{append, id, text, topic, topics};

const STATE: EventName = EventName::from_static("state");

fn decoded(text: &str) -> Vec<MessageEvent> {
    Decoder::new().decode(text.as_bytes())
}

fn said(text: &str) -> Vec<String> {
    decoded(text).into_iter().map(|it| format!("{} {}", it.event, it.data)).collect()
}

/// A snapshot that says why it was made.
fn simple() -> Snapshot {
    Snapshot::by(|request: SnapshotRequest| async move {
        let why = request.gap.map_or("new", |gap| gap.reason.as_str());
        Ok::<_, Infallible>(Event::new().event(STATE).data(why))
    })
}

/// As a `BoxBody` asks for, whatever the function's future is.
#[test]
fn a_body_with_snapshots_fits_among_the_bodies_of_hyper() {
    let snapshot = Snapshot::by(|_: SnapshotRequest| async {
        let not_sync = std::cell::Cell::new("state");
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Event::new().data(not_sync.get()))
    });
    let body = Hub::default().subscribe(topic("t")).snapshot(snapshot).into_body();
    let boxed: BoxBody<_, Infallible> = BoxBody::new(body);
    assert!(!boxed.is_end_stream());
}

#[tokio::test]
async fn a_new_client_and_one_that_lost_events_get_a_snapshot_and_others_get_none() {
    for (requested, expected) in [
        ("", &["state new", "message e"][..]),
        ("now", &["message e"]),
        ("earliest", &["message c", "message d", "message e"]),
        ("b", &["message c", "message d", "message e"]),
        ("d", &["message e"]),
        ("a", &["state expired", "message e"]),
        ("7-7", &["state restarted", "message e"]),
        ("x", &["state unknown", "message e"]),
    ] {
        let hub = Hub::new(MemoryLog::builder().events(2).build().unwrap());
        let ids = ["a", "b", "c", "d"].map(|text| (text, append(hub.log(), "t", text)));
        let id = ids.iter().find(|it| it.0 == requested);
        let start = Start::requested(id.map_or(requested, |(_, id)| id.as_str()));
        let mut body = hub.subscribe(topic("t")).start(start).snapshot(simple()).into_body();
        let before = text(&mut body);
        append(hub.log(), "t", "e");
        assert_eq!(said(&(before + &text(&mut body))), expected, "{requested:?}");
    }
}

#[tokio::test]
async fn a_client_that_comes_back_after_a_snapshot_gets_what_follows_it() {
    let hub = Hub::default();
    append(hub.log(), "t", "a");
    let mut body = hub.subscribe(topic("t")).snapshot(simple()).into_body();
    let first = decoded(&text(&mut body));
    assert_eq!(first.len(), 1);
    append(hub.log(), "t", "b");
    let start = Start::requested(&first[0].last_event_id);
    let mut body = hub.subscribe(topic("t")).start(start).snapshot(simple()).into_body();
    assert_eq!(said(&text(&mut body)), ["message b"]);
}

#[tokio::test]
async fn a_state_that_knows_its_position_is_followed_by_what_comes_after_that() {
    let hub = Hub::default();
    let ids = ["a", "b", "c"].map(|text| append(hub.log(), "t", text));
    let known = ids[1].clone();
    let snapshot = Snapshot::by(move |_| {
        let event = Event::new().event(STATE).data("a, b").id(known.clone());
        async move { Ok::<_, Infallible>(event) }
    });
    let mut body = hub.subscribe(topic("t")).snapshot(snapshot).into_body();
    let got = text(&mut body);
    assert_eq!(said(&got), ["state a, b", "message c"]);
    assert_eq!(decoded(&got)[0].last_event_id, ids[1].as_str());
    assert_eq!(got.matches("\nid: ").count(), 2);
}

#[tokio::test]
async fn the_end_of_a_topic_follows_the_snapshot() {
    let hub = Hub::default();
    append(hub.log(), "t", "a");
    hub.finish(&topic("t")).await.unwrap();
    let mut body = hub.subscribe(topic("t")).snapshot(simple()).into_body();
    assert_eq!(said(&text(&mut body)), ["state new", "close {\"reason\":\"finished\"}"]);
    assert!(body.is_end_stream());
}

/// How a snapshot fails.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Error,
    PanicsAtOnce,
    PanicsLater,
    NeverEnds,
    HasNoData,
}

fn failing(fault: Fault) -> Snapshot {
    Snapshot::by(move |_: SnapshotRequest| {
        assert!(!matches!(fault, Fault::PanicsAtOnce), "as asked");
        async move {
            tokio::task::yield_now().await;
            match fault {
                Fault::Error => Err("as asked"),
                Fault::HasNoData => Ok(Event::new().comment("x")),
                Fault::NeverEnds => pending().await,
                _ => panic!("as asked"),
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_fails_panics_or_never_ends_sends_the_client_away_with_its_position() {
    for fault in
        [Fault::Error, Fault::PanicsAtOnce, Fault::PanicsLater, Fault::NeverEnds, Fault::HasNoData]
    {
        let hub = Hub::default();
        append(hub.log(), "t", "a");
        for (start, position) in [("", ""), ("7-7", "7-7")] {
            let snapshot = failing(fault).timeout(Duration::from_secs(3));
            let body = hub.subscribe(topic("t")).start(Start::requested(start)).snapshot(snapshot);
            let mut body = body.into_body();
            let early = read(&mut body, Duration::from_millis(2_990)).await;
            let is_bounded = matches!(fault, Fault::NeverEnds);
            assert_eq!(early.ended, !is_bounded, "{fault:?}");
            let late = read(&mut body, Duration::from_millis(20)).await;
            let got = early.text() + &late.text();
            assert_eq!(said(&got), ["reconnect {\"reason\":\"error\"}"], "{fault:?}");
            assert_eq!(decoded(&got)[0].last_event_id, position);
            assert!(body.is_end_stream());
            assert_eq!(hub.log().followers(&topic("t")), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_drops_the_snapshot_that_is_being_made() {
    let hub = Hub::default();
    let made: Arc<Mutex<Weak<()>>> = Arc::default();
    let snapshot = {
        let made = Arc::clone(&made);
        Snapshot::by(move |_| {
            let held = Arc::new(());
            *made.lock().unwrap() = Arc::downgrade(&held);
            async move {
                pending::<()>().await;
                drop(held);
                Ok::<_, Infallible>(Event::new().data("never"))
            }
        })
    };
    let mut body = hub.subscribe(topic("t")).snapshot(snapshot).into_body();
    assert!(!body.is_end_stream());
    assert_eq!(text(&mut body), "");
    assert!(made.lock().unwrap().upgrade().is_some());
    drop(body);
    assert!(made.lock().unwrap().upgrade().is_none());
}

#[tokio::test(start_paused = true)]
async fn snapshots_that_are_always_too_old_for_the_log_end_the_stream() {
    let hub = Hub::new(MemoryLog::builder().events(2).build().unwrap());
    let made = Arc::new(Mutex::new(0));
    let snapshot = {
        let (log, made) = (hub.log().clone(), Arc::clone(&made));
        Snapshot::by(move |_| {
            *made.lock().unwrap() += 1;
            (0..3).for_each(|_| drop(append(&log, "t", "x")));
            async { Ok::<_, Infallible>(Event::new().event(STATE).data("old")) }
        })
    };
    let mut body = hub.subscribe(topic("t")).snapshot(snapshot).into_body();
    let got = text(&mut body);
    assert_eq!(said(&got)[3], "reconnect {\"reason\":\"error\"}");
    assert_eq!(*made.lock().unwrap(), 3);
    let events = decoded(&got);
    // It comes back to the last snapshot that it had.
    assert_eq!(events[3].last_event_id, events[2].last_event_id);
    assert!(got.ends_with(&format!("id: {}\n\n", id(&*events[2].last_event_id))));
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Made,
    Error,
    Panic,
}

#[derive(Clone, Debug)]
enum Act {
    Append(usize),
    Join(usize),
    /// One of the clients is polled so many times.
    Poll(prop::sample::Index, usize),
    /// It comes back with the id of the last event that it has, or as new.
    Reconnect(prop::sample::Index),
    /// The next snapshot takes so many polls, and ends so.
    Snapshot(usize, Outcome),
}

fn act() -> impl Strategy<Value = Act> {
    let any = any::<prop::sample::Index>;
    let outcome =
        prop_oneof![6 => Just(Outcome::Made), 1 => Just(Outcome::Error), 1 => Just(Outcome::Panic)];
    prop_oneof![
        8 => (0..NAMES.len()).prop_map(Act::Append),
        1 => (0..SETS.len()).prop_map(Act::Join),
        6 => (any(), 1..4_usize).prop_map(|(at, times)| Act::Poll(at, times)),
        1 => any().prop_map(Act::Reconnect),
        2 => (0..4_usize, outcome).prop_map(|(polls, outcome)| Act::Snapshot(polls, outcome)),
    ]
}

/// An application, whose state is all that was published, and whether it stores the id of the last
/// event with it.
#[derive(Clone)]
struct App {
    history: Arc<Mutex<History>>,
    plan: Arc<Mutex<VecDeque<(usize, Outcome)>>>,
    knows_position: bool,
}

impl App {
    fn snapshot(&self) -> Snapshot {
        let app = self.clone();
        Snapshot::by(move |_| {
            let plan = app.plan.lock().unwrap().pop_front();
            let (mut polls, outcome) = plan.unwrap_or((0, Outcome::Made));
            let (app, requested) = (app.clone(), app.history.lock().unwrap().len());
            async move {
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    polls = polls.wrapping_sub(1);
                    if polls == usize::MAX { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                let history = app.history.lock().unwrap();
                let event =
                    Event::new().event(STATE).data(format!("{requested} {}", history.len()));
                match (outcome, history.all.last()) {
                    (Outcome::Error, _) => Err(()),
                    (Outcome::Panic, _) => {
                        drop(history);
                        panic!("as asked")
                    }
                    (Outcome::Made, Some(last)) if app.knows_position => {
                        Ok(event.id(last.1.clone()))
                    }
                    (Outcome::Made, _) => Ok(event),
                }
            }
        })
    }
}

struct Client {
    set: Topics,
    body: HubBody<MemoryLog>,
    /// The first event that it does not have, if it has a state.
    next: Option<usize>,
    last_event_id: String,
}

impl Client {
    fn connect(&mut self, app: &App) {
        let hub = Hub::new(app.history.lock().unwrap().log.clone());
        let start = Start::requested(&self.last_event_id);
        let body = hub.subscribe(self.set.clone()).start(start);
        self.body = body.snapshot(app.snapshot()).into_body();
        if self.last_event_id.is_empty() {
            self.next = None;
        }
    }

    fn poll(&mut self, app: &App) -> Result<bool, TestCaseError> {
        let Some(events) = events(&mut self.body) else {
            return Ok(false);
        };
        let history = app.history.lock().unwrap();
        for event in events {
            match &*event.event {
                "state" => {
                    let lost = |next| history.of(&self.set, next).any(|at| !history.is_kept(at));
                    prop_assert!(self.next.is_none_or(lost), "a snapshot that nobody needs");
                    let (requested, read) = event.data.split_once(' ').unwrap();
                    let from = if app.knows_position { read } else { requested };
                    self.next = Some(from.parse().unwrap());
                    self.last_event_id = event.last_event_id;
                }
                "reconnect" => {
                    prop_assert_eq!(&event.last_event_id, &self.last_event_id);
                    prop_assert!(self.body.is_end_stream());
                    drop(history);
                    self.connect(app);
                    return Ok(true);
                }
                _ => {
                    let number: usize = event.data.parse().unwrap();
                    let next = self.next.and_then(|next| history.of(&self.set, next).next());
                    prop_assert_eq!(next, Some(number), "an event is lost, or comes twice");
                    self.next = Some(number + 1);
                    self.last_event_id = event.last_event_id;
                }
            }
        }
        Ok(true)
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_is_lost_or_comes_twice_between_a_snapshot_and_what_follows_it(
        acts in vec(act(), 1..120),
        knows_position in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let history = Arc::new(Mutex::new(History::new()));
        let app = App { history, plan: Arc::default(), knows_position };
        let hub = Hub::new(app.history.lock().unwrap().log.clone());
        let mut clients: Vec<Client> = Vec::new();
        for act in acts {
            match act {
                Act::Append(name) => app.history.lock().unwrap().append(name),
                Act::Snapshot(polls, outcome) => app.plan.lock().unwrap().push_back((polls, outcome)),
                Act::Join(set) => {
                    let set = topics(SETS[set]);
                    let body = hub.subscribe(set.clone()).snapshot(app.snapshot()).into_body();
                    clients.push(Client { set, body, next: None, last_event_id: String::new() });
                }
                Act::Poll(at, times) if !clients.is_empty() => {
                    let at = at.index(clients.len());
                    for _ in 0..times {
                        clients[at].poll(&app)?;
                    }
                }
                Act::Reconnect(at) if !clients.is_empty() => {
                    let at = at.index(clients.len());
                    clients[at].connect(&app);
                }
                _ => {}
            }
        }
        app.plan.lock().unwrap().clear();
        for client in &mut clients {
            for _ in 0..5 {
                while client.poll(&app)? {}
            }
            // It has all that there is: in its state, or after it.
            let history = app.history.lock().unwrap();
            let left = client.next.map(|next| history.of(&client.set, next).count());
            prop_assert_eq!(left, Some(0));
        }
    }
}
