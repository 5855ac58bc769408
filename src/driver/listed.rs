//! A stream's place in a registry: its mail, and what is noted of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::engine::{Close, CloseReason, Engine};
use crate::plan::ResolvedPlan;
use crate::roster::Registration;
use crate::state::{Mail, RegistryEntry, Rest, StreamStats};
use crate::sync::now;

/// A stream's place in a registry.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) seat: Registration<RegistryEntry>,
    pub(super) stats: Arc<StreamStats>,
    /// Mail came that could not be written in the middle of a long event.
    waiting: bool,
    /// How often mail was taken since the body had nothing last.
    taken: u8,
    /// How many frames are sent before the clock is read again.
    frames: u8,
    /// When it was read last.
    read: Option<Instant>,
    /// Frames were sent since the body had nothing last.
    sent: bool,
}

impl Listed {
    pub(super) fn of((seat, stats): (Registration<RegistryEntry>, Arc<StreamStats>)) -> Self {
        Self { seat, stats, waiting: false, taken: 0, frames: 0, read: None, sent: false }
    }

    #[inline]
    pub(super) fn is_signalled(&self, engine: &Engine<ResolvedPlan>) -> bool {
        self.seat.is_signalled() || self.waiting && engine.accepts_events()
    }

    /// Takes what waits in the mailbox. In the middle of a long event only a close can be taken.
    pub(super) fn read_mail(&mut self, engine: &mut Engine<ResolvedPlan>) -> Option<Bytes> {
        let writable = engine.accepts_events();
        self.waiting = !writable;
        self.taken += u8::from(writable && self.taken < IN_A_ROW);
        let Mail { first, rest, .. } = self.seat.update(|entry| entry.mail.take(writable))?;
        let mut frame = first.and_then(|event| engine.inject(&event));
        let Some(Rest { more, close }) = rest.map(|rest| *rest) else {
            return frame;
        };
        for event in &more {
            let more = engine.inject(event);
            put_behind(&mut frame, more, engine);
        }
        if let Some(farewell) = close {
            let at = now();
            let (reason, farewell) = (CloseReason::Kicked, Cow::Owned(farewell));
            let cut_at = Some(at + KICK_GRACE);
            self.stats.mark_closing();
            let close = Close { reason, farewell, retry: None, at, cut_at };
            let farewell = engine.close(|_| Some((close, at)));
            put_behind(&mut frame, farewell, engine);
        }
        frame
    }

    /// Whether the body is to be asked now, though there may be mail. Else a client that reads more
    /// slowly than others write would have mail each time, and never hear of anything else.
    pub(super) fn lets_body_speak(&mut self) -> bool {
        let is_its_turn = self.taken >= IN_A_ROW;
        if is_its_turn {
            self.taken = 0;
        }
        is_its_turn
    }

    pub(super) fn sent(&mut self, bytes: usize, engine: &mut Engine<ResolvedPlan>) {
        self.stats.record_counts(engine.keepalives(), engine.events());
        if engine.take_moved() {
            self.stats.record_position(engine.place());
        }
        self.sent = true;
        match self.frames {
            0 => self.read_clock(),
            left => self.frames = left - 1,
        }
        // Behind the clock: else it would be as if what was given had waited since the poll before.
        self.stats.record_frame(bytes);
    }

    pub(super) fn polled(&mut self) {
        self.taken = 0;
        self.stats.record_idle();
        self.stats.record_poll(now(), std::mem::take(&mut self.sent));
        // The next frame may come much later, and how long it is not followed by a poll shows only
        // if its own time is known.
        (self.frames, self.read) = (0, None);
    }

    /// Reads the clock for a frame, and decides for how many it is not read then: for none while
    /// they are taken so slowly that reading it costs nothing beside.
    fn read_clock(&mut self) {
        let now = now();
        self.stats.record_poll(now, true);
        let slow = self.read.replace(now).is_some_and(|last| now - last > SLOW);
        self.frames = if slow { 0 } else { CLOCK_EVERY - 1 };
    }
}

/// Puts a frame behind the one that is sent next.
pub(super) fn put_behind(
    first: &mut Option<Bytes>,
    frame: Option<Bytes>,
    engine: &mut Engine<ResolvedPlan>,
) {
    match (first.as_ref(), frame) {
        (None, frame) => *first = frame,
        (Some(_), Some(frame)) => engine.defer(frame),
        (Some(_), None) => {}
    }
}

/// So often mail is taken before the body is asked. More often than what is sent now and then, which
/// goes before whatever the body says then, be it its end.
const IN_A_ROW: u8 = 4;

/// In a burst the clock is read for every so many frames; reading it costs more than all else that
/// a registry does for a frame.
const CLOCK_EVERY: u8 = 16;

/// The client does not take frames as fast as they could be had.
const SLOW: Duration = Duration::from_millis(50);

/// How long a stream that is closed in the middle of a long event has to come to its end.
pub(super) const KICK_GRACE: Duration = Duration::from_secs(5);
