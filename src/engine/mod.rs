//! The behaviour of one stream, as a machine: bytes, commands and the time go in; bytes, deadlines
//! and the end come out.
//!
//! The engine does no I/O and reads no clock. It lets whole events through and holds the unfinished
//! tail, so what has been sent always ends on a boundary, where a comment, an event or a farewell
//! may be written at any moment.
//!
//! # States
//!
//! ```text
//!  new ──▶ Fresh ──── first bytes ────▶ Whole ◀──── boundary ────┐
//!            │                            │                      │
//!            │                            ├─ tail > hold limit ─▶ Flowing
//!            │                            │                      │
//!            └──────────────┬─────────────┴──────────────────────┘
//!                           │ end, error, farewell, cut, the last message of a call
//!                           ▼
//!                     Over(EndReason)
//! ```
//!
//! - In *Fresh* and *Whole* everything may be written: comments, injected events, the farewell.
//! - In *Flowing* an event that is too long to hold passes in pieces, and nothing is written. A
//!   farewell waits for the boundary, or until the moment when the stream is cut. A comment that is
//!   too long to hold flows as well, but a farewell may be written after any of its line ends.
//! - *Over* is final: bytes, commands and the time change nothing, and the output that was made
//!   before is still given out.
//!
//! # Calls
//!
//! ```text
//!   fast_path ── is quiet ─────▶ pass, handle_data, handle_end ──┐
//!      ▲  │                                                      │
//!      │  └───── Queued ───────▶ poll_output ────────────────────┤ a frame,
//!      │         Due ──────────▶ handle_timeout ─────────────────┤ or nothing
//!      │                            ▲                            │
//!      │         poll_timeout ── at this time, or later          │
//!      │         handle_command                                  │
//!      └─────────────────────────────────────────────────────────┘
//! ```
//!
//! [`Engine::fast_path`] is the one question before the body is polled. A call that gives a frame
//! gives the next one to send; [`Engine::poll_output`] gives those after it and the status that a
//! call of gRPC ends with, and is called until it gives none before anything else is. The order in
//! which a timeout asks its questions is that of [`Engine::handle_timeout`]: the lifetime, the
//! silence of the body, the order to close, the heartbeat, and silence last.
//!
//! # Parts
//!
//! | part | owns |
//! | --- | --- |
//! | [`splitter`] | where events end, and the stage of the stream |
//! | [`frames`] | the held tail, and how frames are put together |
//! | [`numbering`] | ids, the number of events, the client's [`position`] |
//! | [`outbox`] | the frames that wait, and the status after them |
//! | [`silence`] | when a keepalive is due, and how long the body may give nothing |
//! | [`timeouts`] | the [`lifetime`], the body's patience, the heartbeat, the [`order`] to close |
//! | [`ending`] | what is done at the end of the body, and what is sent last |

mod end_reason;
mod ending;
mod farewell;
mod fast_path;
mod frames;
mod keep_alive;
mod lifetime;
mod numbering;
mod order;
mod outbox;
mod position;
mod settings;
mod shared_event;
mod silence;
mod splitter;
pub(crate) mod spread;
#[cfg(test)]
mod tests;
mod timeouts;

use std::time::Instant;

use bytes::Bytes;

pub use end_reason::EndReason;
pub(crate) use ending::{BodyEnd, PassOn};
pub use farewell::Farewell;
pub(crate) use farewell::Words;
pub(crate) use fast_path::FastPath;
pub(crate) use keep_alive::{Heartbeat, KeepAlive, MAX_TIMER, MIN_TIMER, Signal};
pub(crate) use order::Close;
pub(crate) use outbox::Output;
pub(crate) use position::{EventIds, Position};
pub(crate) use settings::{ERROR_RETRY, Observation, Rotation, Settings};
pub(crate) use shared_event::Injection;
pub(crate) use silence::BodyState;

use crate::wire::Notation;
pub(crate) use crate::wire::{CloseReason, Framing, Protocol, Scanner, Status, blank_at_end};
use ending::{AtEnd, FINISHED_RETRY};
use fast_path::Watch;
use frames::{Frames, PendingTail};
use numbering::{EventPosition, IdTracking, Ids};
use order::Verdict;
use outbox::Outbox;
use silence::{Activity, Silence, StreamNow};
use splitter::{Room, Splitter, Until};
use spread::Retry;
use timeouts::Timeouts;

