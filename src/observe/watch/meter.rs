//! The metrics of streams, each got from the recorder once.

use std::cell::Cell;
use std::mem::replace;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, IntoF64, Recorder, Unit, with_recorder};

use crate::engine::{EndReason, Engine, Settings};
use crate::observe::named::Named;
use crate::sync::catch_panic;

/// The metrics that the streams of one layer share, once there is a recorder.
#[derive(Debug, Default)]
pub(super) struct Meters(OnceLock<Option<Arc<Handles>>>);

/// What one stream tells the recorder.
#[derive(Debug)]
pub(super) struct Meter {
    handles: Arc<Handles>,
    /// All events are counted, not only the first ones.
    counted: bool,
    /// How much was seen so far.
    events: u64,
    keepalives: u32,
}

#[derive(Debug)]
struct Handles {
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

impl Meters {
    /// Counts a stream that opens, if there is a recorder.
    pub(super) fn open(&self) -> Option<Meter> {
        let handles = match self.0.get() {
            Some(known) => known.clone()?,
            None => match catch_panic(|| with_recorder(Handles::of)) {
                // The next stream looks again.
                Some(None) => return None,
                Some(made) => self.0.get_or_init(|| made.map(Arc::new)).clone()?,
                // One that panics is left alone from then on.
                None => self.0.get_or_init(|| None).clone()?,
            },
        };
        // Apart, as at the end, so that a panic of one does not leave the other out of step.
        catch_panic(|| handles.open.increment(1));
        catch_panic(|| handles.opened.increment(1));
        Some(Meter { handles, counted: false, events: 0, keepalives: 0 })
    }
}

impl Meter {
    pub(super) fn first_event(&mut self, after: Duration, engine: &Engine<impl AsRef<Settings>>) {
        self.counted = engine.counts_events();
        self.handles.first_event.record(after);
    }

    /// Adds so many bytes, and what else was sent since this was called last.
    #[inline]
    pub(super) fn add(&mut self, more_bytes: u64, engine: &Engine<impl AsRef<Settings>>) {
        let more_events = engine.events() - replace(&mut self.events, engine.events());
        let more_keepalives =
            engine.keepalives() - replace(&mut self.keepalives, engine.keepalives());
        let Handles { bytes, events, keepalives, .. } = &*self.handles;
        bytes.increment(more_bytes);
        if more_events > 0 && self.counted {
            events.increment(more_events);
        }
        if more_keepalives > 0 {
            keepalives.increment(more_keepalives.into());
        }
    }

    pub(super) fn ended(self, reason: EndReason, after: Duration) {
        let Handles { open, ended, duration, .. } = &*self.handles;
        catch_panic(|| open.decrement(1));
        catch_panic(|| ended[reason.index()].increment(1));
        catch_panic(|| duration.record(after));
    }
}

impl Handles {
    /// The recorder's metrics; none if it records nothing.
    fn of(recorder: &dyn Recorder) -> Option<Self> {
        let open = OPEN.gauge(recorder);
        // What stands in for a recorder has no size. A real one may have none either, but that one
        // knows the gauge.
        if size_of_val(recorder) == 0 && !records(&open) {
            return None;
        }
        Some(Self {
            open,
            opened: OPENED.counter(Unit::Count, recorder),
            ended: EndReason::ALL.map(|reason| ENDED.counter_by(reason.as_str(), recorder)),
            duration: DURATION.seconds(recorder),
            first_event: FIRST_EVENT.seconds(recorder),
            events: EVENTS.counter(Unit::Count, recorder),
            bytes: BYTES.counter(Unit::Bytes, recorder),
            keepalives: KEEPALIVES.counter(Unit::Count, recorder),
        })
    }
}

/// Whether anything is behind a gauge: only then it asks for its value.
fn records(gauge: &Gauge) -> bool {
    struct Nothing<'a>(&'a Cell<bool>);
    impl IntoF64 for Nothing<'_> {
        fn into_f64(self) -> f64 {
            self.0.set(true);
            0.0
        }
    }
    let asked = Cell::new(false);
    gauge.increment(Nothing(&asked));
    asked.get()
}

const OPEN: Named = Named("tower_sse_open_streams", "Streams that are open.");
const OPENED: Named = Named("tower_sse_opened_total", "Streams that opened.");
const ENDED: Named = Named("tower_sse_ended_total", "Streams that ended, by reason.");
const DURATION: Named = Named("tower_sse_duration_seconds", "How long streams were open.");
const FIRST_EVENT: Named =
    Named("tower_sse_first_event_seconds", "How long it took to a stream's first event.");
const EVENTS: Named = Named("tower_sse_events_total", "Events of streams that are looked at.");
const BYTES: Named = Named("tower_sse_bytes_total", "Bytes handed to the server.");
const KEEPALIVES: Named =
    Named("tower_sse_keepalives_total", "Comments written because a stream was silent.");
