//! A log that does not take an event is asked again, and a stream that it does not take ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower::Layer;
use tower_sse::event_log::{EventLog, MemoryFollower, MemoryLog, Start, Topic, Topics};
use tower_sse::{Dialect, Event, EventId, KeepAliveLayer, SseLayer};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{self, Data, Wait};
use crate::harness::resume::{Handled, handler, layer, request, seen};

/// Does this with the first appends, and with all others the last of it.
#[derive(Clone)]
struct Failing {
    log: MemoryLog,
    calls: Arc<AtomicUsize>,
    does: Arc<[Does]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// And says so.
    Append,
    /// And says that it did not.
    AppendAndFail,
    Fail,
    Panic,
}

use Does::{Append, AppendAndFail, Fail, Panic};

impl EventLog for Failing {
    type Error = io::Error;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> io::Result<EventId> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let does = self.does[call.min(self.does.len() - 1)];
        assert_ne!(does, Panic, "as scripted");
        let done = (does != Fail).then(|| self.log.append_now(topic, event));
        match done {
            Some(Ok(id)) if does == Append => Ok(id),
            _ => Err(io::Error::other("the broker is away")),
        }
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.log.follow(topics, from)
    }

    async fn latest(&self, topics: &Topics) -> io::Result<EventId> {
        self.log.latest(topics).await.map_err(io::Error::other)
    }
}

fn three() -> Vec<Step> {
    vec![Data("data: 1\n\n"), Wait(SECOND), Data("data: 2\n\ndata: 3\n\n")]
}

fn failing(does: &[Does]) -> Failing {
    Failing { log: MemoryLog::new(), calls: Arc::default(), does: does.into() }
}

/// All ways in which six appends in a row may go, behind so many that went well.
fn all_ways(well: usize) -> impl Iterator<Item = Vec<Does>> {
    (0..3_usize.pow(6)).map(move |mut way| {
        let mut does = vec![Append; well];
        for _ in 0..6 {
            does.push([Append, AppendAndFail, Fail][way % 3]);
            way /= 3;
        }
        does.push(Append);
        does
    })
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_taken_though_the_log_said_no_is_there_once() {
    // From the first event on, or at the end only.
    for does in all_ways(0).chain(all_ways(3)) {
        let (log, handled) = (failing(&does), Handled::default());
        let layer = layer().close_event(SECOND).log(log.clone());
        let service = layer.layer(handler(&handled, three));
        let all = seen(&service, request(None), 60 * SECOND).await;
        let close = "{\"reason\":\"finished\"}";
        assert_eq!(all.data(), ["1", "2", "3", close], "{does:?}");
        assert!(all.ended);
        for (at, rest) in [&["2", "3", close][..], &["3", close], &[close]].iter().enumerate() {
            let back = seen(&service, request(Some(&all.id(at))), SECOND).await;
            assert_eq!((back.data(), back.ended), (strings(rest), true), "{does:?} behind {at}");
        }
        assert_eq!(seen(&service, request(Some(&all.last_id())), SECOND).await.status, 204);
        assert_eq!(handled.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_taken_though_the_log_said_no_is_there_once_at_another_node() {
    for does in all_ways(0) {
        let (log, handled) = (failing(&does), [Handled::default(), Handled::default()]);
        let node = |n: usize| {
            let layer = layer().log(log.clone()).other_nodes(SECOND);
            layer.layer(handler(&handled[n], three))
        };
        let (one, other) = (node(0), node(1));
        let all = seen(&one, request(None), 60 * SECOND).await;
        assert_eq!(all.data(), ["1", "2", "3"], "{does:?}");
        for (at, rest) in [&["2", "3"][..], &["3"]].iter().enumerate() {
            let back = seen(&other, request(Some(&all.id(at))), SECOND).await;
            assert_eq!((back.data(), back.ended), (strings(rest), true), "{does:?} behind {at}");
        }
        let over = seen(&other, request(Some(&all.last_id())), SECOND).await;
        assert_eq!(over.status, 204, "{does:?}");
        assert_eq!((handled[0].calls(), handled[1].calls()), (1, 0));
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stays_away_ends_the_stream_and_its_readers_are_told() {
    for (does, got) in [
        (Fail, &["1", "{\"reason\":\"error\"}"][..]),
        // It was appended, though the log said that it was not.
        (AppendAndFail, &["1", "2", "{\"reason\":\"error\"}"]),
    ] {
        let handled = Handled::default();
        let layer = layer().linger(10 * SECOND).log(failing(&[Append, does]));
        let service = layer.layer(handler(&handled, || {
            vec![Data("data: 1\n\n"), Wait(SECOND), Data("data: 2\n\n"), Step::Hang]
        }));
        let all = seen(&service, request(None), 60 * SECOND).await;
        assert_eq!(all.data(), got);
        assert!(all.ended && handled.dropped());
        assert_eq!(service.streams(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stays_away_is_told_of_in_the_words_of_the_route() {
    let layer = layer().linger(10 * SECOND).log(failing(&[Append, Fail]));
    let service = layer.layer(handler(&Handled::default(), three));
    let layers = SseLayer::new().keep_alive(KeepAliveLayer::off()).dialect(Dialect::anthropic());
    let all = seen(&layers.layer(service), request(None), 60 * SECOND).await;
    let error = r#"{"type":"error","error":{"type":"api_error","message":"the stream failed"}}"#;
    assert_eq!((all.data(), all.ended), (strings(&["1", error]), true));
    assert!(all.text.contains("event: error\n"), "{}", all.text);
}

/// Wherever that is: in an event, in the close event, or when nothing but the end is to be written.
#[tokio::test(start_paused = true)]
async fn a_log_that_panics_leaves_no_reader_behind() {
    for well in 0..5 {
        let handled = Handled::default();
        let mut does = vec![Append; well];
        does.push(Panic);
        let layer = layer().close_event(SECOND).log(failing(&does));
        let service = layer.layer(handler(&handled, three));
        let all = seen(&service, request(None), 60 * SECOND).await;
        let events = ["1", "2", "3", "{\"reason\":\"finished\"}"];
        assert_eq!(all.data()[..well], events[..well]);
        assert_eq!(all.data()[well..], ["{\"reason\":\"error\"}"], "{well}");
        assert!(all.ended && handled.dropped());
        assert_eq!(service.streams(), usize::from(well == 4), "its end is known");
    }
}