/// The machine that carries out the layers' settings on one stream.
///
/// Its owner keeps the settings and gives them to each call.
///
/// What belongs to silence and to positions stands beside them in small fields: within them,
/// padding would make each stream larger.
#[derive(Debug)]
pub(crate) struct Engine {
    /// The number of this stream, by which times are spread over streams.
    n: u32,
    keepalives: u32,
    splitter: Splitter,
    path: FastPath,
    activity: Activity,
    tracking: IdTracking,
    position: EventPosition,
    silence: Option<Silence>,
    cold: Option<Box<ColdState>>,
}

/// State that few streams have at a time. It is boxed, so that the others need no memory for it.
#[derive(Debug, Default)]
struct ColdState {
    outbox: Outbox,
    tail: PendingTail,
    timeouts: Timeouts,
}

impl ColdState {
    fn is_empty(&self) -> bool {
        self.outbox.is_empty() && self.tail.is_empty() && self.timeouts.is_empty()
    }
}

/// What the server does to a stream.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    /// The stream begins. Its credential expires at `expires`.
    Open { now: Instant, expires: Option<Instant> },
    /// An event is written into the stream, if it [accepts](Engine::accepts_events) one.
    Inject(&'a Injection),
    /// Orders the end of the stream. Of two orders the earlier one counts.
    Close { order: Close<'a>, now: Instant },
    /// Puts a frame back that was taken out, to be sent after the frames that were returned since.
    Queue(Bytes),
    /// Puts a frame back that was taken out, to be sent before the frames that wait.
    PutBack(Bytes),
    /// Foreign code panicked, so no farewell can be sent.
    Abort,
}

/// What has been sent so far, and whether the stream is closing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress<'a> {
    /// The number of events, if they are counted.
    pub(crate) events: u64,
    pub(crate) keepalives: u32,
    /// The client's position, if it has changed since the last call.
    pub(crate) moved_to: Option<&'a Position>,
    /// The stream is over, or waits in a long event for its end.
    pub(crate) is_closing: bool,
}

impl Engine {
    /// An engine for the `n`-th stream, whose client is at `position`, after the bytes that
    /// `scanner` has read.
    pub(crate) fn new(scanner: Scanner, settings: &Settings, n: u32, position: Position) -> Self {
        Self {
            n,
            keepalives: 0,
            splitter: Splitter::new(scanner),
            path: FastPath::Scan,
            activity: Activity::Never,
            tracking: IdTracking::of(settings),
            position: EventPosition::brought(position),
            silence: None,
            cold: None,
        }
    }

    /// What has to be done before the body is polled, and how much work its next chunk needs.
    #[inline]
    pub(crate) fn fast_path(&self) -> FastPath {
        self.path
    }

    /// Takes a chunk on one of the paths on which whole chunks pass, if it can be sent as it is.
    /// Else [`handle_data`](Self::handle_data) takes it.
    #[expect(clippy::inline_always, reason = "on its own it costs as much as what it saves")]
    #[inline(always)]
    pub(crate) fn pass(&mut self, path: FastPath, chunk: &[u8]) -> bool {
        let is_whole = match path {
            FastPath::Messages => splitter::are_messages(chunk),
            FastPath::Lines => splitter::are_lines(chunk),
            FastPath::Events => self.splitter.pass_events(chunk),
            _ => false,
        };
        if is_whole {
            self.activity = Activity::Something;
        }
        is_whole
    }

    /// Takes a chunk of the body.
    #[inline]
    pub(crate) fn handle_data(&mut self, settings: &Settings, chunk: Bytes) -> Option<Bytes> {
        match self.path {
            FastPath::Events | FastPath::WatchedEvents if self.splitter.pass_events(&chunk) => {
                self.activity = Activity::Something;
                Some(chunk)
            }
            FastPath::Numbered => match self.splitter.pass_plain_event(&chunk) {
                Some(blank) => Some(self.number_event(settings, chunk, blank)),
                None => self.split(settings, chunk),
            },
            FastPath::Messages | FastPath::Lines | FastPath::Watched
                if self.splitter.is_whole(&chunk) =>
            {
                self.activity = Activity::Something;
                Some(chunk)
            }
            FastPath::Over => None,
            _ => self.split(settings, chunk),
        }
    }

