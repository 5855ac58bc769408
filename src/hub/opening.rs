//! What a body waits for before it follows its log.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;

use crate::event_log::{EventLog, Logged, Topics};
use crate::wire::EventId;

/// Resolves when it is known how the body begins. Dropped with the body.
pub(super) type Opening = Pin<Box<dyn Future<Output = Opened> + Send>>;

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
    Box::pin(async move {
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
