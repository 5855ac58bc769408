//! What is observed of one stream, and of the streams of one layer.

use std::mem::replace;
use std::sync::Arc;
use std::time::Instant;

use super::Subject;
#[cfg(feature = "metrics")]
use super::metrics::{LayerMeters, StreamMeter};
#[cfg(feature = "tracing")]
use super::tracing::StreamSpan;
use crate::engine::{EndReason, Progress};
use crate::sync::catch_panic;

/// Observes the streams of one layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerObserver(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    #[cfg(feature = "metrics")]
    meters: LayerMeters,
    #[cfg(feature = "tracing")]
    warned: std::sync::atomic::AtomicBool,
}

/// Observes one stream, if there is a recorder or a subscriber.
#[derive(Debug)]
pub(crate) struct StreamObserver(Option<Box<Observed>>);

#[derive(Debug)]
struct Observed {
    opened: Instant,
    bytes: u64,
    /// The number of bytes at which there is something to do next: every frame may have the first
    /// event, and after that bytes are counted in batches.
    check_at: u64,
    /// The number of bytes that the recorder knows of.
    recorded: u64,
    has_begun: bool,
    /// All events are counted, not only the first.
    counts_events: bool,
    #[cfg(feature = "metrics")]
    meter: Option<StreamMeter>,
    #[cfg(feature = "tracing")]
    span: Option<StreamSpan>,
}

impl LayerObserver {
    /// Observes a stream that opens at `now`.
    #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "spans have it"))]
    #[cfg_attr(not(feature = "metrics"), expect(clippy::unused_self, reason = "no meters"))]
    pub(crate) fn open(&self, subject: Subject<'_>, now: Instant) -> StreamObserver {
        let observed = Observed {
            opened: now,
            bytes: 0,
            check_at: 0,
            recorded: 0,
            has_begun: false,
            counts_events: false,
            #[cfg(feature = "metrics")]
            meter: self.0.meters.open(),
            #[cfg(feature = "tracing")]
            span: catch_panic(|| StreamSpan::open(subject)).flatten(),
        };
        StreamObserver(observed.is_of_use().then(|| Box::new(observed)))
    }

    /// Warns once of a stream that is not observed, if `is_stream` says that it is one.
    #[cfg_attr(not(feature = "tracing"), expect(unused, clippy::unused_self, reason = "no events"))]
    pub(crate) fn passed_by(&self, is_stream: impl FnOnce() -> bool, path: &str) {
        #[cfg(feature = "tracing")]
        {
            use std::sync::atomic::Ordering::Relaxed;
            let warned = &self.0.warned;
            if !warned.load(Relaxed) && is_stream() && !warned.swap(true, Relaxed) {
                super::tracing::warn_of_encoding(path);
            }
        }
    }
}

impl StreamObserver {
    /// Observes nothing.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Whether each frame is to be recorded.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Records the plan with which the stream starts.
    #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no span"))]
    pub(crate) fn starts(&mut self, counts_events: bool, plan: impl FnOnce() -> String) {
        if let Some(observed) = &mut self.0 {
            observed.counts_events = counts_events;
        }
        #[cfg(feature = "tracing")]
        if let Some(span) = self.0.as_ref().and_then(|observed| observed.span.as_ref()) {
            catch_panic(|| span.starts(plan));
        }
    }

    /// Records a frame that is sent. Few frames need the progress.
    #[inline]
    pub(crate) fn sent<'a>(
        &mut self,
        bytes: usize,
        progress: impl FnOnce() -> Progress<'a>,
        now: fn() -> Instant,
    ) {
        if let Some(observed) = &mut self.0 {
            observed.bytes += bytes as u64;
            if observed.bytes >= observed.check_at {
                observed.check(&progress(), now);
            }
        }
    }

    /// Adds what was sent since the last time to the recorder's counts.
    #[inline]
    pub(crate) fn flush(&mut self, progress: &Progress<'_>) {
        if let Some(observed) = &mut self.0 {
            observed.flush(progress);
        }
    }

    /// Records the end.
    pub(crate) fn ended(
        &mut self,
        reason: EndReason,
        progress: &Progress<'_>,
        now: fn() -> Instant,
    ) {
        let Some(mut observed) = self.0.take() else {
            return;
        };
        observed.flush(progress);
        let after = now().saturating_duration_since(observed.opened);
        // Each by itself, so that a panic of one keeps nothing from the other.
        #[cfg(feature = "metrics")]
        if let Some(meter) = observed.meter {
            catch_panic(|| meter.ended(reason, after));
        }
        #[cfg(feature = "tracing")]
        if let Some(span) = observed.span {
            let Observed { bytes, counts_events, .. } = *observed;
            catch_panic(|| span.ended(reason, after, bytes, counts_events, progress));
        }
    }
}

impl Observed {
    /// Whether there is a recorder or a subscriber.
    fn is_of_use(&self) -> bool {
        #[cfg(feature = "metrics")]
        if self.meter.is_some() {
            return true;
        }
        #[cfg(feature = "tracing")]
        if self.span.is_some() {
            return true;
        }
        false
    }

    #[inline]
    fn flush(&mut self, progress: &Progress<'_>) {
        // Nothing is sent without bytes.
        if self.bytes == self.recorded {
            return;
        }
        // Before the call, so that a recorder that panics does not get them twice.
        let bytes = self.bytes - replace(&mut self.recorded, self.bytes);
        #[cfg(feature = "metrics")]
        if let Some(meter) = &mut self.meter {
            catch_panic(move || meter.add(bytes, progress));
        }
        #[cfg(not(feature = "metrics"))]
        let _ = (bytes, progress);
    }

    #[cold]
    fn check(&mut self, progress: &Progress<'_>, now: fn() -> Instant) {
        if self.has_begun {
            self.flush(progress);
        } else if progress.events == 0 {
            return;
        } else {
            self.has_begun = true;
            let after = now().saturating_duration_since(self.opened);
            #[cfg(feature = "metrics")]
            if let Some(meter) = &mut self.meter {
                catch_panic(|| meter.first_event(after, self.counts_events));
            }
            #[cfg(not(feature = "metrics"))]
            let _ = after;
        }
        self.check_at = self.bytes + BATCH;
    }
}

/// How many bytes a stream that always has something to send adds to the recorder's counts at a
/// time. Of small events that is a thousand, so that each costs next to nothing.
const BATCH: u64 = 64 * 1024;