    /// Takes the end of the body. An unfinished event is dropped, as clients drop it.
    ///
    /// Returns the first of the frames that are left, and whether what the body ended with, a
    /// failure or trailers, has to be passed on after them. It has not where a farewell is sent
    /// instead.
    pub(crate) fn handle_end(
        &mut self,
        settings: &Settings,
        end: BodyEnd,
    ) -> (Option<Bytes>, PassOn) {
        // It got a farewell, which is its last frame.
        if let FastPath::Over = self.path {
            return (None, PassOn::No);
        }
        let (last, pass_on) = match AtEnd::of(end, &self.splitter, settings) {
            AtEnd::Fail => self.fail(settings),
            AtEnd::Close => (self.close_at_end(settings), PassOn::Yes),
            AtEnd::SendTailAndClose => {
                self.queue_tail();
                (self.close_at_end(settings), PassOn::Yes)
            }
            AtEnd::SendTail(reason) => {
                self.queue_tail();
                self.finish(reason);
                (None, PassOn::Yes)
            }
            AtEnd::Cut => {
                self.finish(EndReason::Cut);
                (None, PassOn::Yes)
            }
        };
        (self.send_after_queue(settings, last), pass_on)
    }

    /// Takes a command.
    pub(crate) fn handle_command(
        &mut self,
        settings: &Settings,
        command: Command<'_>,
    ) -> Option<Bytes> {
        match command {
            Command::Open { now, expires } => self.open(settings, now, expires),
            Command::Inject(event) => self.inject(settings, event),
            Command::Close { order, now } => self.close(settings, order, now),
            Command::Queue(frame) => {
                self.queue(frame);
                None
            }
            Command::PutBack(frame) => {
                self.cold.get_or_insert_default().outbox.put_back(frame);
                self.mark_queued();
                None
            }
            Command::Abort => {
                // Dropped when all is noted: bytes may have an owner whose drop is foreign code.
                let unsent = self.cold.take();
                self.finish(EndReason::Error);
                drop(unsent);
                None
            }
        }
    }

    /// Handles the timeouts that are due, at [`poll_timeout`](Self::poll_timeout) or later.
    pub(crate) fn handle_timeout(
        &mut self,
        settings: &Settings,
        now: Instant,
        body: BodyState,
    ) -> Option<Bytes> {
        if let FastPath::Over = self.path {
            return None;
        }
        let last = self.check_ending(settings, now, body);
        if let FastPath::Over = self.path {
            return last;
        }
        let heartbeat = self.check_heartbeat(settings, now);
        if heartbeat.is_some() {
            return heartbeat;
        }
        self.check_silence(settings, now, body)
    }

    /// What is to be sent next, after the frames that other calls returned.
    pub(crate) fn poll_output(&mut self, settings: &Settings) -> Option<Output> {
        if let Some(frame) = self.next_frame(settings) {
            return Some(Output::Frame(frame));
        }
        self.cold.as_mut()?.outbox.take_status().map(Output::Status)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self, settings: &Settings) -> Option<Instant> {
        if let FastPath::Over = self.path {
            return None;
        }
        let silence = self.silence.zip(settings.keep_alive.as_ref());
        let silence = silence.map(|(silence, settings)| silence.tick(settings));
        let room = self.splitter.room();
        let timeouts = self.timeouts().and_then(|timeouts| timeouts.next(room));
        [silence, timeouts].into_iter().flatten().min()
    }

    /// Why the stream is over, once all output is sent.
    #[inline]
    pub(crate) fn ended(&self) -> Option<EndReason> {
        let is_sent = self.cold.as_ref().is_none_or(|cold| cold.outbox.is_empty());
        self.splitter.reason().filter(|_| is_sent)
    }

    /// Whether an event can be written into the stream now.
    #[inline]
    pub(crate) fn accepts_events(&self) -> bool {
        self.splitter.room() == Room::Here
    }

