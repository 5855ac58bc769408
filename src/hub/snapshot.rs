//! [`Snapshot`]: a state that a client is sent instead of the events that led to it.

use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::opening::{Opened, Opening};
use crate::event_log::{EventLog, Gap, Topics};
use crate::sync::{Foreign, catch_panic, drop_caught};
use crate::wire::{CloseReason, Event, EventId};

/// Makes the event that a client gets when it has no position in the log, or has lost it: the state
/// that the events before lead to. What follows is sent after it.
///
/// It is for pages that show a state, such as a board or a document: see
/// [`Subscription::snapshot`](super::Subscription::snapshot). A client gets a snapshot
///
/// - when it is new, so that the state comes through the stream, too,
/// - in place of each event `gap`, so that it need not fetch the state itself.
///
/// A client that missed nothing, or that asks for `earliest` or
/// [`now`](crate::event_log::Start::Now), gets none. The id of the event is the position, so a
/// client that comes back gets what follows it.
///
/// # Examples
///
/// ```
/// use tower_sse::event_log::{Start, Topic};
/// use tower_sse::hub::{Snapshot, SnapshotRequest};
/// use tower_sse::{Event, EventName, Hub};
///
/// # #[derive(Clone)] struct Database;
/// # impl Database { async fn board(&self) -> Result<String, std::io::Error> { Ok("{}".into()) } }
/// # let (hub, database, start) = (Hub::default(), Database, Start::Live);
/// let snapshot = Snapshot::by(move |_: SnapshotRequest| {
///     let database = database.clone();
///     async move {
///         // The name tells the page a state from a change.
///         let name = EventName::from_static("board");
///         Ok::<_, std::io::Error>(Event::new().event(name).data(database.board().await?))
///     }
/// });
/// let board = hub.subscribe(Topic::from_static("board")).start(start).snapshot(snapshot);
/// # let _ = board;
/// ```
///
/// # Nothing is lost between the state and the events
///
/// The function is called after the position is known, and must read the state then. If the
/// application writes its state before it publishes the change, the state has all events up to the
/// position. It may have some of those after it, too, which the client then gets as well: a change
/// that is applied twice must do no harm, or must be told by a number in it.
///
/// An application that stores the id of the last event with its state gives this id to the event
/// that the function makes. Then the stream goes on after it, and no change comes twice.
///
/// # If there is no snapshot
///
/// If the function fails, panics, takes longer than the [timeout](Self::timeout), or makes an event
/// without data, or if the log does not know its position, the client gets a last event and the
/// stream ends. The client comes back after its `retry`, with the position that it had.
///
/// ```text
/// event: reconnect
/// data: {"reason":"error"}
/// ```
///
/// The same happens if three snapshots in a row were too old for the log when the next event was to
/// be sent, so that a client that is too slow for the topic does not have one made after another.
/// The error itself is dropped: the function should report it. If the client leaves, the future is
/// dropped.
///
/// # Panics
///
/// A body with snapshots panics if it is polled outside of a Tokio runtime with a clock.
#[derive(Clone)]
#[must_use]
pub struct Snapshot {
    make: Arc<MakeSnapshot>,
    timeout: Duration,
}

type MakeSnapshot = dyn Fn(SnapshotRequest) -> MadeSnapshot + Send + Sync;
type MadeSnapshot = Pin<Box<dyn Future<Output = Option<Event>> + Send>>;

/// What the function of a [`Snapshot`] is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SnapshotRequest {
    /// The position of the log: the state has all events before it.
    pub position: EventId,
    /// The gap that the snapshot takes the place of. `None` if the client is new.
    pub gap: Option<Gap>,
}

impl Snapshot {
    /// Snapshots that `make` makes, one for each client that needs one.
    pub fn by<F, R, E>(make: F) -> Self
    where
        F: Fn(SnapshotRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Event, E>> + Send + 'static,
    {
        let make = move |request| -> MadeSnapshot {
            let event = Foreign::new(make(request));
            Box::pin(async move { pin!(event).await.ok() })
        };
        Self { make: Arc::new(make), timeout: TIMEOUT }
    }

    /// Sets how long a snapshot may take, the time in which the log looks for its position
    /// included.
    ///
    /// The default is 10 seconds: by then a person has given up, and a proxy has not.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes a snapshot in place of a gap, or for a new client.
    pub(super) fn open<L: EventLog>(&self, log: &L, topics: &Topics, gap: Option<Gap>) -> Opening {
        let (make, limit) = (Arc::clone(&self.make), self.timeout);
        let (log, topics) = (log.clone(), topics.clone());
        Opening::new(async move {
            let known = gap.as_ref().and_then(|gap| gap.requested.clone());
            let snapshot = async {
                let position = log.latest(&topics).await.ok()?;
                let request = SnapshotRequest { position: position.clone(), gap };
                let event = make_caught(&*make, request).await?;
                let position = event.event_id().cloned().unwrap_or(position);
                Some((event.encode_with_last_id(position.as_str())?, position))
            };
            match timeout(limit, snapshot).await {
                Ok(Some((event, position))) => Opened::WithSnapshot { event, position },
                Ok(None) | Err(_) => Opened::Failed(reconnect(known.as_ref())),
            }
        })
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// Calls the function. `None` if it failed or panicked.
async fn make_caught(make: &MakeSnapshot, request: SnapshotRequest) -> Option<Event> {
    let mut event = catch_panic(|| make(request))?;
    let mut polled = |cx: &mut Context<'_>| catch_panic(|| event.as_mut().poll(cx));
    let output = poll_fn(|cx| polled(cx).unwrap_or(Poll::Ready(None))).await;
    drop_caught(event);
    output
}

/// Sends the client away, without a snapshot.
pub(super) fn failed(known: Option<&EventId>) -> Opening {
    Opening::new(ready(Opened::Failed(reconnect(known))))
}

/// The last event of a client that is to come back to the position that it had.
fn reconnect(known: Option<&EventId>) -> Bytes {
    let event = CloseReason::Error.event("reconnect");
    match known.and_then(|known| event.encode_with_last_id(known.as_str())) {
        Some(bytes) => bytes,
        None => event.encode(),
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
