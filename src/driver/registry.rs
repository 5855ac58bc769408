//! A stream's registration in a registry: its mail, and its statistics.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::engine::{Close, CloseReason, Command, Engine, Injection, Progress, Settings};
use crate::observe::mailbox_dropped;
use crate::roster::Registration;
use crate::state::{Mail, RegistryEntry, Rest, StreamStats};
use crate::sync::now;

/// A stream that is in a registry.
#[derive(Debug)]
pub(super) struct RegisteredStream {
    pub(super) registration: Registration<RegistryEntry>,
    pub(super) stats: Arc<StreamStats>,
    /// Mail waits that could not be written in the middle of a long event.
    waiting: bool,
    /// Mail was taken, and the body has not been polled since.
    body_is_next: bool,
    /// How many frames are sent before the clock is read again.
    frames: u8,
    /// When the clock was last read.
    read: Option<Instant>,
    /// Frames were sent since the body was pending.
    sent: bool,
}

impl RegisteredStream {
    pub(super) fn new(
        (registration, stats): (Registration<RegistryEntry>, Arc<StreamStats>),
    ) -> Self {
        Self {
            registration,
            stats,
            waiting: false,
            body_is_next: false,
            frames: 0,
            read: None,
            sent: false,
        }
    }

    /// Whether there may be mail that can be written.
    #[inline]
    pub(super) fn has_mail(&self, engine: &Engine) -> bool {
        self.registration.is_signalled() || self.waiting && engine.accepts_events()
    }

    /// Whether the body is polled before more mail is taken. Otherwise a client that reads more
    /// slowly than others write to it would get mail at each poll, and never an event of the body.
    pub(super) fn lets_body_speak(&mut self) -> bool {
        std::mem::take(&mut self.body_is_next)
    }

    /// Writes what waits in the mailbox. In the middle of a long event only the order to close can
    /// be taken.
    pub(super) fn read_mail(&mut self, engine: &mut Engine, settings: &Settings) -> Option<Bytes> {
        let writable = engine.accepts_events();
        self.waiting = !writable;
        self.body_is_next = writable;
        let Mail { first, rest, .. } =
            self.registration.update(|entry| entry.mail.take(writable))?;
        let inject = |engine: &mut Engine, event: Arc<Injection>| {
            let frame = engine.handle_command(settings, Command::Inject(&event));
            mailbox_dropped(usize::from(frame.is_none()));
            frame
        };
        let mut frame = first.and_then(|event| inject(engine, event));
        let Some(Rest { more, close }) = rest.map(|rest| *rest) else {
            return frame;
        };
        for event in more {
            let next = inject(engine, event);
            queue_after(&mut frame, next, engine, settings);
        }
        if let Some(farewell) = close {
            let now = now();
            self.stats.mark_closing();
            let order = Close {
                reason: CloseReason::Kicked,
                farewell: Cow::Owned(farewell),
                retry: None,
                at: now,
                cut_at: Some(now + KICK_GRACE),
            };
            let farewell = engine.handle_command(settings, Command::Close { order, now });
            queue_after(&mut frame, farewell, engine, settings);
        }
        frame
    }

    /// Counts a frame that is sent.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize, engine: &mut Engine) {
        self.record(&engine.progress());
        self.sent = true;
        match self.frames {
            0 => self.read_clock(),
            left => self.frames = left - 1,
        }
        // After the clock is read: otherwise the frame would seem to wait since the previous poll.
        self.stats.record_frame(bytes);
    }

    /// Notes what a timeout did, which may be the order to close.
    pub(super) fn timed_out(&mut self, engine: &mut Engine) {
        let progress = engine.progress();
        self.record(&progress);
        if progress.is_closing {
            self.stats.mark_closing();
        }
    }

    #[inline]
    fn record(&self, progress: &Progress<'_>) {
        self.stats.record_counts(progress.keepalives, progress.events);
        if let Some(position) = progress.moved_to {
            self.stats.record_position(position);
        }
    }

    /// Notes that the body was pending.
    pub(super) fn polled(&mut self) {
        self.stats.record_idle();
        self.stats.record_poll(now(), std::mem::take(&mut self.sent));
        // The next frame may come much later. The time since that frame is only known if the clock
        // is read for it.
        (self.frames, self.read) = (0, None);
    }

    /// Reads the clock for a frame, and decides how many frames come before the next reading. While
    /// the client takes frames slowly, the clock is read for each: it costs little in comparison.
    fn read_clock(&mut self) {
        let now = now();
        self.stats.record_poll(now, true);
        let slow = self.read.replace(now).is_some_and(|last| now - last > SLOW);
        self.frames = if slow { 0 } else { CLOCK_EVERY - 1 };
    }
}

/// Makes `frame` the first frame, or queues it after the one that there is.
pub(super) fn queue_after(
    first: &mut Option<Bytes>,
    frame: Option<Bytes>,
    engine: &mut Engine,
    settings: &Settings,
) {
    match (first.as_ref(), frame) {
        (None, frame) => *first = frame,
        (Some(_), Some(frame)) => {
            engine.handle_command(settings, Command::Queue(frame));
        }
        (Some(_), None) => {}
    }
}

/// In a burst the clock is read for every so many frames: reading it costs more than all else that
/// a registry does for a frame.
const CLOCK_EVERY: u8 = 16;

/// A longer time between two clock readings means that the client takes frames slowly.
const SLOW: Duration = Duration::from_millis(50);

/// How long a stream that is closed in the middle of a long event has to come to its end.
pub(super) const KICK_GRACE: Duration = Duration::from_secs(5);
