//! The spans of streams, and the events of streams, layers and drains.

use std::time::Duration;

use tracing::field::Empty;
use tracing::{Span, debug, info, info_span, warn};

use super::Subject;
use crate::engine::{EndReason, Progress};
use crate::sync::catch_panic;

/// The span of one stream. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct StreamSpan(Span);

impl StreamSpan {
    /// A child of the current span. `None` if no subscriber is interested.
    pub(super) fn open(subject: Subject<'_>) -> Option<Self> {
        let Subject { label, method, path } = subject;
        let span = info_span!(
            target: TARGET,
            "sse.stream",
            label = (!label.is_empty()).then_some(label),
            method = method.as_str(),
            path,
            reason = Empty,
            duration_secs = Empty,
            events = Empty,
            bytes = Empty,
            keepalives = Empty,
        );
        (!span.is_disabled()).then_some(Self(span))
    }

    pub(super) fn starts(&self, plan: impl FnOnce() -> String) {
        debug!(target: TARGET, parent: &self.0, plan = plan(), "stream starts");
    }

    /// Records how the stream ended, and closes the span.
    pub(super) fn ended(
        self,
        reason: EndReason,
        after: Duration,
        bytes: u64,
        counts_events: bool,
        progress: &Progress<'_>,
    ) {
        let (reason, duration_secs) = (reason.as_str(), after.as_secs_f64());
        let keepalives = progress.keepalives;
        let events = counts_events.then_some(progress.events);
        self.0.record("reason", reason);
        self.0.record("duration_secs", duration_secs);
        self.0.record("events", events);
        self.0.record("bytes", bytes);
        self.0.record("keepalives", keepalives);
        debug!(
            target: TARGET,
            parent: &self.0,
            reason,
            duration_secs,
            events,
            bytes,
            keepalives,
            "stream ended"
        );
    }
}

/// Warns that the streams of a layer pass untouched.
pub(super) fn warn_of_encoding(path: &str) {
    catch_panic(|| {
        warn!(target: TARGET, path, "an event stream with a Content-Encoding passes untouched");
    });
}

/// Logs that a drain begins with so many open streams, whose ends are spread over `spread`.
pub(crate) fn drain_begins(streams: usize, notice: Duration, spread: Duration, deadline: Duration) {
    catch_panic(|| {
        info!(
            target: TARGET,
            streams,
            notice_secs = notice.as_secs_f64(),
            spread_secs = spread.as_secs_f64(),
            deadline_secs = deadline.as_secs_f64(),
            "drain begins"
        );
    });
}

/// Logs that the deadline of a drain is moved to now.
pub(crate) fn drain_forced() {
    catch_panic(|| info!(target: TARGET, "drain is forced"));
}

/// Logs the end of a drain: how many streams were closed, finished, cut, stalled and forced.
pub(crate) fn drain_ended(counts: [usize; 5], elapsed: Duration) {
    let [closed, finished, cut, stalled, forced] = counts;
    let elapsed_secs = elapsed.as_secs_f64();
    catch_panic(|| {
        info!(
            target: TARGET,
            closed,
            finished,
            cut,
            stalled,
            forced,
            elapsed_secs,
            "drain ended"
        );
    });
}

/// Warns that a log of a broker cannot be read.
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
pub(crate) fn log_cannot_be_read(log: &'static str, problem: &str) {
    catch_panic(|| warn!(target: TARGET, log, problem, "a log cannot be read"));
}

/// Logs that a log of a broker is read again, which it was not for so long.
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
pub(crate) fn log_is_read_again(log: &'static str, unread: Duration) {
    let unread_secs = unread.as_secs_f64();
    catch_panic(|| info!(target: TARGET, log, unread_secs, "a log is read again"));
}

/// Not the module's path: a filter by target finds the same word in every version.
const TARGET: &str = "tower_sse";
