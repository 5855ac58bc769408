//! The metrics of streams and drains, as a recorder is asked for them.

use std::cell::Cell;
use std::mem::replace;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, IntoF64, Key, KeyName, Label, Level, Metadata, Recorder, Unit,
    with_recorder,
};

use crate::engine::{EndReason, Progress};
use crate::sync::catch_panic;

/// The metrics of the streams of one layer, once there is a recorder.
#[derive(Debug, Default)]
pub(super) struct LayerMeters(OnceLock<Option<Arc<Meters>>>);

/// What one stream adds to the metrics.
#[derive(Debug)]
pub(super) struct StreamMeter {
    meters: Arc<Meters>,
    /// All events are counted, and not only the first ones.
    counts_events: bool,
    /// What was added so far.
    events: u64,
    keepalives: u32,
}

#[derive(Debug)]
struct Meters {
    open: Gauge,
    opened: Counter,
    /// By [`EndReason::index`].
    ended: [Counter; EndReason::ALL.len()],
    duration: Histogram,
    first_event: Histogram,
    events: Counter,
    bytes: Counter,
    keepalives: Counter,
}

impl LayerMeters {
    /// Counts a stream that opens, if there is a recorder.
    pub(super) fn open(&self) -> Option<StreamMeter> {
        let meters = match self.0.get() {
            Some(known) => known.clone()?,
            None => match catch_panic(|| with_recorder(Meters::of)) {
                // The next stream asks again.
                Some(None) => return None,
                Some(made) => self.0.get_or_init(|| made.map(Arc::new)).clone()?,
                // A recorder that panics is not asked again.
                None => self.0.get_or_init(|| None).clone()?,
            },
        };
        // Each by itself, here and below, so that a panic in one leaves the others right.
        catch_panic(|| meters.open.increment(1));
        catch_panic(|| meters.opened.increment(1));
        Some(StreamMeter { meters, counts_events: false, events: 0, keepalives: 0 })
    }
}

impl StreamMeter {
    pub(super) fn first_event(&mut self, after: Duration, counts_events: bool) {
        self.counts_events = counts_events;
        self.meters.first_event.record(after);
    }

    /// Adds so many bytes, and the events and keepalives since the last call.
    #[inline]
    pub(super) fn add(&mut self, more_bytes: u64, progress: &Progress<'_>) {
        let more_events = progress.events - replace(&mut self.events, progress.events);
        let more_keepalives =
            progress.keepalives - replace(&mut self.keepalives, progress.keepalives);
        let Meters { bytes, events, keepalives, .. } = &*self.meters;
        bytes.increment(more_bytes);
        if more_events > 0 && self.counts_events {
            events.increment(more_events);
        }
        if more_keepalives > 0 {
            keepalives.increment(more_keepalives.into());
        }
    }

    pub(super) fn ended(self, reason: EndReason, after: Duration) {
        let Meters { open, ended, duration, .. } = &*self.meters;
        catch_panic(|| open.decrement(1));
        catch_panic(|| ended[reason.index()].increment(1));
        catch_panic(|| duration.record(after));
    }
}

impl Meters {
    /// The metrics of the recorder. `None` if it keeps neither the gauge of open streams nor their
    /// durations, as the stand-in for a missing recorder does.
    fn of(recorder: &dyn Recorder) -> Option<Self> {
        let (open, duration) = (OPEN.gauge(recorder), DURATION.seconds(recorder));
        // Neither adds anything.
        let keeps_gauge = is_asked_for(|zero| open.increment(zero));
        if !keeps_gauge && !is_asked_for(|zero| duration.record_many(zero, 0)) {
            return None;
        }
        Some(Self {
            open,
            opened: OPENED.counter(Unit::Count, recorder),
            ended: EndReason::ALL.map(|reason| ENDED.counter_by(reason.as_str(), recorder)),
            duration,
            first_event: FIRST_EVENT.seconds(recorder),
            events: EVENTS.counter(Unit::Count, recorder),
            bytes: BYTES.counter(Unit::Bytes, recorder),
            keepalives: KEEPALIVES.counter(Unit::Count, recorder),
        })
    }
}

/// Whether the recorder keeps a metric: only then does the metric convert the value it is given.
fn is_asked_for(give: impl FnOnce(Zero<'_>)) -> bool {
    let asked = Cell::new(false);
    give(Zero(&asked));
    asked.get()
}

/// A zero that records whether it was converted.
struct Zero<'a>(&'a Cell<bool>);

impl IntoF64 for Zero<'_> {
    fn into_f64(self) -> f64 {
        self.0.set(true);
        0.0
    }
}

/// The gauge of streams that a drain waits for.
///
/// The recorder is asked for it once, when the drain begins: every end of a stream in a drain
/// changes it, and recorders look metrics up under locks.
#[derive(Debug, Default)]
pub(crate) struct PendingGauge(OnceLock<Option<Gauge>>);

impl PendingGauge {
    pub(crate) fn add(&self, streams: usize) {
        self.change(streams, Gauge::increment);
    }

    pub(crate) fn remove(&self, streams: usize) {
        self.change(streams, Gauge::decrement);
    }

