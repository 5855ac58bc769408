//! What a body waits for before it follows its log.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::event_log::{EventLog, Logged, Topics};
use crate::wire::EventId;

/// Resolves when it is known how the body begins. Dropped with the body.
///
/// The mutex is never locked. It makes the body `Sync`, as a body of hyper often has to be,
/// although futures of applications are not.
pub(super) struct Opening(Mutex<Pin<Box<dyn Future<Output = Opened> + Send>>>);

impl Opening {
    pub(super) fn new(opened: impl Future<Output = Opened> + Send + 'static) -> Self {
        Self(Mutex::new(Box::pin(opened)))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Opened> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
    }
}

/// How a body begins.
pub(super) enum Opened {
    /// With these events, and then what is after the position.
    WithLast { events: Vec<Logged>, position: EventId },
    /// With this event, and then what is after the position.
    WithSnapshot { event: Bytes, position: EventId },
    /// With this event, which is also the last.
    Failed(Bytes),
}

/// Looks for the last events. A broker that is away is asked again until it is back, as a follower
/// waits for it.
pub(super) fn with_last<L: EventLog>(log: L, topics: Topics, count: usize) -> Opening {
    Opening::new(async move {
        loop {
            match try_with_last(&log, &topics, count).await {
                Ok(opened) => return opened,
                Err(_) => sleep(RETRY_INTERVAL).await,
            }
        }
    })
}

async fn try_with_last<L: EventLog>(
    log: &L,
    topics: &Topics,
    count: usize,
) -> Result<Opened, L::Error> {
    // First, so that an event that comes in the meantime is after it.
    let latest = log.latest(topics).await?;
    let events = log.last(topics, count).await?;
    let newest = events.last().and_then(|newest| EventId::new(newest.id()).ok());
    Ok(Opened::WithLast { events, position: newest.unwrap_or(latest) })
}

const RETRY_INTERVAL: Duration = Duration::from_secs(1);
