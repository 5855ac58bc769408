//! The span of one stream.

use std::time::Duration;

use tracing::field::Empty;
use tracing::{Span, debug, info_span, warn};

use crate::engine::{EndReason, Engine, Settings};
use crate::observe::Subject;

/// The span of one stream. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct StreamSpan(Span);

impl StreamSpan {
    /// A child of the span that is current, if somebody subscribed to such spans.
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

    /// Says what is asked of the stream.
    pub(super) fn starts(&self, plan: impl FnOnce() -> String) {
        debug!(target: TARGET, parent: &self.0, plan = plan(), "stream starts");
    }

    /// Says how the stream ended, and closes the span.
    pub(super) fn ended(
        self,
        reason: EndReason,
        after: Duration,
        bytes: u64,
        engine: &Engine<impl AsRef<Settings>>,
    ) {
        let (reason, duration_secs) = (reason.as_str(), after.as_secs_f64());
        let keepalives = engine.keepalives();
        let events = engine.counts_events().then(|| engine.events());
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

/// Says that the streams of a layer cannot be looked at.
pub(super) fn warn_of_encoding(path: &str) {
    warn!(target: TARGET, path, "an event stream with a Content-Encoding passes untouched");
}

/// Not the module's path: whoever filters by it is to find the same word in every version.
const TARGET: &str = "tower_sse";
