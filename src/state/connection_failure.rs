//! Tells a stream that is dropped whether its connection was given up.
//!
//! Nothing leads from a body to its connection. Two things tell enough:
//!
//! - An HTTP/1 server drops the body in the task that drives the connection, at once when the
//!   connection fails. So it is enough that a connection failed just now in this task.
//! - An HTTP/2 server has a task for each body. There, that some connection failed just now
//!   confirms what the stream itself can only suppose.

use std::cell::Cell;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::task::Id;

use crate::sync::lock;

thread_local! {
    /// The task and time of the last failure in this thread.
    static LAST: Cell<Option<(Id, Instant)>> = const { Cell::new(None) };
}

/// The last connection of a shutdown that was given up because its client took nothing.
#[derive(Debug, Default)]
pub(super) struct ConnectionFailures(Mutex<Option<Instant>>);

impl ConnectionFailures {
    /// Records that the connection of this task is given up.
    pub(super) fn record(&self, now: Instant) {
        *lock(&self.0) = Some(now);
        let last = tokio::task::try_id().map(|task| (task, now));
        // A thread that ends has no streams to tell.
        let _ = LAST.try_with(|it| it.set(last));
    }

    /// Whether any connection was given up in the last moments.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        let last = *lock(&self.0);
        last.is_some_and(|at| now.saturating_duration_since(at) < RECENT)
    }
}

/// Whether a connection that this task drives was given up just now.
pub(crate) fn connection_failed_just_now(now: Instant) -> bool {
    let last = LAST.try_with(Cell::get).ok().flatten();
    last.is_some_and(|(task, at)| {
        tokio::task::try_id() == Some(task) && now.saturating_duration_since(at) < JUST_NOW
    })
}

/// Far longer than a task takes from the failure to the drop of a body, and too short for a task
/// with many connections to take one for another.
const JUST_NOW: Duration = Duration::from_millis(50);

/// Longer than other tasks take to learn of a failure, also on a busy machine.
const RECENT: Duration = Duration::from_secs(1);
