//! What a shutdown and its streams share.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::profile::now;
use super::{DrainReport, Roster, Seat, Visit};
use crate::engine::spread::Spread;
use crate::engine::{Close, EndReason, Farewell};
use crate::observe::Pending;

/// What a shutdown and its streams share.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) settings: DrainSettings,
    pub(crate) roster: Arc<Roster<()>>,
    /// When no stream waits any longer for its own end, counted from the trigger.
    last_call: Duration,
    started: OnceLock<Instant>,
    /// Every stream that was open then has been told.
    walked: AtomicBool,
    emptied: OnceLock<Instant>,
    report: OnceLock<DrainReport>,
    /// Streams that ended since then, by reason.
    ended: [AtomicUsize; EndReason::ALL.len()],
    refused: AtomicU64,
    /// Tells how many streams are still waited for.
    pending: Pending,
    /// Advanced when the drain begins and when the last stream has left it.
    progress: watch::Sender<()>,
}

#[derive(Clone, Debug)]
pub(crate) struct DrainSettings {
    pub(crate) window: Duration,
    pub(crate) deadline: Duration,
    pub(crate) retry: RangeInclusive<Duration>,
    pub(crate) farewell: Farewell,
}

impl Drain {
    pub(crate) fn new(settings: DrainSettings) -> Self {
        Self {
            last_call: settings.deadline.mul_f32(LAST_CALL),
            settings,
            roster: Arc::new(Roster::new()),
            started: OnceLock::new(),
            walked: AtomicBool::new(false),
            emptied: OnceLock::new(),
            report: OnceLock::new(),
            ended: Default::default(),
            refused: AtomicU64::new(0),
            pending: Pending::default(),
            progress: watch::Sender::new(()),
        }
    }

    /// When the drain began, if it has.
    pub(crate) fn started(&self) -> Option<Instant> {
        self.started.get().copied()
    }

    /// Begins to drain; only the first call does.
    pub(crate) fn begin(&self) {
        if self.started.set(now()).is_ok() {
            self.progress.send_replace(());
            self.roster.visit(|_, ()| Visit::Wake);
            self.walked.store(true, Ordering::SeqCst);
            self.pending.follow(|| self.roster.len());
            self.check_emptied();
        }
    }

    /// Enters a stream, unless the drain has begun.
    pub(crate) fn enter(&self) -> Option<Seat<()>> {
        self.roster.join(|| self.started().is_none(), |_| ())
    }

    /// Takes a stream off that has ended.
    pub(crate) fn leave(&self, seat: Seat<()>, reason: EndReason) {
        if self.started().is_some() {
            self.ended[reason.index()].fetch_add(1, Ordering::Relaxed);
        }
        drop(seat);
        if self.started().is_some() {
            self.pending.follow(|| self.roster.len());
            self.check_emptied();
        }
    }

    fn check_emptied(&self) {
        // Before the walk a stream may be about to enter that saw no drain yet. The walk takes the
        // locks under which they enter, so behind it all of them are counted.
        //
        // In one order with the count: of a walk that ends and a stream that leaves at the same
        // time, one has to see the other, or nobody would say that all have left.
        let counted = self.walked.load(Ordering::SeqCst);
        if counted && self.roster.len() == 0 && self.emptied.set(now()).is_ok() {
            self.progress.send_replace(());
        }
    }

    /// When nobody waits any longer; none if no stream is left to wait for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let waits = self.emptied.get().is_none();
        self.started().filter(|_| waits).map(|started| started + self.settings.deadline)
    }

    /// What happened; the same for all who ask once it is over.
    pub(crate) fn report(&self) -> DrainReport {
        let started = self.started().unwrap_or_else(now);
        let over = self.emptied.get().copied().unwrap_or_else(now);
        *self.report.get_or_init(|| DrainReport::of(self, over - started))
    }

    /// Streams that ended since the drain began.
    pub(crate) fn ended(&self, reason: EndReason) -> usize {
        self.ended[reason.index()].load(Ordering::Relaxed)
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

    /// The order for the `n`-th stream of a drain that began at `started`.
    pub(crate) fn close(
        &self,
        n: u64,
        started: Instant,
        finish_within: Option<Duration>,
        farewell: Option<&Farewell>,
    ) -> Close {
        let wait = match finish_within {
            Some(limit) => limit.min(self.last_call),
            None => Spread::in_window(n).of(self.settings.window.min(self.last_call)),
        };
        Close {
            reason: EndReason::Closed,
            farewell: farewell.unwrap_or(&self.settings.farewell).clone(),
            retry: Some(self.retry(n)),
            at: started + wait,
            cut_at: Some(started + self.last_call),
        }
    }

    /// How long a client is to wait that comes while the server drains.
    pub(crate) fn retry_refused(&self) -> Duration {
        self.retry(self.refused.fetch_add(1, Ordering::Relaxed))
    }

    fn retry(&self, n: u64) -> Duration {
        Spread::in_retry(n).between(*self.settings.retry.start(), *self.settings.retry.end())
    }
}

/// The share of the deadline after which no stream waits any longer for its own end: a farewell
/// that is written at the deadline itself would come too late to be sent.
const LAST_CALL: f32 = 0.95;
