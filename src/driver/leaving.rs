//! How a stream leaves its lists, and why it ended if it is dropped before its end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use super::Stream;
use crate::engine::EndReason;
use crate::plan::Plan;
use crate::roster::Registration;
use crate::state::{Drain, DrainStatus, RegistryEntry, StreamStats, connection_failed_just_now};
use crate::sync::now;

/// The registrations of a stream in a registry and a drain.
type Listed =
    (Option<(Registration<RegistryEntry>, Arc<StreamStats>)>, Option<Registration<DrainStatus>>);

/// Takes a stream off the lists of its plan.
pub(super) fn unregister(plan: &Plan, (registry, shutdown): Listed, reason: EndReason) {
    if let (Some((registration, stats)), Some(setting)) = (registry, plan.registry.on()) {
        setting.registry.unregister(registration, &stats, reason);
    }
    // Last, so that the hooks have run before a drain is over.
    if let (Some(shutdown), Some(closing)) = (shutdown, plan.shutdown.on()) {
        closing.drain.unregister(shutdown, reason);
    }
}

impl Stream {
    /// Leaves the lists.
    pub(super) fn leave(mut self: Pin<&mut Self>) {
        // It may never have been polled, but it is registered.
        self.as_mut().take_opening();
        let reason = self.engine.ended().unwrap_or_else(|| self.reason_of_loss());
        let this = self.project();
        // First, so that a client that comes back because of a hook or a drain's report finds the
        // permit free.
        this.holdings.release();
        this.observer.ended(reason, &this.engine.progress(), now);
        let registry = this.holdings.take_registered();
        let registry = registry.map(|registered| (registered.registration, registered.stats));
        unregister(&this.plan.plan, (registry, this.shutdown.take()), reason);
    }

    /// Why this stream is dropped before its end.
    ///
    /// A server drops a body when its client went away, and also when the connection was given up
    /// because the client took nothing. Without a sign of that, the client is taken to have left.
    fn reason_of_loss(&self) -> EndReason {
        let now = now();
        let drain = self.plan.closing().map(|closing| &*closing.drain);
        let is_stalled = connection_failed_just_now(now)
            || drain.is_some_and(|drain| self.is_stalled(drain, now));
        if is_stalled { EndReason::Stalled } else { EndReason::ClientGone }
    }

    fn is_stalled(&self, drain: &Drain, now: Instant) -> bool {
        // A stream that is polled has ended by then.
        if self.shutdown.is_some() && drain.is_past_deadline(now) {
            return true;
        }
        let Some(limit) = drain.settings.stall_limit else {
            return false;
        };
        let limit = limit.mul_f32(MOST_OF_IT);
        let since = |at: Instant| now.saturating_duration_since(at);
        let stats = self.holdings.stats();
        // On HTTP/2 a body has a task of its own, which learns of the failure a moment later.
        if drain.connection_failed_recently(now)
            && stats.and_then(|stats| stats.unread_for_at_most(now)) >= Some(limit)
        {
            return true;
        }
        let unread = stats.and_then(|stats| stats.unread_for(now));
        let unseen = self.shutdown.as_ref().filter(|it| it.is_signalled());
        let unseen = unseen.and_then(|_| drain.started()).map(since);
        let missed_deadline = self.engine.missed_deadline(self.plan.engine()).map(since);
        [unread, unseen, missed_deadline].into_iter().flatten().max() >= Some(limit)
    }
}

/// The share of the stall limit for which a stream was kept waiting when its connection is given
/// up: servers poll bodies for some time longer than they can write, until their buffers are full.
const MOST_OF_IT: f32 = 0.75;
