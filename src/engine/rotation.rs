//! Ends a stream for its age: it is too old, idle, or a credential's time has come.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::spread::{Retry, Spread};
use super::{Close, CloseReason, Engine, Farewell, LONGEST, Phase, SHORTEST, Settings};

/// When streams are ended for their age, and how.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    pub(crate) max_age: Option<Duration>,
    /// The longest time without an event of the stream's own.
    pub(crate) idle: Option<Duration>,
    /// How long clients are to wait, each its own time from this range.
    pub(crate) retry: RangeInclusive<Duration>,
    pub(crate) farewell: Farewell,
}

impl Default for Rotation {
    /// Ends no stream, but those whose credential has a time.
    fn default() -> Self {
        let retry = Duration::from_millis(100)..=Duration::from_secs(1);
        Self { max_age: None, idle: None, retry, farewell: Farewell::default() }
    }
}

impl Rotation {
    /// Whether streams are ended that nothing is said of.
    pub(crate) fn is_on(&self) -> bool {
        self.max_age.is_some() || self.idle.is_some()
    }

    /// The age at which the n-th stream ends: in the last fifth of the greatest, never behind it.
    fn age_of(&self, n: u32) -> Option<Duration> {
        let most = self.max_age?.min(LONGEST);
        let fifth = most / 5;
        Some(fifth * 4 + Spread::in_window(n.into()).of(fifth))
    }
}

/// When one stream is to end.
#[derive(Debug)]
pub(super) struct Ends {
    /// The moment that was planned at its start, and what the client is reason of it.
    planned: Option<(Instant, CloseReason)>,
    idle: Option<Idle>,
    /// Events among those that were counted that are not the stream's own.
    pub(super) injected: u64,
}

impl Ends {
    /// When there is something to do next.
    pub(super) fn next(&self) -> Option<Instant> {
        let planned = self.planned.map(|(at, _)| at);
        [planned, self.idle.as_ref().map(|idle| idle.tick)].into_iter().flatten().min()
    }
}

/// Tells how long there was no event, without reading a clock for each.
///
/// It is asked eight times in the limit whether any was counted since it was asked last. So a
/// stream is idle after the limit at the earliest, and an eighth of it later at the latest.
#[derive(Debug)]
struct Idle {
    /// When to ask next.
    tick: Instant,
    step: Duration,
    /// How often in a row there was none.
    quiet: u32,
    seen: u64,
}

impl Idle {
    fn begin(now: Instant, limit: Duration) -> Self {
        let step = (limit.min(LONGEST) / STEPS).max(SHORTEST);
        Self { tick: now + step, step, quiet: 0, seen: 0 }
    }

    /// Asks at `now`, with the events counted so far: has there been none for too long?
    fn is_over(&mut self, now: Instant, events: u64, flowing: bool) -> bool {
        if self.tick > now {
            return false;
        }
        // A stream that was not polled meanwhile may have events that nobody took: a late tick
        // counts once.
        self.tick = match self.tick + self.step {
            next if next > now => next,
            _ => now + self.step,
        };
        let active = flowing || events != self.seen;
        self.seen = events;
        self.quiet = if active { 0 } else { self.quiet + 1 };
        self.quiet >= STEPS
    }
}

impl<S: AsRef<Settings>> Engine<S> {
    /// Plans the end of the stream, which begins at `now`; `expires` is when its credential does.
    ///
    /// If that has passed, it ends here and now.
    pub(crate) fn plan_end(&mut self, now: Instant, expires: Option<Instant>) -> Option<Bytes> {
        let rotation = self.settings.rotation.as_ref()?;
        let aged = rotation.age_of(self.n).map(|age| (now + age, CloseReason::Rotated));
        let expires = expires.map(|at| (at, CloseReason::Expired));
        // Of two at the same moment the credential's, which is the one that binds.
        let planned = [expires, aged].into_iter().flatten().min_by_key(|(at, _)| *at);
        let idle = rotation.idle.map(|limit| Idle::begin(now, limit));
        if planned.is_none() && idle.is_none() {
            return None;
        }
        self.rare().ends = Some(Ends { planned, idle, injected: 0 });
        self.expect_farewell();
        self.rotate(now)
    }

    /// Whether the stream is to end at some time, for its age.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.ends.is_some())
    }

    /// Ends the stream if its time has come, whatever its body has to say.
    pub(crate) fn rotate(&mut self, now: Instant) -> Option<Bytes> {
        let planned = self.rare.as_ref()?.ends.as_ref()?.planned;
        let (at, reason) = planned.filter(|(at, _)| *at <= now)?;
        self.end_for_age(at, reason, now)
    }

    /// Ends the stream if its time has come, or if it was idle while its body had nothing to say.
    pub(super) fn retire(&mut self, now: Instant) -> Option<Bytes> {
        let flowing = self.phase == Phase::Flowing;
        let events = self.events();
        let ends = self.rare.as_mut()?.ends.as_mut()?;
        let own = events - ends.injected;
        let idle = ends.idle.as_mut().is_some_and(|idle| idle.is_over(now, own, flowing));
        match ends.planned {
            Some((at, reason)) if at <= now => self.end_for_age(at, reason, now),
            _ if idle => self.end_for_age(now, CloseReason::Idle, now),
            _ => None,
        }
    }

    /// Gives the order to end, which in the middle of a long event waits for its end.
    fn end_for_age(&mut self, at: Instant, reason: CloseReason, now: Instant) -> Option<Bytes> {
        let rare = self.rare();
        rare.ends = None;
        let earlier = rare.close.as_ref();
        if earlier.is_some_and(|close| close.at <= at) {
            // It is time for that one too.
            return self.check_close(now);
        }
        let n = self.n.into();
        self.close(|settings| {
            let Rotation { retry, farewell, .. } = settings.as_ref().rotation.as_ref()?;
            let farewell = Cow::Borrowed(farewell);
            let retry = Some(Retry::nth(n, retry));
            Some((Close { reason, farewell, retry, at, cut_at: None }, now))
        })
    }
}

/// How often an idle stream is asked in its limit.
const STEPS: u32 = 8;
