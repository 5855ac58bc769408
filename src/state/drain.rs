//! What a shutdown and its streams share.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::DrainReport;
use super::tally::{DrainStatus, DrainTally};
use crate::engine::spread::{Retry, Spread};
use crate::engine::{Close, CloseReason, EndReason, Farewell};
use crate::observe::Pending;
use crate::roster::{Registration, Roster, Visit};
use crate::sync::now;

/// What a shutdown, its streams and its connections share.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) settings: DrainSettings,
    pub(crate) roster: Arc<Roster<DrainStatus>>,
    /// Who is to be woken when it begins: both directions of each connection.
    connections: Roster<()>,
    /// When no stream waits any longer for its own end, counted from the end of the notice.
    last_call: Duration,
    begun: OnceLock<Begun>,
    /// No stream enters any more, and all that did are on the list.
    sealed: AtomicBool,
    emptied: OnceLock<Instant>,
    report: OnceLock<DrainReport>,
    tally: DrainTally,
    refused: AtomicU64,
    /// Tells how many streams are still waited for.
    pending: Pending,
    /// Advanced when the drain begins and when the last stream has left it.
    progress: watch::Sender<()>,
}

#[derive(Clone, Debug)]
pub(crate) struct DrainSettings {
    /// How long streams are served as before when it has begun.
    pub(crate) notice: Duration,
    pub(crate) window: Duration,
    pub(crate) deadline: Duration,
    pub(crate) retry: RangeInclusive<Duration>,
    pub(crate) farewell: Farewell,
    /// How long a client may take nothing; none is for ever.
    pub(crate) stall_limit: Option<Duration>,
}

/// The moments of a drain that has begun.
#[derive(Clone, Copy, Debug)]
struct Begun {
    at: Instant,
    /// The end of the notice.
    closing_at: Instant,
    last_call: Instant,
    hard_deadline: Instant,
}

impl Drain {
    pub(crate) fn new(mut settings: DrainSettings) -> Self {
        let last_call = settings.deadline.mul_f32(LAST_CALL);
        settings.window = settings.window.min(last_call);
        settings.farewell = settings.farewell.for_reason(CloseReason::Shutdown);
        Self {
            last_call,
            settings,
            roster: Arc::new(Roster::new()),
            connections: Roster::new(),
            begun: OnceLock::new(),
            sealed: AtomicBool::new(false),
            emptied: OnceLock::new(),
            report: OnceLock::new(),
            tally: DrainTally::default(),
            refused: AtomicU64::new(0),
            pending: Pending::default(),
            progress: watch::Sender::new(()),
        }
    }

    /// When the drain began, if it has.
    #[inline]
    pub(crate) fn started(&self) -> Option<Instant> {
        self.begun.get().map(|begun| begun.at)
    }

    /// When the notice is over, if the drain has begun.
    pub(crate) fn closing_at(&self) -> Option<Instant> {
        self.begun.get().map(|begun| begun.closing_at)
    }

    /// When connections are given up, if the drain has begun.
    #[inline]
    pub(crate) fn hard_deadline(&self) -> Option<Instant> {
        // One load until then: connections ask whenever they are read or written.
        self.begun.get().map(|begun| begun.hard_deadline)
    }

    /// Begins to drain; only the first call does.
    pub(crate) fn begin(&self) {
        let at = now();
        let closing_at = at + self.settings.notice;
        let (last_call, hard_deadline) =
            (closing_at + self.last_call, closing_at + self.settings.deadline);
        if self.begun.set(Begun { at, closing_at, last_call, hard_deadline }).is_ok() {
            self.progress.send_replace(());
            self.roster.visit(|_, status| {
                self.tally.admit(status);
                Visit::Wake
            });
            self.connections.visit(|_, ()| Visit::Wake);
            if self.settings.notice.is_zero() {
                // This walk is that of `finish_if_empty`, too.
                self.sealed.store(true, Ordering::SeqCst);
            }
            self.pending.follow(|| self.roster.len());
            self.finish_if_empty(now());
        }
    }

    /// Whether streams that come are turned away, since streams are being closed.
    pub(crate) fn refuses(&self, now: Instant) -> bool {
        self.closing_at().is_some_and(|closing| closing <= now)
    }

    /// Enters a stream, unless streams are being closed.
    pub(crate) fn enter(&self) -> Option<Registration<DrainStatus>> {
        let mut late = false;
        let admit = || {
            let closing = self.closing_at();
            late = closing.is_some();
            closing.is_none_or(|closing| now() < closing)
        };
        let seat = self.roster.join(admit, |_| DrainStatus::Open)?;
        // The walk of the trigger may have come by already, and not again.
        Some(if late { self.enter_late(seat) } else { seat })
    }

