//! Metrics that belong to no stream. They change rarely, so the recorder is asked each time.

use std::sync::Mutex;

use metrics::{Recorder, Unit, with_recorder};

use super::named::Named;
use crate::sync::{catch_panic, lock};

/// How many streams a drain waits for, as the recorder was told.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<usize>);

impl Pending {
    /// Has the gauge follow `count`, which is asked under a lock: so of two streams that leave at
    /// a time the later to come here sees that both are gone.
    pub(crate) fn follow(&self, count: impl FnOnce() -> usize) {
        let mut told = lock(&self.0);
        let now = count();
        let before = std::mem::replace(&mut *told, now);
        drop(told);
        if now == before {
            return;
        }
        // By differences, and so in any order, and for any number of drains.
        #[expect(clippy::cast_precision_loss, reason = "nobody has so many streams")]
        let more = now as f64 - before as f64;
        catch_panic(|| with_recorder(|recorder| PENDING.gauge(recorder)).increment(more));
    }
}

/// Counts events that found a mailbox full.
pub(crate) fn mailbox_dropped(events: usize) {
    if events > 0 {
        let counter = |recorder: &dyn Recorder| DROPPED.counter(Unit::Count, recorder);
        catch_panic(|| with_recorder(counter).increment(events as u64));
    }
}

/// Counts a request that is not given a stream. The reason is one of this crate's own words.
pub(crate) fn refused(reason: &'static str) {
    catch_panic(|| with_recorder(|recorder| REFUSED.counter_by(reason, recorder)).increment(1));
}

const PENDING: Named = Named("tower_sse_drain_pending", "Streams that a drain still waits for.");
const DROPPED: Named =
    Named("tower_sse_mailbox_dropped_total", "Events that found a stream's mailbox full.");
const REFUSED: Named = Named("tower_sse_refused_total", "Requests not given a stream, by reason.");
