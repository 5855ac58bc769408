//! What happens to a stream at a time, apart from silence.

use std::time::Instant;

use super::lifetime::Lifetime;
use super::order::{PendingOrder, Verdict};
use super::silence::{Patience, StreamNow};
use super::splitter::Room;
use super::{Close, Injection, Settings};
use crate::wire::Notation;

/// The times at which something happens to a stream, apart from silence. Few streams have any.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    order: Option<Box<PendingOrder>>,
    lifetime: Option<Lifetime>,
    heartbeat: Option<Instant>,
    patience: Option<Patience>,
}

impl Timeouts {
    /// The timeouts of the `n`-th stream, which begins at `now` and whose credential expires at
    /// `expires`.
    pub(super) fn begin(
        settings: &Settings,
        n: u32,
        notation: Notation,
        now: Instant,
        expires: Option<Instant>,
    ) -> Self {
        let rotation = settings.rotation.as_ref();
        let keep_alive = settings.keep_alive_in(notation);
        let heartbeat = keep_alive.and_then(|it| it.heartbeat.as_ref());
        let heartbeat = heartbeat.filter(|_| matches!(notation, Notation::Events(_)));
        let limit = keep_alive.and_then(|it| it.give_up_after);
        Self {
            order: None,
            lifetime: rotation.and_then(|it| Lifetime::begin(it, n, now, expires)),
            heartbeat: heartbeat.map(|heartbeat| now + heartbeat.every),
            patience: limit.map(|limit| Patience::begin(now, limit)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.patience.is_none() && !self.are_strict()
    }

    /// Whether they are checked however busy the body is.
    pub(super) fn are_strict(&self) -> bool {
        self.order.is_some() || self.lifetime.is_some() || self.heartbeat.is_some()
    }

    /// Whether one of them ends the stream, unless the body or its client does something.
    pub(super) fn end_the_stream(&self) -> bool {
        self.lifetime.is_some() || self.patience.is_some()
    }

    /// Notes that the body gave something.
    pub(super) fn feed(&mut self) {
        if let Some(patience) = &mut self.patience {
            patience.feed();
        }
    }

    /// Notes that so many of the counted events are not the stream's own.
    pub(super) fn discount(&mut self, events: u64) {
        if let Some(lifetime) = &mut self.lifetime {
            lifetime.discount(events);
        }
    }

    /// Keeps an order to end the stream until its time.
    pub(super) fn keep_order(&mut self, order: Close<'_>) {
        let kept = self.order.take().map(|kept| *kept);
        self.order = Some(Box::new(PendingOrder::keep(kept, order)));
    }

    /// Whether an order waits for its time.
    pub(super) fn has_order(&self) -> bool {
        self.order.is_some()
    }

    /// Whether a farewell waits for the end of a long event.
    pub(super) fn is_overdue(&self) -> bool {
        self.order.as_ref().is_some_and(|order| order.is_overdue())
    }

    /// Orders the end of a stream that is too old, or whose body gives nothing for too long.
    pub(super) fn check_limits(&mut self, stream: &StreamNow<'_>) {
        if let Some(order) = self.lifetime.as_mut().and_then(|it| it.check(stream)) {
            self.lifetime = None;
            self.keep_order(order);
        }
        if let Some(order) = self.patience.as_mut().and_then(|it| it.check(stream)) {
            self.keep_order(order);
        }
    }

    /// Checks whether the time of the order has come. An order that is carried out is taken out.
    pub(super) fn check_order(&mut self, now: Instant, room: Room) -> Verdict {
        PendingOrder::check(&mut self.order, now, room)
    }

    /// The heartbeat, if it is due. The next one is due after its interval.
    pub(super) fn take_heartbeat<'a>(
        &mut self,
        settings: &'a Settings,
        now: Instant,
    ) -> Option<&'a Injection> {
        let heartbeat = settings.keep_alive.as_ref()?.heartbeat.as_ref()?;
        let at = self.heartbeat.as_mut().filter(|at| **at <= now)?;
        *at = now + heartbeat.every;
        Some(&heartbeat.event)
    }

    /// When to check next.
    pub(super) fn next(&self, room: Room) -> Option<Instant> {
        let order = self.order.as_ref().and_then(|order| order.next(room));
        let lifetime = self.lifetime.as_ref().and_then(Lifetime::next);
        let patience = self.patience.as_ref().map(Patience::next);
        [order, lifetime, self.heartbeat, patience].into_iter().flatten().min()
    }
}