    /// What has been sent so far, and whether the stream is closing.
    #[inline]
    pub(crate) fn progress(&mut self) -> Progress<'_> {
        Progress {
            is_closing: self.has_order() || self.path == FastPath::Over,
            events: self.position.events(),
            keepalives: self.keepalives,
            moved_to: self.position.take_moved(),
        }
    }

    /// The timeout by which the stream had to be polled, if it has not been polled since.
    ///
    /// A timeout that has passed is no proof by itself: a busy stream returns frames without
    /// reading the time. But an engine with an order reads the time at each poll, the others read
    /// it when their body has nothing, and a frame in between is on record.
    pub(crate) fn missed_deadline(&self, settings: &Settings) -> Option<Instant> {
        let would_show = self.has_order() || !self.activity.is_something();
        self.poll_timeout(settings).filter(|_| would_show)
    }
}

/// What the machine does with a chunk.
impl Engine {
    /// Lets whole events through, with their additions, and holds the rest.
    #[inline(never)]
    fn split(&mut self, settings: &Settings, chunk: Bytes) -> Option<Bytes> {
        let mut tail = match &mut self.cold {
            Some(cold) => {
                cold.timeouts.feed();
                std::mem::take(&mut cold.tail)
            }
            None => PendingTail::default(),
        };
        let trimmed = self.splitter.trim(chunk, &mut tail);
        let mut frames = Frames::default();
        if trimmed.mark && self.activity == Activity::Never {
            // A comment takes the place of the byte order mark: of two marks the second must not
            // become the leading one.
            frames.push(Bytes::from_static(b":\n"));
        }
        let is_overdue = self.timeouts().is_some_and(Timeouts::is_overdue);
        let until = if is_overdue { Until::FirstBoundary } else { Until::End };
        if !trimmed.chunk.is_empty() {
            let notation = self.splitter.notation();
            let mut ids = Ids::new(settings, notation, &mut self.tracking, &mut self.position);
            frames = self.splitter.split(trimmed.chunk, &mut tail, &mut ids, until, frames);
        }
        if !tail.is_empty() {
            self.cold.get_or_insert_default().tail = tail;
        }
        self.path = self.next_path(settings);
        if is_overdue && self.splitter.room() == Room::Here {
            self.path = FastPath::Due;
        }
        if self.splitter.is_over() {
            self.finish(EndReason::Finished);
        }
        self.send(settings, frames)
    }

    /// Adds an id to a chunk that is one event, whose blank line begins at `blank`.
    #[inline]
    fn number_event(&mut self, settings: &Settings, mut event: Bytes, blank: usize) -> Bytes {
        self.activity = Activity::Something;
        let id = settings.ids.as_ref().and_then(|ids| self.position.number(ids));
        let line_end = self.splitter.line_end();
        let rest = id.and_then(|id| {
            id.with_text(|id| frames::stamp(&mut event, blank, id.unwrap_or_default(), line_end))
        });
        if let Some(rest) = rest {
            self.queue(rest);
        }
        event
    }

    /// Returns the first of these frames, and queues the others.
    fn send(&mut self, settings: &Settings, frames: Frames) -> Option<Bytes> {
        let Frames { first, rest } = frames;
        if first.is_some() {
            self.activity = Activity::Something;
        }
        if rest.is_empty() {
            return self.send_after_queue(settings, first);
        }
        first.into_iter().chain(rest).for_each(|frame| self.queue(frame));
        self.next_frame(settings)
    }

    /// Returns this frame, or queues it after the frames that wait and returns the first of them.
    fn send_after_queue(&mut self, settings: &Settings, frame: Option<Bytes>) -> Option<Bytes> {
        if !self.has_queue() {
            return frame;
        }
        if let Some(frame) = frame {
            self.queue(frame);
        }
        self.next_frame(settings)
    }

    /// The next frame of the queue.
    fn next_frame(&mut self, settings: &Settings) -> Option<Bytes> {
        let outbox = &mut self.cold.as_mut()?.outbox;
        let frame = outbox.next_frame();
        if self.path == FastPath::Queued && !outbox.has_frames() {
            self.path = self.next_path(settings);
        }
        frame
    }

    /// Queues a frame for [`poll_output`](Self::poll_output).
    fn queue(&mut self, frame: Bytes) {
        self.cold.get_or_insert_default().outbox.push(frame);
        self.mark_queued();
    }

    fn mark_queued(&mut self) {
        if !matches!(self.path, FastPath::Over | FastPath::Due) {
            self.path = FastPath::Queued;
        }
    }

