//! What a shutdown, its streams and its connections share.

use std::borrow::Cow;
use std::future::poll_fn;
#[cfg(feature = "resume")]
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::connection_failure::ConnectionFailures;
use super::schedule::{DrainSchedule, DrainSettings};
use super::tally::{DrainReport, DrainStatus, DrainTally};
use crate::engine::spread::{Retry, Spread};
use crate::engine::{Close, EndReason, Farewell};
use crate::observe::{self, PendingGauge};
use crate::roster::{Registration, Roster, Visit};
use crate::sync::now;
use crate::wire::CloseReason;

/// What a shutdown, its streams and its connections share.
///
/// A drain begins once, and may then be forced once. Streams and connections are on lists that are
/// walked at both moments; each of them then asks what it is to do, and keeps its own time.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) settings: DrainSettings,
    streams: Roster<DrainStatus>,
    /// Both directions of each guarded connection, and what else waits for the drain to begin, to
    /// be forced, or to be over.
    waiting: Roster<()>,
    /// Set when the drain begins.
    schedule: OnceLock<DrainSchedule>,
    forced: OnceLock<Instant>,
    /// No stream enters any more, and all that did are members.
    sealed: AtomicBool,
    emptied: OnceLock<Instant>,
    /// How many others keep the drain from being over.
    holds: AtomicUsize,
    report: OnceLock<DrainReport>,
    /// The end was observed.
    concluded: AtomicBool,
    tally: DrainTally,
    failures: ConnectionFailures,
    refused: AtomicU64,
    pending: PendingGauge,
}

/// Keeps a drain from being over, up to its deadline.
#[cfg(feature = "resume")]
#[derive(Debug)]
pub(crate) struct DrainHold(Arc<Drain>);

#[cfg(feature = "resume")]
impl Drop for DrainHold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::SeqCst);
        if self.0.started().is_some() {
            self.0.finish_if_empty(now());
        }
    }
}

impl Drain {
    pub(crate) fn new(mut settings: DrainSettings) -> Self {
        settings.farewell = settings.farewell.for_reason(CloseReason::Shutdown);
        Self {
            settings,
            streams: Roster::new(),
            waiting: Roster::new(),
            schedule: OnceLock::new(),
            forced: OnceLock::new(),
            sealed: AtomicBool::new(false),
            emptied: OnceLock::new(),
            holds: AtomicUsize::new(0),
            report: OnceLock::new(),
            concluded: AtomicBool::new(false),
            tally: DrainTally::default(),
            failures: ConnectionFailures::default(),
            refused: AtomicU64::new(0),
            pending: PendingGauge::default(),
        }
    }

    /// When the drain began, if it has.
    #[inline]
    pub(crate) fn started(&self) -> Option<Instant> {
        // One load before the drain: connections ask whenever they are read or written.
        self.schedule.get().map(|schedule| schedule.begun_at)
    }

    /// When the notice is over, if the drain has begun.
    pub(crate) fn closing_at(&self) -> Option<Instant> {
        let closing_at = self.schedule.get()?.closing_at;
        Some(self.forced.get().map_or(closing_at, |forced| closing_at.min(*forced)))
    }

    /// When connections are given up, if the drain has begun.
    #[inline]
    pub(crate) fn hard_deadline(&self) -> Option<Instant> {
        let deadline = self.schedule.get()?.hard_deadline;
        Some(self.forced.get().map_or(deadline, |forced| deadline.min(*forced + LAST_BYTES)))
    }

