//! Locks, the clock, and calls of foreign code that may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Locks `mutex`, also after a panic of another thread that held it.
///
/// A panic in one stream is no reason to give up the others: data under the locks of this crate is
/// consistent between any two statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls foreign code where a panic would do harm, such as in a `Drop` during unwinding, which
/// aborts the process. Returns `None` if it panicked; the panic hook has reported it.
#[expect(clippy::inline_always, reason = "on its own it costs as much as what it calls")]
#[inline(always)]
pub(crate) fn catch_panic<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// The time of Tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
