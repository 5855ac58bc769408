//! What is known of one stream, written by the stream and read by anybody.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::Method;

use super::{Connection, ConnectionId, ConnectionState, Label};
use crate::engine::Position;
use crate::wire::EventId;

/// What is known of one stream.
///
/// The stream is the only writer, so its counts are stores and no read-modify-writes. Readers take
/// no lock of the roster while they look.
#[derive(Debug)]
pub(crate) struct Profile {
    id: ConnectionId,
    label: Label,
    method: Method,
    path: Arc<str>,
    started: Instant,
    bytes: AtomicU64,
    keepalives: AtomicU32,
    events: Option<AtomicU64>,
    last_sent: Moment,
    last_polled: Moment,
    closing: AtomicBool,
    place: Mutex<Position>,
}

impl Profile {
    pub(crate) fn new(
        id: ConnectionId,
        label: Label,
        method: Method,
        path: &str,
        count_events: bool,
    ) -> Self {
        Self {
            id,
            label,
            method,
            path: path.into(),
            started: now(),
            bytes: AtomicU64::new(0),
            keepalives: AtomicU32::new(0),
            events: count_events.then(AtomicU64::default),
            last_sent: Moment::default(),
            last_polled: Moment::default(),
            closing: AtomicBool::new(false),
            place: Mutex::default(),
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        let before = self.bytes.load(Relaxed);
        self.bytes.store(before + bytes as u64, Relaxed);
    }

    pub(crate) fn count(&self, keepalives: u32, events: u64) {
        self.keepalives.store(keepalives, Relaxed);
        if let Some(count) = &self.events {
            count.store(events, Relaxed);
        }
    }

    pub(crate) fn moved(&self, place: &Position) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).set(place);
    }

    pub(crate) fn polled_at(&self, now: Instant, sent: bool) {
        self.last_polled.set(self.started, now);
        if sent {
            self.last_sent.set(self.started, now);
        }
    }

    pub(crate) fn last_polled(&self) -> Option<Instant> {
        self.last_polled.get(self.started)
    }

    pub(crate) fn closing(&self) {
        self.closing.store(true, Relaxed);
    }

    pub(crate) fn to_connection(&self) -> Connection {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let last_event_id = place.with_text(|text| text.and_then(|text| EventId::new(text).ok()));
        drop(place);
        Connection {
            id: self.id,
            label: self.label.clone(),
            method: self.method.clone(),
            path: Arc::clone(&self.path),
            started: self.started,
            last_event_id,
            bytes: self.bytes.load(Relaxed),
            keepalives: self.keepalives.load(Relaxed),
            events: self.events.as_ref().map(|events| events.load(Relaxed)),
            last_sent: self.last_sent.get(self.started),
            last_polled: self.last_polled.get(self.started),
            state: match self.closing.load(Relaxed) {
                true => ConnectionState::Closing,
                false => ConnectionState::Open,
            },
        }
    }
}

/// A moment after a stream's start, or none yet.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, started: Instant, now: Instant) {
        let nanos = now.saturating_duration_since(started).as_nanos();
        // One more, so that zero can stand for none.
        self.0
            .store(u64::try_from(nanos).map_or(u64::MAX, |nanos| nanos.saturating_add(1)), Relaxed);
    }

    fn get(&self, started: Instant) -> Option<Instant> {
        let nanos = self.0.load(Relaxed).checked_sub(1)?;
        Some(started + Duration::from_nanos(nanos))
    }
}

/// Tokio's clock, so that tests can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
