//! Calls what others wrote from where a panic would do harm.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a recorder or a subscriber: streams end in a `Drop`, maybe while another panic unwinds.
#[expect(clippy::inline_always, reason = "on its own it costs as much as what it calls")]
#[inline(always)]
pub(super) fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    // The panic has been reported by the panic hook; the stream has nothing to do with it.
    catch_unwind(AssertUnwindSafe(call)).ok()
}
