//! Ids of a log may have 64 bytes, and the layer adds a name to them.

use std::pin::Pin;
use std::task::{Context, Poll};

use tower::Layer;
use tower_sse::event_log::{
    EventLog, Follow, Logged, MemoryFollower, MemoryLog, MemoryLogError, Start, Step, Topic, Topics,
};
use tower_sse::{Event, EventId};

use crate::harness::SECOND;
use crate::harness::bodies::Step::{Data, Hang};
use crate::harness::resume::{Handled, handler, layer, request, seen};

/// With the longest id of a log in memory, 64 bytes.
const PREFIX: &str = "the-ids-of-this-log-are";

/// A log in memory with longer ids.
#[derive(Clone, Default)]
struct LongIds(MemoryLog);

struct LongFollower(MemoryFollower);

fn long(id: &str) -> EventId {
    EventId::new(format!("{PREFIX}{id}")).unwrap()
}

fn short(from: Start) -> Start {
    match from {
        Start::After(id) => id
            .as_str()
            .strip_prefix(PREFIX)
            .map_or(Start::Unknown, |id| Start::After(EventId::new(id).unwrap())),
        from => from,
    }
}

impl EventLog for LongIds {
    type Error = MemoryLogError;
    type Follower = LongFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        self.0.append_now(topic, event).map(|id| long(id.as_str()))
    }

    fn follow(&self, topics: Topics, from: Start) -> LongFollower {
        LongFollower(self.0.follow(topics, short(from)))
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
        self.0.latest(topics).await.map(|id| long(id.as_str()))
    }
}

impl Follow for LongFollower {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        Pin::new(&mut self.0).poll_next(cx).map(|step| {
            step.map(|step| match step {
                Step::Event(event) => {
                    let id = format!("id: {}\n\n", event.id());
                    let event_without_id = event.bytes().strip_suffix(id.as_bytes()).unwrap();
                    let encoded = [event_without_id, b"\n"].concat();
                    let topic = event.topic().clone();
                    Step::Event(Logged::from_encoded(topic, &long(event.id()), &encoded).unwrap())
                }
                Step::Gap(mut gap) => {
                    gap.position = long(gap.position.as_str());
                    for id in [&mut gap.earliest, &mut gap.latest].into_iter().flatten() {
                        *id = long(id.as_str());
                    }
                    Step::Gap(gap)
                }
                step => step,
            })
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_resumed_though_the_ids_of_its_log_are_as_long_as_they_may_be() {
    let handled = Handled::default();
    let steps = || vec![Data("data: 1\n\ndata: 2\n\ndata: 3\n\n"), Hang];
    let service = layer().log(LongIds::default()).layer(handler(&handled, steps));
    let first = seen(&service, request(None), SECOND).await;
    assert_eq!(first.data(), ["1", "2", "3"]);
    assert!(first.id(0).len() > 64, "{}", first.id(0));
    let rest = seen(&service, request(Some(&first.id(0))), SECOND).await;
    assert_eq!((rest.data(), handled.calls()), (vec!["2".to_owned(), "3".to_owned()], 1));
    // And no longer text is looked at.
    let endless = format!("{}{}", first.id(0), "9".repeat(30));
    assert_eq!(seen(&service, request(Some(&endless)), SECOND).await.data(), ["1", "2", "3"]);
}
