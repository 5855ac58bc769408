//! Publishing from threads that may block.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};

use tokio::task::consume_budget;

use super::publish::{Hub, PublishError};
use crate::event_log::{EventLog, Topic, finish_event};
use crate::wire::{Event, EventId};

impl<L: EventLog> Hub<L> {
    /// Publishes an event from a thread that may block, with or without a runtime.
    ///
    /// With a [`MemoryLog`](crate::event_log::MemoryLog) it never blocks, and may be called from
    /// anywhere. With another log this thread blocks while a task of the hub's runtime publishes.
    /// It may be a thread of that runtime: in [`spawn_blocking`](tokio::task::spawn_blocking) or
    /// `block_in_place`. Async code of Tokio is refused, since it would keep its runtime from other
    /// tasks; if that is the hub's own, with one thread, for ever.
    ///
    /// # What is not refused and blocks
    ///
    /// - A runtime of one thread works only while a thread is in its `block_on`. If none is, this
    ///   waits until one is, or until the runtime is dropped.
    /// - Async code inside of [`unconstrained`](tokio::task::unconstrained) is not recognised as
    ///   such, and neither is that of other executors. It must not call this.
    ///
    /// # Errors
    ///
    /// [`PublishError`] if the log refuses the event, if there is no runtime to publish it, if that
    /// ends before the log answers, or if this is async code. It never panics.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::event_log::{EventLog, Topic};
    /// use tower_sse::hub::PublishError;
    /// use tower_sse::{Event, EventId, Hub};
    ///
    /// /// Does what takes long on a thread for such work, and publishes what came of it.
    /// async fn report<L: EventLog>(hub: Hub<L>) -> Result<EventId, PublishError<L::Error>> {
    ///     let worked = tokio::task::spawn_blocking(move || {
    ///         let sum: u64 = (0..1_000).sum();
    ///         hub.publish_blocking(&Topic::from_static("sums"), Event::new().data(sum.to_string()))
    ///     });
    ///     worked.await.unwrap_or(Err(PublishError::RuntimeEnded))
    /// }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() { report(Hub::default()).await.unwrap(); }
    /// ```
    pub fn publish_blocking(
        &self,
        topic: &Topic,
        event: Event,
    ) -> Result<EventId, PublishError<L::Error>> {
        if let Some(appended) = self.log().append_at_once(topic, &event) {
            return appended.map_err(PublishError::Log);
        }
        if is_polled() {
            return Err(PublishError::InRuntime);
        }
        let runtime = self.runtime.as_ref().ok_or(PublishError::NoRuntime)?;
        // Not `block_on`: it panics when the runtime has ended, and with a runtime of one thread it
        // does not drive what the log waits for.
        let (sender, receiver) = mpsc::sync_channel(1);
        let (log, topic) = (self.log().clone(), topic.clone());
        runtime.spawn(async move {
            // It fails only if the caller is gone.
            let _ = sender.send(log.append(&topic, event).await);
        });
        match receiver.recv() {
            Ok(appended) => appended.map_err(PublishError::Log),
            Err(mpsc::RecvError) => Err(PublishError::RuntimeEnded),
        }
    }

    /// Finishes a topic from a thread that may block, with or without a runtime: as
    /// [`finish`](Self::finish) does, and under the terms of
    /// [`publish_blocking`](Self::publish_blocking).
    ///
    /// # Errors
    ///
    /// As of [`publish_blocking`](Self::publish_blocking).
    pub fn finish_blocking(&self, topic: &Topic) -> Result<EventId, PublishError<L::Error>> {
        self.publish_blocking(topic, finish_event())
    }
}

/// Whether Tokio polls a future on this thread, which then must not block.
///
/// `Handle::try_current` does not tell: there is a runtime in `spawn_blocking`, too. But Tokio
/// gives each poll a budget, and takes it away where code may block. What is left of it is used up
/// here, so a task that is refused yields at the next thing of Tokio's that it waits for.
fn is_polled() -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    // A budget is a number in one byte.
    (0..=u8::MAX).any(|_| pin!(consume_budget()).poll(&mut cx).is_pending())
}
