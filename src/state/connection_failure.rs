//! How a stream learns that it is dropped because its connection was given up.
//!
//! Nothing leads from a body to its connection. But an HTTP/1 server drops the body in the task
//! that drives the connection, at once when the connection fails. So that a connection failed just
//! now in this very task tells enough. On HTTP/2 bodies have tasks of their own, and a stream goes
//! by what it knows itself.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::task::Id;

thread_local! {
    /// The last one of this thread.
    static LAST: Cell<Option<(Id, Instant)>> = const { Cell::new(None) };
}

/// Takes note that this task's connection is given up.
pub(crate) fn record_connection_failure(now: Instant) {
    let last = tokio::task::try_id().map(|task| (task, now));
    // A thread that ends has no streams to tell.
    let _ = LAST.try_with(|it| it.set(last));
}

/// Whether the connection that this task drives was given up just now.
pub(crate) fn connection_failed_just_now(now: Instant) -> bool {
    let last = LAST.try_with(Cell::get).ok().flatten();
    last.is_some_and(|(task, at)| {
        tokio::task::try_id() == Some(task) && now.saturating_duration_since(at) < JUST_NOW
    })
}

/// Far longer than a task takes from the one to the other, and short enough that a task with many
/// connections does not take one for another.
const JUST_NOW: Duration = Duration::from_millis(50);
