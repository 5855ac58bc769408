//! What is known of one stream, written by the stream and read by anybody.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use http::Method;

use super::{Drain, Label, StreamId, StreamInfo, StreamState};
use crate::engine::Position;
use crate::sync::{lock, now};
use crate::wire::EventId;

/// What is known of one stream.
///
/// The stream is the only writer of its counts, so they are stores and no read-modify-writes.
/// Readers take no lock of the roster while they look.
#[derive(Debug)]
pub(crate) struct StreamStats {
    id: StreamId,
    label: Label,
    method: Method,
    path: Arc<str>,
    started: Instant,
    bytes: AtomicU64,
    keepalives: AtomicU32,
    events: Option<AtomicU64>,
    last_sent: Moment,
    last_polled: Moment,
    /// The last poll gave a frame. A server asks for more at once, unless it has no room.
    given: AtomicBool,
    /// Its signal may wait unread, too.
    drain: OnceLock<Arc<Drain>>,
    closing: AtomicBool,
    place: Mutex<Position>,
}

impl StreamStats {
    pub(crate) fn new(
        id: StreamId,
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
            given: AtomicBool::new(false),
            drain: OnceLock::new(),
            closing: AtomicBool::new(false),
            place: Mutex::default(),
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        let before = self.bytes.load(Relaxed);
        self.bytes.store(before + bytes as u64, Relaxed);
        // With it the time of a poll that was noted before is to be seen.
        self.given.store(true, Release);
    }

    pub(crate) fn count(&self, keepalives: u32, events: u64) {
        self.keepalives.store(keepalives, Relaxed);
        if let Some(count) = &self.events {
            count.store(events, Relaxed);
        }
    }

    pub(crate) fn moved(&self, place: &Position) {
        lock(&self.place).set(place);
    }

    pub(crate) fn polled_at(&self, now: Instant, sent: bool) {
        let moment = Moment::between(self.started, now);
        self.last_polled.0.store(moment, Relaxed);
        if sent {
            self.last_sent.0.store(moment, Relaxed);
        }
    }

    /// Notes that the stream had nothing to give.
    pub(crate) fn waits(&self) {
        self.given.store(false, Relaxed);
    }

    /// Has the stream be ended by `drain`.
    pub(crate) fn ended_by(&self, drain: &Arc<Drain>) {
        // Of two the nearer one is set first, and is the one that counts.
        let _ = self.drain.set(Arc::clone(drain));
    }

    /// How long what the last poll gave has not been followed by another: the client does not
    /// read. None if the stream gave nothing, or had nothing more to give.
    ///
    /// In a burst the last poll may have been a few frames later.
    pub(crate) fn unread_for(&self, now: Instant) -> Option<Duration> {
        // In this order: of another frame's poll the time would be too long ago.
        let polled = self.given.load(Acquire).then(|| self.last_polled.get(self.started))??;
        Some(now.saturating_duration_since(polled))
    }

    /// How long there has been something to give, or to be told, with no poll since; `mail` is since
    /// when there is some.
    fn unheeded_for(&self, mail: Option<Instant>, now: Instant) -> Option<Duration> {
        let told = self.closing.load(Relaxed);
        let signal = self.drain.get().filter(|_| !told).and_then(|drain| drain.started());
        let waiting = [mail, signal].into_iter().flatten().min();
        let waiting = waiting.max(self.last_polled.get(self.started).filter(|_| waiting.is_some()));
        let waited = waiting.map(|since| now.saturating_duration_since(since));
        self.unread_for(now).max(waited)
    }

    fn state(&self, mail: Option<Instant>, stalled_after: Duration) -> StreamState {
        let limit = Some(stalled_after).filter(|limit| !limit.is_zero());
        let stalled = || self.unheeded_for(mail, now()) >= limit;
        match self.closing.load(Relaxed) {
            _ if limit.is_some() && stalled() => StreamState::Stalled,
            true => StreamState::Closing,
            false => StreamState::Open,
        }
    }

    pub(crate) fn closing(&self) {
        self.closing.store(true, Relaxed);
    }

    /// What a registry shows of it; a stream that heeds nothing for so long is stalled.
    pub(crate) fn to_info(&self, mail: Option<Instant>, stalled_after: Duration) -> StreamInfo {
        let place = lock(&self.place);
        let last_event_id = place.with_text(|text| text.and_then(|text| EventId::new(text).ok()));
        drop(place);
        StreamInfo {
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
            state: self.state(mail, stalled_after),
        }
    }
}

/// A moment after a stream's start, or none yet.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn between(started: Instant, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(started).as_nanos();
        // One more, so that zero can stand for none.
        u64::try_from(nanos).map_or(u64::MAX, |nanos| nanos.saturating_add(1))
    }

    fn get(&self, started: Instant) -> Option<Instant> {
        let nanos = self.0.load(Relaxed).checked_sub(1)?;
        Some(started + Duration::from_nanos(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roster::RosterId;

    #[test]
    fn what_the_last_poll_gave_is_unread_until_the_next() {
        let id = StreamId(RosterId::from_u64(0));
        let stats = StreamStats::new(id, Label::default(), Method::GET, "/", false);
        let at = |seconds| stats.started + Duration::from_secs(seconds);
        let unread_at_9 = || stats.unread_for(at(9)).map(|time| time.as_secs());
        assert_eq!(unread_at_9(), None, "never polled");
        stats.waits();
        stats.polled_at(at(1), false);
        assert_eq!(unread_at_9(), None, "nothing was given");
        stats.sent(5);
        stats.polled_at(at(2), true);
        assert_eq!(unread_at_9(), Some(7));
        assert_eq!(stats.unread_for(at(1)), Some(Duration::ZERO), "clocks of two threads");
        // Orders are no evidence of what the client reads.
        stats.closing();
        assert_eq!(unread_at_9(), Some(7));
        stats.waits();
        assert_eq!(unread_at_9(), None, "asked again");
    }
}