    /// Whether connections are given up.
    pub(crate) fn is_past_deadline(&self, now: Instant) -> bool {
        self.hard_deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Whether new streams are refused, because streams are being closed.
    ///
    /// The clock is read only during a drain.
    pub(crate) fn refuses(&self, now: impl FnOnce() -> Instant) -> bool {
        self.closing_at().is_some_and(|closing| closing <= now())
    }

    /// Begins to drain. Only the first call does, and returns true.
    pub(crate) fn begin(&self) -> bool {
        let open = self.streams.len();
        let schedule = DrainSchedule::new(&self.settings, now(), open);
        let spread = schedule.spread;
        if self.schedule.set(schedule).is_err() {
            return false;
        }
        let DrainSettings { notice, deadline, .. } = self.settings;
        observe::drain_begins(open, notice, spread, deadline);
        // Before the walk, so that the gauge never falls below zero when streams leave meanwhile.
        self.pending.add(open);
        let admitted = self.admit_all(Visit::Wake);
        self.pending.add(admitted.saturating_sub(open));
        self.pending.remove(open.saturating_sub(admitted));
        self.waiting.visit(|_, ()| Visit::Wake);
        if notice.is_zero() {
            // This walk is that of `finish_if_empty`, too.
            self.sealed.store(true, Ordering::SeqCst);
        }
        self.finish_if_empty(now());
        true
    }

    /// Moves the deadline to now, and begins to drain if that has not begun.
    pub(crate) fn force(&self) {
        if self.forced.set(now()).is_err() || self.begin() {
            return;
        }
        observe::drain_forced();
        self.streams.visit(|_, _| Visit::Wake);
        self.waiting.visit(|_, ()| Visit::Wake);
        self.finish_if_empty(now());
    }

    /// Makes members of all streams that are open, and returns how many are new.
    fn admit_all(&self, then: Visit) -> usize {
        let mut admitted = 0;
        self.streams.visit(|_, status| {
            admitted += usize::from(self.tally.admit(status).1);
            then
        });
        admitted
    }

    /// Puts a stream on the list, unless streams are being closed.
    pub(crate) fn register(&self) -> Option<Registration<DrainStatus>> {
        let mut late = false;
        let admit = || {
            let closing = self.closing_at();
            late = closing.is_some();
            closing.is_none_or(|closing| now() < closing)
        };
        let registration = self.streams.insert(admit, |_| DrainStatus::OPEN)?;
        // The walk of the trigger may have come by already, and does not come again.
        Some(if late { self.admit_late(registration) } else { registration })
    }

    /// Makes a stream a member that opens during the notice.
    #[cold]
    fn admit_late(&self, mut registration: Registration<DrainStatus>) -> Registration<DrainStatus> {
        let is_new = registration.update(|status| self.tally.admit(status).1);
        self.pending.add(usize::from(is_new == Some(true)));
        registration.signal();
        registration
    }

    /// Puts a direction of a connection, or what else waits, on the list of those that are woken.
    pub(crate) fn connect(&self) -> Option<Registration<()>> {
        self.waiting.insert(|| true, |_| ())
    }

    /// Takes a stream off that has ended.
    pub(crate) fn unregister(&self, registration: Registration<DrainStatus>, reason: EndReason) {
        let was_pending = registration.remove(|status| {
            // It may have learned of the trigger before the walk came by.
            let is_new = self.started().is_some() && self.tally.admit(status).1;
            if status.member().is_some() {
                // One that is dropped at the deadline or later, and did not end by itself, is left
                // over.
                let dropped = matches!(reason, EndReason::ClientGone | EndReason::Stalled);
                if !(dropped && self.is_past_deadline(now())) {
                    self.tally.record_end(reason);
                }
            }
            status.member().is_some() && !is_new
        });
        self.pending.remove(usize::from(was_pending == Some(true)));
        // Asked again after it left: the drain may have begun meanwhile, and have counted it.
        if self.started().is_some() {
            self.finish_if_empty(now());
        }
    }

    /// Finds out whether the last stream has left, once the notice is over.
    fn finish_if_empty(&self, at: Instant) {
        if !self.refuses(|| at) {
            return;
        }
        if !self.sealed.load(Ordering::SeqCst) {
            // A stream may be about to enter that was admitted before. This walk takes the locks
            // under which streams enter, so all of them are counted after it. As members, too: the
            // walk of the trigger may not have come to all of them yet, and a report may be due.
            let admitted = self.admit_all(Visit::Skip);
            self.pending.add(admitted);
            // In one order with the count: of a walk that ends and a stream that leaves at the same
            // time one has to see the other, or nobody would learn that all have left.
            self.sealed.store(true, Ordering::SeqCst);
        }
        if self.streams.len() == 0
            && self.holds.load(Ordering::SeqCst) == 0
            && self.emptied.set(at).is_ok()
        {
            // Observed before those that wait go on, and perhaps end the process.
            self.report();
            self.waiting.visit(|_, ()| Visit::Wake);
        }
    }

    /// What happened. It is the same for all that ask once the drain is over.
    pub(crate) fn report(&self) -> DrainReport {
        let started = self.started().unwrap_or_else(now);
        let over = self.emptied.get().copied().unwrap_or_else(now);
        let report = *self.report.get_or_init(|| self.tally.report(over - started));
        if !self.concluded.swap(true, Ordering::Relaxed) {
            let DrainReport { closed, finished, cut, stalled, forced, elapsed } = report;
            observe::drain_ended([closed, finished, cut, stalled, forced], elapsed);
        }
        report
    }

    /// Keeps the drain from being over, as a stream does, but is no stream: it is in no report.
    #[cfg(feature = "resume")]
    pub(crate) fn hold(self: &Arc<Self>) -> DrainHold {
        self.holds.fetch_add(1, Ordering::SeqCst);
        DrainHold(Arc::clone(self))
    }

    /// Waits until the drain has begun.
    pub(crate) async fn begun(&self) {
        self.wait_until(|| self.started().is_some()).await;
    }

    /// Waits until the drain has begun and its notice is over.
    pub(crate) async fn notice_over(&self) {
        self.begun().await;
        if let Some(closing_at) = self.closing_at().filter(|at| now() < *at) {
            let forced = self.wait_until(|| self.forced.get().is_some());
            // Ready in time or not, the notice is over.
            let _ = timeout_at(closing_at.into(), forced).await;
        }
        // All streams may have left during the notice, or there may be none.
        self.finish_if_empty(now());
    }

    /// Waits until no stream is left, or the deadline has passed.
    pub(crate) async fn over(&self) {
        let is_over = || self.emptied.get().is_some();
        while let Some(deadline) = self.hard_deadline().filter(|_| !is_over()) {
            if deadline <= now() {
                return;
            }
            let moved = || self.hard_deadline() != Some(deadline);
            // Whether it was in time shows in what is left.
            let _ = timeout_at(deadline.into(), self.wait_until(|| is_over() || moved())).await;
        }
    }

    async fn wait_until(&self, reached: impl Fn() -> bool) {
        if reached() {
            return;
        }
        let mut waiting = self.connect();
        poll_fn(|cx| {
            loop {
                if let Some(waiting) = &mut waiting {
                    waiting.mark_seen();
                }
                // After that, so that what is reached later is a signal.
                if reached() {
                    return Poll::Ready(());
                }
                if !waiting.as_ref().is_some_and(|waiting| waiting.register(cx.waker())) {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// The order to end a stream, if the drain has begun, and what time it is at least.
    ///
    /// It marks the signal of the stream as seen.
    #[inline]
    pub(crate) fn close_order<'a>(
        &'a self,
        registration: &mut Registration<DrainStatus>,
        finish_within: Option<Duration>,
        farewell: Option<&'a Farewell>,
    ) -> Option<(Close<'a>, Instant)> {
        let schedule = self.schedule.get()?;
        let (n, is_new) = registration.update(|status| self.tally.admit(status))?;
        if is_new {
            // The walk has not come by yet. It adds to the gauge those that it makes members.
            self.pending.add(1);
        }
        let forced = self.forced.get().copied();
        let at = forced.unwrap_or_else(|| schedule.end_of(n, finish_within, &self.settings));
        let close = Close {
            reason: CloseReason::Shutdown,
            farewell: Cow::Borrowed(farewell.unwrap_or(&self.settings.farewell)),
            retry: Some(Retry::nth(n.into(), &schedule.retry)),
            at,
            cut_at: Some(forced.map_or(schedule.last_call, |at| at.min(schedule.last_call))),
        };
        // What is due at once needs no look at the clock.
        let known = forced.unwrap_or(schedule.begun_at);
        let now = if close.at <= known { known } else { now() };
        Some((close, now))
    }

    /// How long a client is to wait that asks for a stream while the server drains.
    pub(crate) fn retry_refused(&self) -> Duration {
        let retry = self.schedule.get().map_or(&self.settings.retry, |schedule| &schedule.retry);
        Spread::nth_return(self.refused.fetch_add(1, Ordering::Relaxed)).within(retry)
    }

    /// Records that the connection that this task drives is given up.
    pub(crate) fn record_connection_failure(&self, now: Instant) {
        self.failures.record(now);
    }

    /// Whether any connection was given up in the last moments.
    pub(crate) fn connection_failed_recently(&self, now: Instant) -> bool {
        self.failures.is_recent(now)
    }
}

/// How long connections have after a drain is forced to send the last bytes of streams. A client
/// that reads takes them within a round trip or two.
const LAST_BYTES: Duration = Duration::from_millis(250);
