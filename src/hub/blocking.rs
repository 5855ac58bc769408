//! Publishing from threads that may block.

use std::error::Error;
use std::fmt;
use std::sync::mpsc;

use tokio::runtime::Handle;

use crate::event_log::{EventLog, Topic};
use crate::wire::{Event, EventId};

/// An event that [`Hub::publish_blocking`](super::Hub::publish_blocking) did not publish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError<E> {
    /// The log did not take it.
    Log(E),
    /// The log has to be waited for, and the hub was made outside of a runtime: nothing was done.
    NoRuntime,
    /// The log has to be waited for, and this thread is one of a runtime: nothing was done.
    InRuntime,
    /// The runtime ended meanwhile: the event may have been published or not.
    RuntimeEnded,
}

impl<E> fmt::Display for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log(_) => "the log did not take the event",
            Self::NoRuntime => "the hub knows no runtime that could wait for the log",
            Self::InRuntime => "a thread of a runtime must not wait for the log: use `publish`",
            Self::RuntimeEnded => "the runtime ended before the log answered",
        })
    }
}

impl<E: Error + 'static> Error for PublishError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Log(error) => Some(error),
            _ => None,
        }
    }
}

pub(super) fn publish<L: EventLog>(
    log: &L,
    runtime: Option<&Handle>,
    topic: &Topic,
    event: Event,
) -> Result<EventId, PublishError<L::Error>> {
    if let Some(appended) = log.append_at_once(topic, &event) {
        return appended.map_err(PublishError::Log);
    }
    if Handle::try_current().is_ok() {
        return Err(PublishError::InRuntime);
    }
    let runtime = runtime.ok_or(PublishError::NoRuntime)?;
    // Not `block_on`, which panics when the runtime has ended.
    let (done, is_done) = mpsc::sync_channel(1);
    let (log, topic) = (log.clone(), topic.clone());
    runtime.spawn(async move {
        // Who does not wait any more does not need to know.
        let _ = done.send(log.append(&topic, event).await);
    });
    match is_done.recv() {
        Ok(appended) => appended.map_err(PublishError::Log),
        Err(mpsc::RecvError) => Err(PublishError::RuntimeEnded),
    }
}
