//! The counts and times of one stream, which the stream writes and any thread may read.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use http::Method;

use super::{Drain, Label, StreamId, StreamInfo, StreamState};
use crate::engine::Position;
use crate::sync::{lock, now};
use crate::wire::EventId;

/// The counts and times of one stream.
///
/// The stream is the only writer of its counts, so they need no read-modify-writes. Readers take no
/// lock of the roster.
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
    /// How many frames were sent since the last poll that is in `last_polled`, with that of this
    /// poll. Zero if the body had nothing at the last poll.
    frames: AtomicU32,
    /// The drain whose signal the stream may have missed.
    drain: OnceLock<Arc<Drain>>,
    closing: AtomicBool,
    position: Mutex<Position>,
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
            frames: AtomicU32::new(0),
            drain: OnceLock::new(),
            closing: AtomicBool::new(false),
            position: Mutex::default(),
        }
    }

    /// Records a frame that is sent. A poll that is recorded for it comes before.
    pub(crate) fn record_frame(&self, bytes: usize) {
        let before = self.bytes.load(Relaxed);
        self.bytes.store(before + bytes as u64, Relaxed);
        let before = self.frames.load(Relaxed);
        // `Release`: a thread that sees this count also sees the time of the poll.
        self.frames.store(before.saturating_add(1), Release);
    }

    pub(crate) fn record_counts(&self, keepalives: u32, events: u64) {
        self.keepalives.store(keepalives, Relaxed);
        if let Some(count) = &self.events {
            count.store(events, Relaxed);
        }
    }

    pub(crate) fn record_position(&self, position: &Position) {
        lock(&self.position).set(position);
    }

    /// Records the time of a poll, and whether frames were sent since the last one.
    pub(crate) fn record_poll(&self, now: Instant, sent: bool) {
        self.frames.store(0, Relaxed);
        let moment = Moment::between(self.started, now);
        self.last_polled.0.store(moment, Relaxed);
        if sent {
            self.last_sent.0.store(moment, Relaxed);
        }
    }

    /// Records that the body has nothing.
    pub(crate) fn record_idle(&self) {
        self.frames.store(0, Relaxed);
    }

    /// Has the stream be ended by `drain`.
    pub(crate) fn set_drain(&self, drain: &Arc<Drain>) {
        // Of two drains the inner one is set first, and counts.
        let _ = self.drain.set(Arc::clone(drain));
    }

    pub(crate) fn mark_closing(&self) {
        self.closing.store(true, Relaxed);
    }

    /// For how long at least the client has not read at some time since the last recorded poll.
    /// `None` if the body had nothing to send.
    ///
    /// A server polls again at once, unless it has no room because the client does not read. But in
    /// a burst the clock is not read for each frame, and the frames since may have been sent at any
    /// time. Of the pauses that they leave, one is as long as all of them are on average.
    pub(crate) fn unread_for(&self, now: Instant) -> Option<Duration> {
        let frames = self.frames.load(Acquire);
        Some(self.unread_for_at_most(now)? / frames.max(1))
    }

    /// For how long the client has not read at most.
    pub(crate) fn unread_for_at_most(&self, now: Instant) -> Option<Duration> {
        // In this order: with the frames the time of their poll is seen, or a later one.
        let polled = match self.frames.load(Acquire) {
            0 => None,
            _ => self.last_polled.get(self.started),
        };
        polled.map(|polled| now.saturating_duration_since(polled))
    }

    /// For how long the stream had something to send or a signal to see, without a poll. `mail` is
    /// the time of the oldest mail.
    fn unpolled_for(&self, mail: Option<Instant>, now: Instant) -> Option<Duration> {
        let is_closing = self.closing.load(Relaxed);
        let signal = self.drain.get().filter(|_| !is_closing).and_then(|drain| drain.started());
        let waiting = [mail, signal].into_iter().flatten().min();
        let waiting = waiting.max(self.last_polled.get(self.started).filter(|_| waiting.is_some()));
        let waited = waiting.map(|since| now.saturating_duration_since(since));
        self.unread_for(now).max(waited)
    }

    fn state(&self, mail: Option<Instant>, stalled_after: Duration) -> StreamState {
        let limit = Some(stalled_after).filter(|limit| !limit.is_zero());
        let stalled = || self.unpolled_for(mail, now()) >= limit;
        match self.closing.load(Relaxed) {
            _ if limit.is_some() && stalled() => StreamState::Stalled,
            true => StreamState::Closing,
            false => StreamState::Open,
        }
    }

    /// What a registry shows of the stream. It is stalled if it is not polled for so long.
    pub(crate) fn to_info(&self, mail: Option<Instant>, stalled_after: Duration) -> StreamInfo {
        let position = lock(&self.position);
        let last_event_id =
            position.with_text(|text| text.and_then(|text| EventId::new(text).ok()));
        drop(position);
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

/// A time after a stream's start, or none yet.
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

    fn stats() -> StreamStats {
        let id = StreamId(RosterId::from_u64(1));
        StreamStats::new(id, Label::default(), Method::GET, "/", false)
    }

    #[test]
    fn a_frame_is_unread_until_the_next_poll() {
        let stats = stats();
        let at = |seconds| stats.started + Duration::from_secs(seconds);
        let unread_at_9 = || stats.unread_for(at(9)).map(|time| time.as_secs());
        assert_eq!(unread_at_9(), None, "never polled");
        stats.record_idle();
        stats.record_poll(at(1), false);
        assert_eq!(unread_at_9(), None, "nothing was sent");
        stats.record_poll(at(2), true);
        stats.record_frame(5);
        assert_eq!(unread_at_9(), Some(7));
        assert_eq!(stats.unread_for(at(1)), Some(Duration::ZERO), "clocks of two threads");
        // Orders are no evidence of what the client reads.
        stats.mark_closing();
        assert_eq!(unread_at_9(), Some(7));
        stats.record_idle();
        assert_eq!(unread_at_9(), None, "polled again");
    }

    #[test]
    fn frames_since_the_last_clock_reading_are_taken_to_be_spread_over_its_age() {
        let stats = stats();
        let at = |seconds| stats.started + Duration::from_secs(seconds);
        stats.record_poll(at(0), true);
        for frame in 1..=15 {
            stats.record_frame(5);
            let now = at(2 * frame);
            assert_eq!(stats.unread_for(now), Some(Duration::from_secs(2)));
            assert_eq!(stats.unread_for_at_most(now), Some(Duration::from_secs(2 * frame)));
        }
        stats.record_poll(at(32), true);
        stats.record_frame(5);
        assert_eq!(stats.unread_for(at(40)), Some(Duration::from_secs(8)));
    }
}
