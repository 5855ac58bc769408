//! Publishing from threads: at once in memory, and by a runtime where the log has to be waited for.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, block_in_place, spawn_blocking};
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
        Builder::new_current_thread().build().unwrap(),
        Builder::new_multi_thread().build().unwrap(),
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

    drop(runtime);
    assert_eq!(publish(&hub), Err(PublishError::RuntimeEnded));
    assert_eq!(hub.log().0.window(&topic("t")).0, 1, "what failed was not done");
}

type Published = Result<(), PublishError<MemoryLogError>>;

fn publish(hub: &Hub<Slow>) -> Published {
    hub.publish_blocking(&topic("t"), data("x")).map(drop)
}

/// A runtime of one thread, and one with as few of several.
fn runtimes() -> [Runtime; 2] {
    [
        Builder::new_current_thread().enable_time().build().unwrap(),
        Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap(),
    ]
}

/// Fails in place of waiting for ever.
fn within_a_minute<T: Send + 'static>(done: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(done()));
    receiver.recv_timeout(Duration::from_secs(60)).expect("it comes to an end")
}

#[test]
fn threads_of_a_runtime_that_may_block_wait_for_the_log() {
    for runtime in runtimes() {
        let published = within_a_minute(move || {
            runtime.block_on(async {
                let hub = Hub::new(Slow::default());
                let entered = hub.clone();
                let handle = tokio::runtime::Handle::current();
                let blocking = spawn_blocking({
                    let hub = hub.clone();
                    move || [publish(&hub), hub.finish_blocking(&topic("t")).map(drop)]
                });
                let mut published = blocking.await.unwrap().to_vec();
                let thread = thread::spawn(move || {
                    let _guard = handle.enter();
                    publish(&entered)
                });
                published.push(spawn_blocking(move || thread.join().unwrap()).await.unwrap());
                (published, hub.log().0.window(&topic("t")).0)
            })
        });
        assert_eq!(published, (vec![Ok(()); 3], 3));
    }
}

#[test]
fn a_task_that_gives_its_thread_away_waits_for_the_log() {
    let [_, runtime] = runtimes();
    let published = within_a_minute(move || {
        runtime.block_on(async {
            let hub = Hub::new(Slow::default());
            let there = block_in_place(|| publish(&hub));
            let task = tokio::spawn(async move { block_in_place(|| publish(&hub)) });
            [there, task.await.unwrap()]
        })
    });
    assert_eq!(published, [Ok(()), Ok(())]);
}

#[test]
fn async_code_is_refused_wherever_it_runs_and_goes_on() {
    for runtime in runtimes() {
        let refused = within_a_minute(move || {
            runtime.block_on(async {
                let hub = Hub::new(Slow::default());
                let refused = async |hub: Hub<Slow>| {
                    // With a budget that is whole, and with one that is used up.
                    let twice = [publish(&hub), publish(&hub)];
                    let published = hub.publish(&topic("u"), data("x")).await;
                    assert!(published.is_ok());
                    twice
                };
                let mut all = refused(hub.clone()).await.to_vec();
                let again = hub.clone();
                all.push(tokio::spawn(async move { publish(&again) }).await.unwrap());
                let (again, local) = (hub.clone(), LocalSet::new());
                let task = local.spawn_local(async move { publish(&again) });
                all.push(local.run_until(task).await.unwrap());
                // A thread that may block, and that runs async code.
                let runtime = tokio::runtime::Handle::current();
                let again = hub.clone();
                let again = spawn_blocking(move || runtime.block_on(async { publish(&again) }));
                all.push(again.await.unwrap());
                (all, hub.log().0.window(&topic("t")).0)
            })
        });
        assert_eq!(refused, (vec![Err(PublishError::InRuntime); 5], 0));
    }
}

/// A log that never answers.
#[derive(Clone, Debug, Default)]
struct Silent(MemoryLog);

impl EventLog for Silent {
    type Error = MemoryLogError;
    type Follower = MemoryFollower;

    async fn append(&self, _: &Topic, _: Event) -> Result<EventId, MemoryLogError> {
        std::future::pending().await
    }

    fn follow(&self, topics: Topics, from: Start) -> MemoryFollower {
        self.0.follow(topics, from)
    }

    async fn latest(&self, topics: &Topics) -> Result<EventId, MemoryLogError> {
        self.0.latest(topics).await
    }
}

#[test]
fn a_thread_that_waits_for_the_log_is_told_that_the_runtime_ends() {
    for runtime in runtimes() {
        let told = within_a_minute(move || {
            let hub = runtime.block_on(async { Hub::new(Silent::default()) });
            let (sender, receiver) = mpsc::channel();
            let waits = runtime.spawn_blocking(move || {
                sender.send(()).unwrap();
                hub.publish_blocking(&topic("t"), data("x")).map(drop)
            });
            receiver.recv().unwrap();
            // It waits for its threads.
            drop(runtime);
            let [runtime, _] = runtimes();
            runtime.block_on(waits).unwrap()
        });
        assert_eq!(told, Err(PublishError::RuntimeEnded));
    }
}
