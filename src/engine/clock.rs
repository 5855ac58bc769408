//! What an engine does at its own times.

use std::time::Instant;

use bytes::Bytes;

use super::keep_alive::{Sent, Silence};
use super::rotation::Ends;
use super::{Engine, Phase, Settings};
use crate::wire::LineEnd;

impl<S: AsRef<Settings>> Engine<S> {
    /// Begins at `now`: some proxies hold the response's head back until its first body byte.
    pub(crate) fn open(&mut self, now: Instant) -> Option<Bytes> {
        let keep_alive = self.settings.keep_alive.as_ref()?;
        if let Some(heartbeat) = &keep_alive.heartbeat {
            self.rare.get_or_insert_default().beat = Some(now + heartbeat.every);
        }
        self.silence = Some(Silence::begin(now, keep_alive, self.n));
        self.sent = Sent::AtTick;
        Some(keep_alive.comment(LineEnd::Lf))
    }

    /// Takes the time. To be called at [`next_timeout`](Self::next_timeout), or any time later.
    pub(crate) fn timeout(&mut self, now: Instant) -> Option<Bytes> {
        self.armed = false;
        let farewell = self.retire(now).or_else(|| self.check_close(now));
        if let Phase::Over(_) = self.phase {
            return farewell;
        }
        self.beat(now);
        let settings = self.settings.keep_alive.as_ref()?;
        let silence = self.silence.as_mut().filter(|silence| silence.tick(settings) <= now)?;
        let due = silence.ask(now, self.sent, settings, self.n);
        self.sent = if due { Sent::AtTick } else { Sent::Nothing };
        let comment = settings.comment(self.scanner.line_end());
        self.tidy();
        if !due || !self.accepts_events() {
            return None;
        }
        self.keepalives += 1;
        Some(comment)
    }

    /// When to call [`timeout`](Self::timeout).
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        if let Phase::Over(_) = self.phase {
            return None;
        }
        let keep_alive = self.settings.keep_alive.as_ref();
        let silence = self.silence.as_ref().zip(keep_alive);
        let silence = silence.map(|(silence, settings)| silence.tick(settings));
        let Some(rare) = &self.rare else {
            return silence;
        };
        let close = rare.close.as_ref().and_then(|close| close.next(self.phase == Phase::Flowing));
        let ends = rare.ends.as_ref().and_then(Ends::next);
        [silence, ends, close, rare.beat].into_iter().flatten().min()
    }

    /// Takes note that a timer is set for the [next timeout](Self::next_timeout), and gives it.
    pub(crate) fn set_timer(&mut self) -> Option<Instant> {
        self.armed = true;
        self.next_timeout()
    }

    /// A timer is set for the next timeout, or for an earlier moment.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Writes the heartbeat if it is due.
    fn beat(&mut self, now: Instant) {
        let beat = self.rare.as_ref().and_then(|rare| rare.beat);
        let heartbeat =
            self.settings.keep_alive.as_ref().and_then(|settings| settings.heartbeat.as_ref());
        let (Some(beat), Some(heartbeat)) = (beat, heartbeat) else {
            return;
        };
        if beat > now {
            return;
        }
        let frame = heartbeat.event.bytes(self.scanner.line_end());
        let next = Some(now + heartbeat.every);
        self.rare().beat = next;
        if self.accepts_events() {
            self.sent = Sent::Something;
            self.defer(frame);
        }
    }
}
