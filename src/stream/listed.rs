//! A stream's place in a registry: its mail, and what is noted of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::{Close, Engine, Told};
use crate::live::{Entry, Mail, Profile, Seat, now};

/// A stream's place in a registry.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) seat: Seat<Entry>,
    pub(super) profile: Arc<Profile>,
    /// Mail came that could not be written in the middle of a long event.
    waiting: bool,
    /// Frames that were sent, as far as needed to read the clock for some of them.
    frames: u8,
    /// Frames were sent since the body had nothing last.
    sent: bool,
}

impl Listed {
    pub(super) fn new(seat: Seat<Entry>, profile: Arc<Profile>) -> Self {
        Self { seat, profile, waiting: false, frames: 0, sent: false }
    }

    #[inline]
    pub(super) fn is_signalled(&self, engine: &Engine) -> bool {
        self.seat.is_signalled() || self.waiting && engine.accepts_events()
    }

    /// Takes what waits in the mailbox. In the middle of a long event only a close can be taken.
    pub(super) fn read_mail(&mut self, engine: &mut Engine) -> Option<Bytes> {
        let writable = engine.accepts_events();
        self.waiting = !writable;
        let Mail { first, more, close } = self.seat.look(|entry| match writable {
            true => std::mem::take(&mut entry.mail),
            false => Mail { close: entry.mail.close.take(), ..Mail::default() },
        })?;
        let mut frame = first.and_then(|event| engine.inject(&event));
        for event in &more {
            let more = engine.inject(event);
            put_behind(&mut frame, more, engine);
        }
        if let Some(farewell) = close {
            let at = now();
            let (told, cut_at) = (Told::Kicked, Some(at + KICK_GRACE));
            self.profile.closing();
            let close = Close { told, farewell: *farewell, retry: None, at, cut_at };
            let farewell = engine.close(close, at);
            put_behind(&mut frame, farewell, engine);
        }
        frame
    }

    pub(super) fn sent(&mut self, bytes: usize, engine: &Engine) {
        self.profile.sent(bytes);
        self.profile.count(engine.keepalives(), engine.events());
        self.profile.moved(engine.place());
        if self.frames % CLOCK_EVERY == 0 {
            self.profile.polled_at(now(), true);
        }
        self.frames = self.frames.wrapping_add(1);
        self.sent = true;
    }

    pub(super) fn polled(&mut self) {
        self.profile.polled_at(now(), std::mem::take(&mut self.sent));
    }
}

/// Puts a frame behind the one that is sent next.
pub(super) fn put_behind(first: &mut Option<Bytes>, frame: Option<Bytes>, engine: &mut Engine) {
    match (first.as_ref(), frame) {
        (None, frame) => *first = frame,
        (Some(_), Some(frame)) => engine.defer(frame),
        (Some(_), None) => {}
    }
}

/// In a burst the clock is read for every so many frames; reading it costs more than all else that
/// a registry does for a frame.
const CLOCK_EVERY: u8 = 16;

/// How long a stream that is closed in the middle of a long event has to come to its end.
const KICK_GRACE: Duration = Duration::from_secs(5);