    /// Enters a stream during the notice.
    #[cold]
    fn enter_late(&self, mut seat: Registration<DrainStatus>) -> Registration<DrainStatus> {
        seat.look(|status| self.tally.admit(status));
        self.pending.follow(|| self.roster.len());
        seat.unseen()
    }

    /// Puts a direction of a connection on the list of those that are woken by the trigger.
    pub(crate) fn connect(&self) -> Option<Registration<()>> {
        self.connections.join(|| true, |_| ())
    }

    /// Takes a stream off that has ended.
    pub(crate) fn leave(&self, mut seat: Registration<DrainStatus>, reason: EndReason) {
        let status = seat.look(|status| {
            if self.started().is_some() {
                // It may have heard of the trigger before the walk of it came by.
                self.tally.admit(status);
            }
            std::mem::replace(status, DrainStatus::Gone)
        });
        if status == Some(DrainStatus::Member) {
            // Dropped, and not ended by itself, at the deadline or later: it is left over.
            let dropped = matches!(reason, EndReason::ClientGone | EndReason::Stalled);
            if !(dropped && self.is_past_deadline(now())) {
                self.tally.leave(reason);
            }
        }
        drop(seat);
        // OuterPlan behind that: it may have begun meanwhile, and have seen this stream on the list.
        if self.started().is_some() {
            self.pending.follow(|| self.roster.len());
            self.finish_if_empty(now());
        }
    }

    /// Whether connections are given up.
    pub(crate) fn is_past_deadline(&self, now: Instant) -> bool {
        self.hard_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Sees whether the last stream has left, once the notice is over.
    pub(crate) fn finish_if_empty(&self, at: Instant) {
        if self.closing_at().is_none_or(|closing| at < closing) {
            return;
        }
        if !self.sealed.load(Ordering::SeqCst) {
            // Before this walk a stream may be about to enter that was let in before. The walk
            // takes the locks under which they enter, so behind it all of them are counted. As
            // members, too: the walk of the trigger may not have come to all of them yet, and a
            // report may be due.
            self.roster.visit(|_, status| {
                self.tally.admit(status);
                Visit::Pass
            });
            // In one order with the count: of a walk that ends and a stream that leaves at the
            // same time, one has to see the other, or nobody would say that all have left.
            self.sealed.store(true, Ordering::SeqCst);
        }
        if self.roster.len() == 0 && self.emptied.set(at).is_ok() {
            self.progress.send_replace(());
        }
    }

    /// When nobody waits any longer; none if no stream is left to wait for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waits = self.emptied.get().is_none();
        self.hard_deadline().filter(|_| waits)
    }

    /// What happened; the same for all who ask once it is over.
    pub(crate) fn report(&self) -> DrainReport {
        let started = self.started().unwrap_or_else(now);
        let over = self.emptied.get().copied().unwrap_or_else(now);
        *self.report.get_or_init(|| DrainReport::of(&self.tally, over - started))
    }

    /// Waits until the drain has begun.
    pub(crate) async fn begun(&self) {
        self.wait_until(|| self.started().is_some()).await;
    }

    /// Waits until no stream is left.
    pub(crate) async fn emptied(&self) {
        self.wait_until(|| self.emptied.get().is_some()).await;
    }

    async fn wait_until(&self, reached: impl Fn() -> bool) {
        let mut progress = self.progress.subscribe();
        while !reached() {
            // The sender is ours, so it cannot be gone.
            let _ = progress.changed().await;
        }
    }

    /// The order for the `n`-th stream, if the drain has begun, and what time it is at least.
    #[inline]
    pub(crate) fn close<'a>(
        &'a self,
        n: u64,
        finish_within: Option<Duration>,
        farewell: Option<&'a Farewell>,
    ) -> Option<(Close<'a>, Instant)> {
        let begun = self.begun.get()?;
        let wait = match finish_within {
            Some(limit) => limit.min(self.last_call),
            None => Spread::in_window(n).of(self.settings.window),
        };
        let close = Close {
            reason: CloseReason::Shutdown,
            farewell: Cow::Borrowed(farewell.unwrap_or(&self.settings.farewell)),
            retry: Some(Retry::nth(n, &self.settings.retry)),
            at: begun.closing_at + wait,
            cut_at: Some(begun.last_call),
        };
        // What is due at once needs no look at the clock.
        let now = if close.at <= begun.at { begun.at } else { now() };
        Some((close, now))
    }

    /// How long a client is to wait that comes while the server drains.
    pub(crate) fn retry_refused(&self) -> Duration {
        Retry::alone(self.refused.fetch_add(1, Ordering::Relaxed), &self.settings.retry)
    }
}

/// The share of the deadline after which no stream waits any longer for its own end: a farewell
/// that is written at the deadline itself would come too late to be sent.
const LAST_CALL: f32 = 0.95;
