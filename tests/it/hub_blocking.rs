//! Publishing from threads: at once in memory, and by a runtime where the log has to be waited for.

use std::thread;
use std::time::Duration;

use tokio::runtime::Runtime;
use tower_sse::event_log::{
    EventLog, MemoryFollower, MemoryLog, MemoryLogError, Start, Topic, Topics,
};
use tower_sse::hub::PublishError;
use tower_sse::{Event, EventId, Hub};

use crate::harness::hub::{data, topic};

/// A log that answers after a while, as a broker does.
#[derive(Clone, Debug, Default)]
struct Slow(MemoryLog);

impl EventLog for Slow {
    type Error = MemoryLogError;
    type Follower = MemoryFollower;

    async fn append(&self, topic: &Topic, event: Event) -> Result<EventId, MemoryLogError> {
        // Of a runtime, which panics where there is none.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.0.append_now(topic, event)
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.0.follow(topics, from)
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
        self.0.latest(topics).await
    }
}

#[test]
fn a_blocking_publish_to_memory_is_done_at_once_on_any_thread() {
    let hub = Hub::default();
    let publish = |hub: &Hub| hub.publish_blocking(&topic("t"), data("x")).map(drop);
    assert_eq!(publish(&hub), Ok(()));
    thread::scope(|scope| scope.spawn(|| assert_eq!(publish(&hub), Ok(()))).join().unwrap());
    for runtime in [
        tokio::runtime::Builder::new_current_thread().build().unwrap(),
        tokio::runtime::Builder::new_multi_thread().build().unwrap(),
    ] {
        runtime.block_on(async { assert_eq!(publish(&hub), Ok(())) });
    }
    let none = hub.publish_blocking(&topic("t"), Event::new());
    assert_eq!(none, Err(PublishError::Log(MemoryLogError::NoData)));
    assert_eq!(hub.log().window(&topic("t")).0, 4);
}

#[test]
fn a_log_that_waits_needs_a_runtime_and_says_so() {
    let publish = |hub: &Hub<Slow>| hub.publish_blocking(&topic("t"), data("x")).map(drop);
    let hub = Hub::new(Slow::default());
    assert_eq!(publish(&hub), Err(PublishError::NoRuntime));

    let runtime = Runtime::new().unwrap();
    let hub = hub.runtime(runtime.handle().clone());
    assert_eq!(publish(&hub), Ok(()));
    // A hub that is made in a runtime knows it.
    let made = runtime.block_on(async { Hub::new(Slow::default()) });
    assert_eq!(publish(&made), Ok(()));
    assert_eq!(runtime.block_on(async { publish(&hub) }), Err(PublishError::InRuntime));
    // Threads for work that blocks are of the runtime as well.
    let blocking = runtime.spawn_blocking({
        let hub = hub.clone();
        move || publish(&hub)
    });
    assert_eq!(runtime.block_on(blocking).unwrap(), Err(PublishError::InRuntime));

    drop(runtime);
    assert_eq!(publish(&hub), Err(PublishError::RuntimeEnded));
    assert_eq!(hub.log().0.window(&topic("t")).0, 1, "what failed was not done");
}