    fn change(&self, streams: usize, change: impl FnOnce(&Gauge, f64)) {
        if streams == 0 {
            return;
        }
        let ask = || catch_panic(|| with_recorder(|recorder| PENDING.gauge(recorder)));
        if let Some(gauge) = self.0.get_or_init(ask) {
            #[expect(clippy::cast_precision_loss, reason = "nobody has so many streams")]
            catch_panic(|| change(gauge, streams as f64));
        }
    }
}

/// Counts events that found a mailbox full.
pub(crate) fn mailbox_dropped(events: usize) {
    if events > 0 {
        let counter = |recorder: &dyn Recorder| DROPPED.counter(Unit::Count, recorder);
        catch_panic(|| with_recorder(counter).increment(events as u64));
    }
}

/// Counts a request that is not given a stream. The reason is one of this crate's own words.
pub(crate) fn refused(reason: &'static str) {
    catch_panic(|| with_recorder(|recorder| REFUSED.counter_by(reason, recorder)).increment(1));
}

/// Counts a stream that clients cannot come back to. The reason is one of this crate's own words.
#[cfg(feature = "resume")]
pub(crate) fn not_resumable(reason: &'static str) {
    catch_panic(|| {
        with_recorder(|recorder| NOT_RESUMABLE.counter_by(reason, recorder)).increment(1);
    });
}

/// Counts a log of a broker that cannot be read, until this is dropped.
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
#[derive(Debug)]
pub(crate) struct UnreadLog(Option<Gauge>);

#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
impl UnreadLog {
    pub(crate) fn new() -> Self {
        let counter = |recorder: &dyn Recorder| LOG_FAILURES.counter(Unit::Count, recorder);
        catch_panic(|| with_recorder(counter).increment(1));
        // The recorder that was told of the beginning is told of the end, too.
        let gauge = catch_panic(|| with_recorder(|recorder| UNREAD_LOGS.gauge(recorder)));
        if let Some(gauge) = &gauge {
            catch_panic(|| gauge.increment(1));
        }
        Self(gauge)
    }
}

#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
impl Drop for UnreadLog {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            catch_panic(|| gauge.decrement(1));
        }
    }
}

/// A metric's name and description.
#[derive(Clone, Copy, Debug)]
struct Named(&'static str, &'static str);

impl Named {
    fn gauge(self, recorder: &dyn Recorder) -> Gauge {
        recorder.describe_gauge(self.name(), Some(Unit::Count), self.1.into());
        recorder.register_gauge(&Key::from_static_name(self.0), &METADATA)
    }

    fn counter(self, unit: Unit, recorder: &dyn Recorder) -> Counter {
        recorder.describe_counter(self.name(), Some(unit), self.1.into());
        recorder.register_counter(&Key::from_static_name(self.0), &METADATA)
    }

    /// The counter with this value of the label `reason`, one of this crate's own words.
    fn counter_by(self, reason: &'static str, recorder: &dyn Recorder) -> Counter {
        recorder.describe_counter(self.name(), Some(Unit::Count), self.1.into());
        let label = Label::from_static_parts("reason", reason);
        recorder.register_counter(&Key::from_parts(self.0, vec![label]), &METADATA)
    }

    fn seconds(self, recorder: &dyn Recorder) -> Histogram {
        recorder.describe_histogram(self.name(), Some(Unit::Seconds), self.1.into());
        recorder.register_histogram(&Key::from_static_name(self.0), &METADATA)
    }

    fn name(self) -> KeyName {
        KeyName::from_const_str(self.0)
    }
}

const METADATA: Metadata<'_> = Metadata::new("tower_sse", Level::INFO, None);

const OPEN: Named = Named("tower_sse_open_streams", "Streams that are open.");
const OPENED: Named = Named("tower_sse_opened_total", "Streams that opened.");
const ENDED: Named = Named("tower_sse_ended_total", "Streams that ended, by reason.");
const DURATION: Named = Named("tower_sse_duration_seconds", "How long streams were open.");
const FIRST_EVENT: Named =
    Named("tower_sse_first_event_seconds", "How long it took to a stream's first event.");
const EVENTS: Named = Named("tower_sse_events_total", "Events of streams whose events are read.");
const BYTES: Named = Named("tower_sse_bytes_total", "Bytes handed to the server.");
const KEEPALIVES: Named =
    Named("tower_sse_keepalives_total", "Comments written because a stream was silent.");
const PENDING: Named = Named("tower_sse_drain_pending", "Streams that a drain still waits for.");
const DROPPED: Named =
    Named("tower_sse_mailbox_dropped_total", "Events that found a stream's mailbox full.");
#[cfg(feature = "resume")]
const NOT_RESUMABLE: Named = Named(
    "tower_sse_not_resumable_total",
    "Streams of a resume layer to which clients cannot come back, by reason.",
);
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
const UNREAD_LOGS: Named =
    Named("tower_sse_unread_logs", "Logs of brokers that cannot be read now.");
#[cfg(any(feature = "nats", feature = "postgres", feature = "redis"))]
const LOG_FAILURES: Named =
    Named("tower_sse_log_failures_total", "Times that a log of a broker could not be read.");
const REFUSED: Named = Named("tower_sse_refused_total", "Requests not given a stream, by reason.");
