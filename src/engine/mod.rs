//! One stream's behaviour: bytes, time and commands in; bytes, deadlines and the end out.
//!
//! The engine does no I/O and reads no clock. It lets whole events through and holds the unfinished
//! tail, so what has been sent always ends on a boundary, where a comment, an event or a farewell
//! may be written at any moment.

mod assembly;
mod clock;
mod close;
mod end_reason;
mod event_ids;
mod farewell;
mod hold;
mod injection;
mod keep_alive;
mod overdue;
mod place;
mod rare;
mod rotation;
mod scan;
mod settings;
pub(crate) mod spread;
#[cfg(test)]
mod tests;
mod texts;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use close::Close;
pub use end_reason::EndReason;
pub(crate) use event_ids::{EventIds, Position};
pub use farewell::Farewell;
pub(crate) use injection::Injection;
pub(crate) use keep_alive::{Heartbeat, KeepAlive, LONGEST, SHORTEST};
pub(crate) use rotation::Rotation;
use settings::Shared;
pub(crate) use settings::{ErrorFarewell, Observation, Settings};

pub(crate) use crate::wire::CloseReason;
use crate::wire::{Framing, LineEnd, Scanner};
use keep_alive::{Sent, Silence};
pub(crate) use place::restate;
use place::{Known, Watch};
use rare::Rare;
use spread::Retry;

/// The machine that carries out the layers' settings on one stream.
///
/// Calls that give bytes give the first frame to send; [`next`](Self::next) gives the others, and
/// all of them are taken before anything else is called.
#[derive(Debug)]
pub(crate) struct Engine<S> {
    settings: Shared<S>,
    /// Which stream this is, of many: what is spread over streams is spread by it.
    n: u32,
    scanner: Scanner,
    phase: Phase,
    lane: Lane,
    /// Bytes were sent since the last tick of [`Silence`].
    sent: Sent,
    /// The timer is set for the next timeout, or for an earlier moment.
    armed: bool,
    watch: Watch,
    known: Option<Box<Known>>,
    silence: Option<Silence>,
    keepalives: u32,
    /// What few streams need at a time, so that the others do not pay for it in memory.
    rare: Option<Box<Rare>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing of the stream's own has come yet.
    Fresh,
    Live,
    /// In the middle of an event too long to hold: its bytes pass, and nothing is added.
    Flowing,
    /// Over, once the queue is empty.
    Over(EndReason),
}

/// How the next chunk is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    /// On a boundary, nothing waits to be sent or closed, and nothing asks for a scan: a chunk
    /// that ends in a blank line is whole.
    Whole,
    /// The same, but note is taken of each frame.
    Observation,
    /// On a boundary, nothing waits to be sent or closed, and events are given ids.
    Stamp,
    Scan,
    /// As [`Whole`](Self::Whole), as long as it is not time for the stream to end.
    Timed,
}

impl<S: AsRef<Settings>> Engine<S> {
    /// An engine of a stream that is over with these bytes.
    pub(crate) fn only(settings: Arc<S>, frame: Bytes) -> Self {
        let mut engine = Self::new(Framing::Sse, settings, 0, Position::None);
        engine.defer(frame);
        engine.over(EndReason::Closed);
        engine
    }

    /// An engine for the `n`-th stream; `place` is where the client says that it is.
    pub(crate) fn new(framing: Framing, settings: Arc<S>, n: u32, place: Position) -> Self {
        let settings = Shared(settings);
        let scanner = match framing {
            Framing::Sse => Scanner::default(),
        };
        Self {
            watch: Watch::of(&settings),
            known: Known::brought(place),
            settings,
            n,
            scanner,
            phase: Phase::Fresh,
            lane: Lane::Scan,
            sent: Sent::Never,
            armed: false,
            silence: None,
            keepalives: 0,
            rare: None,
        }
    }

    /// The settings, with what else they came with.
    pub(crate) fn settings(&self) -> &S {
        &self.settings.0
    }

    /// Takes other settings, before anything was sent.
    pub(crate) fn replace_settings(&mut self, settings: Arc<S>) {
        self.settings = Shared(settings);
        self.watch = Watch::of(&self.settings);
    }

    /// Takes a chunk of the stream.
    #[inline]
    pub(crate) fn data(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        let passes = match self.lane {
            Lane::Whole | Lane::Observation | Lane::Timed => self.passes(&chunk),
            Lane::Stamp => self.stamp_plain(&mut chunk),
            Lane::Scan => false,
        };
        if passes { Some(chunk) } else { self.scan(chunk) }
    }

    /// Nothing is to be sent but the stream's own, and what [`passes`](Self::passes) needs no scan
    /// and no note.
    #[inline]
    pub(crate) fn is_calm(&self) -> bool {
        self.lane == Lane::Whole
    }

