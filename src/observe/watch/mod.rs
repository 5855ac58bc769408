//! What is observed of one stream.

#[cfg_attr(not(feature = "metrics"), path = "no_meter.rs")]
mod meter;
#[cfg_attr(not(feature = "tracing"), path = "no_span.rs")]
mod span;

use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use meter::{Meter, Meters};
use span::{StreamSpan, warn_of_encoding};

use crate::engine::{EndReason, Engine, Settings};
use crate::observe::Subject;
use crate::sync::catch_panic;

/// What the streams of one layer have in common for those who observe them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    meters: Meters,
    warned: AtomicBool,
}

/// What is observed of one stream, if anybody does.
#[derive(Debug)]
pub(crate) struct Watch(Option<Box<Watched>>);

#[derive(Debug)]
struct Watched {
    opened: Instant,
    bytes: u64,
    /// How many bytes are sent when there is something to do next: the first event is waited for
    /// at every frame, and then all that is told are batches.
    check_at: u64,
    /// How many bytes the recorder was told of.
    told: u64,
    begun: bool,
    meter: Option<Meter>,
    span: Option<StreamSpan>,
}

impl Observer {
    /// Begins with a stream that opens at `now`.
    pub(crate) fn open(&self, subject: Subject<'_>, now: Instant) -> Watch {
        let meter = self.0.meters.open();
        let span = catch_panic(|| StreamSpan::open(subject)).flatten();
        let observed = meter.is_some() || span.is_some();
        Watch(observed.then(|| {
            Box::new(Watched {
                opened: now,
                bytes: 0,
                check_at: 0,
                told: 0,
                begun: false,
                meter,
                span,
            })
        }))
    }

    /// Takes note of a stream that cannot be looked at, if `is_stream` says that it is one.
    pub(crate) fn passed_by(&self, is_stream: impl FnOnce() -> bool, path: &str) {
        let warned = &self.0.warned;
        if !warned.load(Ordering::Relaxed) && is_stream() && !warned.swap(true, Ordering::Relaxed) {
            catch_panic(|| warn_of_encoding(path));
        }
    }
}

impl Watch {
    /// Observes nothing.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Whether note is to be taken of each frame.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Says with which plan the stream starts.
    pub(crate) fn starts(&self, plan: impl FnOnce() -> String) {
        if let Some(span) = self.0.as_ref().and_then(|watched| watched.span.as_ref()) {
            catch_panic(|| span.starts(plan));
        }
    }

    /// Takes note of a frame that is sent.
    #[inline]
    pub(crate) fn sent(
        &mut self,
        bytes: usize,
        engine: &Engine<impl AsRef<Settings>>,
        now: fn() -> Instant,
    ) {
        if let Some(watched) = &mut self.0 {
            watched.bytes += bytes as u64;
            if watched.bytes >= watched.check_at {
                watched.check(engine, now);
            }
        }
    }

    /// Tells the recorder what was sent since it was told last.
    #[inline]
    pub(crate) fn flush(&mut self, engine: &Engine<impl AsRef<Settings>>) {
        if let Some(watched) = &mut self.0 {
            watched.flush(engine);
        }
    }

    /// Takes note of the end.
    pub(crate) fn ended(
        &mut self,
        reason: EndReason,
        engine: &Engine<impl AsRef<Settings>>,
        now: fn() -> Instant,
    ) {
        let Some(mut watched) = self.0.take() else {
            return;
        };
        watched.flush(engine);
        let after = now().saturating_duration_since(watched.opened);
        let Watched { bytes, meter, span, .. } = *watched;
        // Apart, so that a panic of the one keeps nothing from the other.
        if let Some(meter) = meter {
            catch_panic(|| meter.ended(reason, after));
        }
        if let Some(span) = span {
            catch_panic(|| span.ended(reason, after, bytes, engine));
        }
    }
}

impl Watched {
    #[inline]
    fn flush(&mut self, engine: &Engine<impl AsRef<Settings>>) {
        // Nothing is sent without bytes.
        if let (Some(meter), true) = (&mut self.meter, self.bytes != self.told) {
            // Taken as told first, so that a recorder that panics is not told twice.
            let bytes = self.bytes - replace(&mut self.told, self.bytes);
            catch_panic(move || meter.add(bytes, engine));
        }
    }

    #[cold]
    fn check(&mut self, engine: &Engine<impl AsRef<Settings>>, now: fn() -> Instant) {
        if self.begun {
            self.flush(engine);
        } else if engine.events() == 0 {
            return;
        } else {
            self.begun = true;
            let after = now().saturating_duration_since(self.opened);
            if let Some(meter) = &mut self.meter {
                catch_panic(|| meter.first_event(after, engine));
            }
        }
        self.check_at = self.bytes + BATCH;
    }
}

/// How many bytes are sent between two times that a stream which always has something to send tells
/// what it sent: of small events a thousand, so that it costs each next to nothing.
const BATCH: u64 = 64 * 1024;
