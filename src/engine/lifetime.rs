//! When a stream ends for its age: it is too old, idle, or its credential has expired.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::silence::StreamNow;
use super::splitter::Room;
use super::spread::Retry;
use super::{Close, MAX_TIMER, MIN_TIMER, Rotation};
use crate::wire::CloseReason;

/// When one stream has to end.
#[derive(Debug)]
pub(super) struct Lifetime {
    /// The moment that was planned at the stream's start, and the reason for the close event.
    planned: Option<(Instant, CloseReason)>,
    idle: Option<Idle>,
    /// How many of the counted events are not the stream's own.
    injected: u64,
}

impl Lifetime {
    /// The lifetime of the `n`-th stream, which begins at `now` and whose credential expires at
    /// `expires`. None if nothing ends it.
    pub(super) fn begin(
        rotation: &Rotation,
        n: u32,
        now: Instant,
        expires: Option<Instant>,
    ) -> Option<Self> {
        let aged = rotation.age_of(n).map(|age| (now + age, CloseReason::Rotated));
        let expires = expires.map(|at| (at, CloseReason::Expired));
        // If both fall on the same moment, the credential is the reason.
        let planned = [expires, aged].into_iter().flatten().min_by_key(|(at, _)| *at);
        let idle = rotation.idle.map(|limit| Idle::begin(now, limit));
        let ends = planned.is_some() || idle.is_some();
        ends.then_some(Self { planned, idle, injected: 0 })
    }

    /// Discounts an event that is not the stream's own.
    pub(super) fn discount(&mut self, events: u64) {
        self.injected += events;
    }

    /// When to check next.
    pub(super) fn next(&self) -> Option<Instant> {
        let planned = self.planned.map(|(at, _)| at);
        [planned, self.idle.as_ref().map(|idle| idle.tick)].into_iter().flatten().min()
    }

    /// Orders the end of a stream whose time has come.
    pub(super) fn check<'a>(&mut self, stream: &StreamNow<'a>) -> Option<Close<'a>> {
        let StreamNow { settings, n, now, room, events, .. } = *stream;
        let rotation = settings.rotation.as_ref()?;
        let (own, in_long_event) = (events - self.injected, room == Room::None);
        let idle = self.idle.as_mut().is_some_and(|idle| idle.check(now, own, in_long_event));
        let (at, reason) = match self.planned {
            Some((at, reason)) if at <= now => (at, reason),
            _ if idle => (now, CloseReason::Idle),
            _ => return None,
        };
        let farewell = Cow::Borrowed(&rotation.farewell);
        let retry = Some(Retry::nth(n.into(), &rotation.retry));
        Some(Close { reason, farewell, retry, at, cut_at: None })
    }
}

/// Measures how long there was no event, without reading a clock for each event.
///
/// Eight times within the limit it checks whether an event was counted since the last check. So a
/// stream is idle after the limit at the earliest, and an eighth of the limit later at the latest.
#[derive(Debug)]
struct Idle {
    /// When to check next.
    tick: Instant,
    step: Duration,
    /// How many checks in a row found no new event.
    quiet: u32,
    seen: u64,
}

impl Idle {
    fn begin(now: Instant, limit: Duration) -> Self {
        let step = (limit.min(MAX_TIMER) / STEPS).max(MIN_TIMER);
        Self { tick: now + step, step, quiet: 0, seen: 0 }
    }

    /// Whether there has been no event for too long.
    fn check(&mut self, now: Instant, events: u64, in_long_event: bool) -> bool {
        if self.tick > now {
            return false;
        }
        // A stream that was not polled for long may have events that were not taken yet, so a late
        // check counts only once.
        self.tick = match self.tick + self.step {
            next if next > now => next,
            _ => now + self.step,
        };
        let active = in_long_event || events != self.seen;
        self.seen = events;
        self.quiet = if active { 0 } else { self.quiet + 1 };
        self.quiet >= STEPS
    }
}

/// How many checks there are within the limit of an idle stream.
const STEPS: u32 = 8;