    /// The same, but only until [`next_timeout`](Self::next_timeout).
    #[inline]
    pub(crate) fn is_calm_for_a_time(&self) -> bool {
        self.lane == Lane::Timed
    }

    /// Takes a chunk that needs no scan, if it can be sent as it is.
    #[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
    #[inline(always)]
    pub(crate) fn passes(&mut self, chunk: &[u8]) -> bool {
        let Some(line_end) = blank_at_end(chunk) else {
            return false;
        };
        self.scanner.set_line_end(line_end);
        self.sent = Sent::Something;
        true
    }

    /// Takes the end of the stream's own body; an unfinished event is dropped, as clients do.
    pub(crate) fn end(&mut self) {
        match self.phase {
            Phase::Over(_) => {}
            Phase::Flowing => self.over(EndReason::Cut),
            _ if self.scanner.in_event() && self.settings.around_another => {
                let rare = self.rare();
                rare.queue.extend(std::mem::take(&mut rare.held).into_pieces());
                self.over(EndReason::Finished);
            }
            _ if self.scanner.in_event() => {
                self.fail();
            }
            _ => match self.settings.close_at_end.clone() {
                Some(farewell) => {
                    let retry = Retry::nth(0, &(FINISHED_RETRY..=FINISHED_RETRY));
                    let (reason, retry) = (CloseReason::Finished, Some(&retry));
                    if let Some(frame) = self.say_farewell(&farewell, reason, retry) {
                        self.defer(frame);
                    }
                }
                None => self.over(EndReason::Finished),
            },
        }
    }

    /// Takes the failure of the stream's own body. Says whether a farewell stands in for it.
    pub(crate) fn fail(&mut self) -> bool {
        match (self.settings.on_error.clone(), self.phase) {
            (_, Phase::Over(_)) => false,
            // Behind half an event only the error itself tells the client.
            (None, _) | (_, Phase::Flowing) => {
                self.over(EndReason::Error);
                false
            }
            (Some(ErrorFarewell { farewell, retry }), _) => {
                let retry = Retry::nth(self.n.into(), &retry);
                if let Some(frame) = self.say_farewell(&farewell, CloseReason::Error, Some(&retry))
                {
                    self.defer(frame);
                }
                true
            }
        }
    }

    /// Ends with an error that nothing can be said about any more.
    pub(crate) fn abort(&mut self) {
        self.rare = None;
        self.over(EndReason::Error);
    }

    /// Whether an event can be written now.
    pub(crate) fn accepts_events(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Live)
    }

    /// Writes an event into the stream, if it [accepts](Self::accepts_events) one.
    pub(crate) fn inject(&mut self, event: &Injection) -> Option<Bytes> {
        if !self.accepts_events() {
            return None;
        }
        let before = self.events();
        let frame = self.encode(event);
        let injected = self.events() - before;
        if let Some(ends) = self.rare.as_mut().and_then(|rare| rare.ends.as_mut()) {
            ends.injected += injected;
        }
        self.sent = Sent::Something;
        Some(frame)
    }

    /// Has a frame wait for [`next`](Self::next).
    pub(crate) fn defer(&mut self, frame: Bytes) {
        self.lane = Lane::Scan;
        self.rare().queue.push_back(frame);
    }

    /// The next frame to send, behind those that calls have given.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.rare.as_mut()?.queue.pop_front()
    }

    /// Nothing waits to be sent or to be done, and nothing is held.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.rare.as_ref().is_none_or(|rare| rare.is_idle())
    }

    /// Why the stream is over, once nothing is left to be sent.
    #[inline]
    pub(crate) fn ended(&self) -> Option<EndReason> {
        match (self.phase, &self.rare) {
            (Phase::Over(_), Some(rare)) if !rare.queue.is_empty() => None,
            (Phase::Over(reason), _) => Some(reason),
            _ => None,
        }
    }

    /// Whether all events are counted.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "tracing")),
        expect(dead_code, reason = "it is asked for by those who observe")
    )]
    pub(crate) fn counts_events(&self) -> bool {
        self.settings.ids.is_some() || self.settings.count_events
    }

    pub(crate) fn keepalives(&self) -> u32 {
        self.keepalives
    }

    fn over(&mut self, reason: EndReason) {
        self.phase = Phase::Over(reason);
        self.lane = Lane::Scan;
    }
}

/// Tells whether a chunk that begins on a boundary is whole, from its last bytes.
///
/// Only line ends in LF are looked for: behind a CR it takes a scan to know what an LF means.
#[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
#[inline(always)]
fn blank_at_end(chunk: &[u8]) -> Option<LineEnd> {
    if chunk.ends_with(b"\n\n") {
        return Some(LineEnd::Lf);
    }
    chunk.ends_with(b"\n\r\n").then_some(LineEnd::CrLf)
}

/// A client that a close event does not stop stays away for a day.
const FINISHED_RETRY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
