//! A log that does not take an event is asked again, and a stream that it does not take ends.

#![cfg(feature = "resume")]

#[path = "support/resume.rs"]
mod resume;
mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use resume::{Handled, SECOND, handler, layer, request, seen};
use support::bodies::Step::{self, Data, Wait};
use tower::Layer;
use tower_sse::log::{EventLog, MemoryFollower, MemoryLog, Start, Topic, Topics};
use tower_sse::wire::{Event, EventId};

/// Fails so many appends behind the first, some of which it did all the same.
#[derive(Clone)]
struct Failing {
    log: MemoryLog,
    calls: Arc<AtomicUsize>,
    fails: usize,
}

impl EventLog for Failing {
    type Error = io::Error;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> io::Result<EventId> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails = (1..=self.fails).contains(&call);
        let done = (!fails || call % 2 == 0).then(|| self.log.append_now(topic, event));
        match done {
            Some(Ok(id)) if !fails => Ok(id),
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

fn failing(fails: usize) -> Failing {
    Failing { log: MemoryLog::new(), calls: Arc::default(), fails }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_comes_back_loses_nothing_and_gives_nothing_twice() {
    for fails in 1..12 {
        let handled = Handled::default();
        let service = layer().log(failing(fails)).layer(handler(&handled, three));
        let all = seen(&service, request(None), 60 * SECOND).await;
        assert_eq!((all.data(), all.ended), (["1", "2", "3"].map(String::from).to_vec(), true));
        assert_eq!(seen(&service, request(Some(&all.last_id())), SECOND).await.status, 204);
        assert_eq!(handled.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stays_away_ends_the_stream_and_its_readers_are_told() {
    let handled = Handled::default();
    let layer = layer().linger(10 * SECOND).log(failing(usize::MAX - 1));
    let service = layer.layer(handler(&handled, || {
        vec![Data("data: 1\n\n"), Wait(SECOND), Data("data: 2\n\n"), Step::Hang]
    }));
    let all = seen(&service, request(None), 60 * SECOND).await;
    // It was appended, though the log said that it was not.
    assert_eq!(all.data(), ["1", "2", "{\"reason\":\"error\"}"]);
    assert!(all.ended && handled.dropped());
    assert_eq!(service.streams(), 0);
}