    fn next_path(&self, settings: &Settings) -> FastPath {
        match *settings {
            _ if self.has_queue() => FastPath::Queued,
            _ if !self.splitter.is_clear() => FastPath::Scan,
            Settings { ids: Some(_), .. } if self.splitter.has_events() => FastPath::Numbered,
            _ if self.tracking != IdTracking::Off => FastPath::Scan,
            Settings { observation: Observation::FirstEvent, .. }
                if self.position.events() == 0 =>
            {
                FastPath::Scan
            }
            Settings { observation: Observation::Frames | Observation::FirstEvent, .. } => {
                self.splitter.path(Watch::Frames)
            }
            _ if self.timeouts().is_some_and(Timeouts::are_strict) => {
                self.splitter.path(Watch::Frames)
            }
            _ => self.splitter.path(Watch::Nothing),
        }
    }

    fn has_queue(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.outbox.has_frames())
    }

    fn timeouts(&self) -> Option<&Timeouts> {
        self.cold.as_ref().map(|cold| &cold.timeouts)
    }

    /// Whether an order to close waits for its time.
    fn has_order(&self) -> bool {
        self.timeouts().is_some_and(Timeouts::has_order)
    }
}

/// What the machine does on commands and timeouts.
impl Engine {
    /// Begins with what the keepalive has for the beginning.
    fn open(
        &mut self,
        settings: &Settings,
        now: Instant,
        expires: Option<Instant>,
    ) -> Option<Bytes> {
        // An outer layer may have changed the settings since the stream was made.
        self.tracking = IdTracking::of(settings);
        let notation = self.splitter.notation();
        let keep_alive = settings.keep_alive_in(notation);
        self.silence = keep_alive.map(|keep_alive| Silence::begin(now, keep_alive, self.n));
        let timeouts = Timeouts::begin(settings, self.n, notation, now, expires);
        if timeouts.end_the_stream() {
            self.tracking.expect_farewell();
        }
        if !timeouts.is_empty() {
            self.cold.get_or_insert_default().timeouts = timeouts;
        }
        let opening = match notation {
            Notation::Events(line_end) => keep_alive.and_then(|it| it.opening(line_end)),
            Notation::Lines | Notation::Records | Notation::Status(_) => None,
        };
        if opening.is_some() {
            self.activity = Activity::AtTick;
        }
        // The credential may have expired before the stream began.
        let last = self.check_ending(settings, now, BodyState::Unknown);
        match (opening, last) {
            (Some(opening), Some(last)) => {
                self.queue(last);
                Some(opening)
            }
            (opening, last) => opening.or(last),
        }
    }

    fn inject(&mut self, settings: &Settings, event: &Injection) -> Option<Bytes> {
        if !self.accepts_events() {
            return None;
        }
        let before = self.position.events();
        let notation = self.splitter.notation();
        let mut ids = Ids::new(settings, notation, &mut self.tracking, &mut self.position);
        let frame = ids.encode(event, notation)?;
        if let Some(cold) = &mut self.cold {
            cold.timeouts.discount(self.position.events() - before);
        }
        self.activity.inject();
        Some(frame)
    }

    fn close(&mut self, settings: &Settings, order: Close<'_>, now: Instant) -> Option<Bytes> {
        match (self.path, self.splitter.room()) {
            (FastPath::Over, _) => None,
            // Nothing has to be kept for it.
            (_, Room::Here) if order.at <= now => {
                self.say(settings, &order.farewell, order.reason, order.retry)
            }
            _ => {
                self.cold.get_or_insert_default().timeouts.keep_order(order);
                self.path = self.next_path(settings);
                self.carry_out_order(settings, now)
            }
        }
    }

    /// Ends the stream if its time has come.
    fn check_ending(
        &mut self,
        settings: &Settings,
        now: Instant,
        body: BodyState,
    ) -> Option<Bytes> {
        let Self { n, silence, activity, .. } = *self;
        let (room, events) = (self.splitter.room(), self.position.events());
        let stream = StreamNow { settings, n, now, body, room, events, silence, activity };
        self.cold.as_mut()?.timeouts.check_limits(&stream);
        self.carry_out_order(settings, now)
    }

    /// Carries out the order to close if its time has come.
    fn carry_out_order(&mut self, settings: &Settings, now: Instant) -> Option<Bytes> {
        let room = self.splitter.room();
        match self.cold.as_mut()?.timeouts.check_order(now, room) {
            Verdict::Wait => None,
            Verdict::Say(Close { reason, farewell, retry, .. }) => {
                self.say(settings, &farewell, reason, retry)
            }
            Verdict::Cut(reason) => {
                let last = ending::last_status(&self.splitter, Status::of(reason));
                self.finish(EndReason::Cut);
                self.send_last(last)
            }
        }
    }

    fn check_heartbeat(&mut self, settings: &Settings, now: Instant) -> Option<Bytes> {
        let heartbeat = self.cold.as_mut()?.timeouts.take_heartbeat(settings, now)?;
        if !self.accepts_events() {
            return None;
        }
        self.activity.inject();
        Some(heartbeat.bytes(self.splitter.line_end()))
    }

    fn check_silence(
        &mut self,
        settings: &Settings,
        now: Instant,
        body: BodyState,
    ) -> Option<Bytes> {
        let keep_alive = settings.keep_alive.as_ref()?;
        let silence = self.silence.as_mut().filter(|silence| silence.tick(keep_alive) <= now)?;
        let is_silent = self.activity == Activity::Nothing;
        if is_silent && body == BodyState::Unknown {
            // Checked again once the body has nothing.
            return None;
        }
        silence.advance(now, keep_alive, self.n);
        self.activity = if is_silent { Activity::AtTick } else { Activity::Nothing };
        // Releases memory that an idle stream does not need.
        self.cold = self.cold.take().filter(|cold| !cold.is_empty());
        if !is_silent || !self.accepts_events() {
            return None;
        }
        self.keepalives += 1;
        keep_alive.sign(self.splitter.notation())
    }

    /// Ends the stream with the farewell for errors, if there is one and room for it.
    fn fail(&mut self, settings: &Settings) -> (Option<Bytes>, PassOn) {
        let retry = Retry::nth(self.n.into(), &settings.error_retry);
        let Some(farewell) = ending::farewell_on_error(settings, &self.splitter, retry) else {
            self.finish(EndReason::Error);
            return (None, PassOn::Yes);
        };
        (self.say(settings, &farewell, CloseReason::Error, Some(retry)), PassOn::No)
    }

    /// Ends a stream whose body came to its own end, with a farewell if that is asked for.
    fn close_at_end(&mut self, settings: &Settings) -> Option<Bytes> {
        let Some(farewell) = ending::farewell_at_end(settings, &self.splitter) else {
            self.finish(EndReason::Finished);
            return None;
        };
        let is_in_line = self.splitter.may_end_here() && self.splitter.in_event();
        let retry = Some(Retry::after(FINISHED_RETRY));
        let last = self.say(settings, farewell, CloseReason::Finished, retry);
        match last {
            Some(last) if is_in_line => {
                Some(ending::after_line_end(self.splitter.line_end(), &last))
            }
            last => last,
        }
    }

    /// Queues what is held, which is sent as it is.
    fn queue_tail(&mut self) {
        let tail = self.cold.as_mut().map(|cold| std::mem::take(&mut cold.tail));
        tail.unwrap_or_default().into_pieces().into_iter().for_each(|it| self.queue(it));
    }

    /// Ends the stream with a farewell. The unfinished tail of an event is dropped.
    fn say(
        &mut self,
        settings: &Settings,
        farewell: &Farewell,
        reason: CloseReason,
        retry: Option<Retry>,
    ) -> Option<Bytes> {
        let position = self.position.position();
        let last = ending::last_output(settings, &self.splitter, position, farewell, reason, retry);
        self.finish(reason.end_reason());
        self.send_last(last)
    }

    /// Returns the last frame, or leaves the status for [`poll_output`](Self::poll_output).
    fn send_last(&mut self, last: Option<Output>) -> Option<Bytes> {
        match last? {
            Output::Frame(frame) => Some(frame),
            Output::Status(status) => {
                self.cold.get_or_insert_default().outbox.end_with(status);
                None
            }
        }
    }

    /// Ends the stream. What waits to be sent is still sent.
    fn finish(&mut self, reason: EndReason) {
        self.path = FastPath::Over;
        self.splitter.finish(reason);
        if let Some(cold) = &mut self.cold {
            let outbox = std::mem::take(&mut cold.outbox);
            **cold = ColdState { outbox, ..ColdState::default() };
        }
    }
}
