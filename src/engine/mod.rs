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
//! | [`position`] | ids, the number of events, the client's position |
//! | [`silence`] | when a keepalive or a heartbeat is due, and how long the body may give nothing |
//! | [`lifetime`] | when the stream is too old, idle or expired |
//! | [`ending`] | the order to close that waits for its time |

mod ending;
mod farewell;
mod frames;
mod lifetime;
mod position;
mod settings;
mod silence;
mod splitter;
pub(crate) mod spread;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub(crate) use ending::Close;
pub use ending::EndReason;
pub use farewell::Farewell;
pub(crate) use farewell::Words;
pub(crate) use lifetime::Rotation;
pub(crate) use position::{EventIds, Injection, Position};
pub(crate) use settings::{ERROR_RETRY, Observation, Settings};
pub(crate) use silence::{Heartbeat, KeepAlive, MAX_TIMER, MIN_TIMER, Signal};

pub(crate) use crate::wire::{CloseReason, Framing, Protocol, Scanner, Status};
use crate::wire::{LineEnd, Notation};
use ending::{Ending, Verdict};
use frames::{Frames, PendingTail};
use lifetime::Lifetime;
use position::{EventPosition, IdTracking, Ids};
use silence::{Activity, Patience, Silence};
use splitter::{Room, Splitter, Until, Watch};
use spread::Retry;

/// The machine that carries out the layers' settings on one stream.
///
/// Its owner keeps the settings and gives them to each call.
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

/// What has to be done before the body is polled, or how much work its next chunk needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FastPath {
    /// Nothing waits, and a chunk of whole messages passes: [`Engine::pass`] is enough.
    Messages,
    /// The same for whole lines of JSON.
    Lines,
    /// The same for whole events, as the blank line at the end of a chunk tells.
    Events,
    /// Like `Events`, but a timeout may be due, or each frame is counted.
    WatchedEvents,
    /// Like `Messages` or `Lines`, but a timeout may be due, or each frame is counted.
    Watched,
    /// Events are given ids.
    Numbered,
    /// Every byte is scanned.
    Scan,
    /// Frames wait for [`Engine::poll_output`].
    Queued,
    /// A farewell has waited for the boundary on which the stream is now: once all output is sent,
    /// a timeout is due.
    Due,
    /// The stream is over, once all output is sent.
    Over,
}

impl FastPath {
    /// Whether nothing has to be sent or done before the body is polled.
    #[inline]
    pub(crate) fn is_quiet(self) -> bool {
        match self {
            Self::Messages
            | Self::Lines
            | Self::Events
            | Self::WatchedEvents
            | Self::Watched
            | Self::Numbered
            | Self::Scan => true,
            Self::Queued | Self::Due | Self::Over => false,
        }
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
    /// Foreign code panicked, so no farewell can be sent.
    Abort,
}

/// What is to be sent next.
#[derive(Debug)]
pub(crate) enum Output {
    Frame(Bytes),
    /// What the stream ends with, where its framing has a status in the trailers. It is the last
    /// output.
    Status(Box<Status>),
}

impl Output {
    /// What a call ends with. None where the status is a message, and there is no boundary on which
    /// it could be written.
    pub(crate) fn last(status: Status, protocol: Protocol, on_boundary: bool) -> Option<Self> {
        match status.last_message(protocol) {
            None => Some(Self::Status(Box::new(status))),
            Some(message) => on_boundary.then_some(Self::Frame(message)),
        }
    }
}

/// Whether the body was polled before a timeout is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyState {
    /// The body was polled and has nothing.
    Pending,
    /// The body may have data. Then the stream is not silent, and no comment is written.
    Unknown,
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

/// State that few streams have at a time. It is boxed, so that the others need no memory for it.
#[derive(Debug, Default)]
struct ColdState {
    output: VecDeque<Bytes>,
    tail: PendingTail,
    ending: Option<Box<Ending>>,
    lifetime: Option<Lifetime>,
    heartbeat: Option<Instant>,
    patience: Option<Patience>,
    /// What the stream ends with, if that is no frame.
    status: Option<Box<Status>>,
}

impl ColdState {
    /// Whether something has to be done at a certain time, however busy the body is.
    fn is_timed(&self) -> bool {
        self.ending.is_some() || self.lifetime.is_some() || self.heartbeat.is_some()
    }

    fn is_empty(&self) -> bool {
        self.output.is_empty()
            && self.tail.is_empty()
            && self.patience.is_none()
            && !self.is_timed()
    }
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
    /// Returns whether what the body ended with, a failure or trailers, has to be passed on after
    /// the frames. It has not where a farewell is sent instead.
    pub(crate) fn handle_end(
        &mut self,
        settings: &Settings,
        end: BodyEnd,
    ) -> (Option<Bytes>, PassOn) {
        match (end, self.path, self.splitter.room()) {
            // It got a farewell, which is its last frame.
            (_, FastPath::Over, _) => (None, PassOn::No),
            (BodyEnd::Failed, ..) => self.farewell_on_error(settings),
            (BodyEnd::Clean, ..) if self.splitter.may_end_here() => {
                self.send_tail();
                let frame = self.close_at_end(settings);
                if let Some(frame) = frame {
                    self.queue(frame);
                }
                (self.next_frame(settings), PassOn::Yes)
            }
            (BodyEnd::Clean, _, Room::None) => {
                self.finish(EndReason::Cut);
                (None, PassOn::Yes)
            }
            (BodyEnd::Clean, _, Room::Here)
                if self.splitter.in_event() && settings.around_another =>
            {
                self.send_tail();
                self.finish(EndReason::Finished);
                (self.next_frame(settings), PassOn::Yes)
            }
            // The client is to see that what came last is not whole.
            (BodyEnd::Clean, ..)
                if self.splitter.in_event()
                    && matches!(self.splitter.notation(), Notation::Status(_))
                    && settings.on_error.is_none() =>
            {
                self.send_tail();
                self.finish(EndReason::Error);
                (self.next_frame(settings), PassOn::Yes)
            }
            // An end in the middle of an event is a failure.
            (BodyEnd::Clean, ..) if self.splitter.in_event() => self.farewell_on_error(settings),
            (BodyEnd::Clean, ..) => (self.close_at_end(settings), PassOn::Yes),
        }
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
            Command::Abort => {
                self.cold = None;
                self.finish(EndReason::Error);
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
        self.look_at_lifetime(settings, now);
        self.look_at_patience(settings, now, body);
        let farewell = self.look_at_ending(settings, now);
        if let FastPath::Over = self.path {
            return farewell;
        }
        let heartbeat = self.look_at_heartbeat(settings, now);
        if heartbeat.is_some() {
            return heartbeat;
        }
        self.look_at_silence(settings, now, body)
    }

    /// What is to be sent next, after the frames that other calls returned.
    pub(crate) fn poll_output(&mut self, settings: &Settings) -> Option<Output> {
        if let Some(frame) = self.next_frame(settings) {
            return Some(Output::Frame(frame));
        }
        self.cold.as_mut()?.status.take().map(Output::Status)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn poll_timeout(&self, settings: &Settings) -> Option<Instant> {
        if let FastPath::Over = self.path {
            return None;
        }
        let silence = self.silence.zip(settings.keep_alive.as_ref());
        let silence = silence.map(|(silence, settings)| silence.tick(settings));
        let Some(cold) = &self.cold else {
            return silence;
        };
        let ending = cold.ending.as_ref().and_then(|ending| ending.next(self.splitter.room()));
        let lifetime = cold.lifetime.as_ref().and_then(Lifetime::next);
        let patience = cold.patience.as_ref().map(|patience| patience.ends);
        [silence, ending, lifetime, cold.heartbeat, patience].into_iter().flatten().min()
    }

    /// Why the stream is over, once all output is sent.
    #[inline]
    pub(crate) fn ended(&self) -> Option<EndReason> {
        let is_sent = |cold: &ColdState| cold.output.is_empty() && cold.status.is_none();
        let sent = self.cold.as_deref().is_none_or(is_sent);
        self.splitter.reason().filter(|_| sent)
    }

    /// Whether an event can be written into the stream now.
    #[inline]
    pub(crate) fn accepts_events(&self) -> bool {
        self.splitter.room() == Room::Here
    }

    /// What has been sent so far, and whether the stream is closing.
    #[inline]
    pub(crate) fn progress(&mut self) -> Progress<'_> {
        let ordered = self.cold.as_ref().is_some_and(|cold| cold.ending.is_some());
        Progress {
            events: self.position.events(),
            keepalives: self.keepalives,
            moved_to: self.position.take_moved(),
            is_closing: ordered || self.path == FastPath::Over,
        }
    }

    /// The timeout by which the stream had to be polled, if it has not been polled since.
    ///
    /// A timeout that has passed is no proof by itself: a busy stream returns frames without
    /// reading the time. But an engine with an order reads the time at each poll, the others read
    /// it when their body has nothing, and a frame in between is on record.
    pub(crate) fn missed_deadline(&self, settings: &Settings) -> Option<Instant> {
        let closing = self.cold.as_ref().is_some_and(|cold| cold.ending.is_some());
        let would_show = closing || !self.activity.is_something();
        self.poll_timeout(settings).filter(|_| would_show)
    }
}

/// How the body of a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyEnd {
    Clean,
    Failed,
}

/// Whether what a body ended with has to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassOn {
    Yes,
    No,
}

/// What the machine does with a chunk.
impl Engine {
    /// Lets whole events through, with their additions, and holds the rest.
    #[inline(never)]
    fn split(&mut self, settings: &Settings, chunk: Bytes) -> Option<Bytes> {
        let mut tail = match &mut self.cold {
            Some(cold) => {
                if let Some(patience) = &mut cold.patience {
                    patience.fed = true;
                }
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
        let ending = self.cold.as_ref().and_then(|cold| cold.ending.as_ref());
        let overdue = ending.is_some_and(|ending| ending.is_overdue());
        let until = if overdue { Until::FirstBoundary } else { Until::End };
        if !trimmed.chunk.is_empty() {
            let (tracking, position) = (&mut self.tracking, &mut self.position);
            let source = settings.ids.as_ref().filter(|_| self.splitter.has_events());
            let mut ids = Ids { source, settings, tracking, position };
            frames = self.splitter.split(trimmed.chunk, &mut tail, &mut ids, until, frames);
        }
        if !tail.is_empty() {
            self.cold.get_or_insert_default().tail = tail;
        }
        self.path = self.next_path(settings);
        if overdue && self.splitter.room() == Room::Here {
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
        let queued = self.cold.as_ref().is_some_and(|cold| !cold.output.is_empty());
        if !queued && rest.is_empty() {
            return first;
        }
        first.into_iter().chain(rest).for_each(|frame| self.queue(frame));
        self.next_frame(settings)
    }

    /// The next frame of the queue.
    fn next_frame(&mut self, settings: &Settings) -> Option<Bytes> {
        let output = &mut self.cold.as_mut()?.output;
        let frame = output.pop_front();
        if self.path == FastPath::Queued && output.is_empty() {
            self.path = self.next_path(settings);
        }
        frame
    }

    /// Queues a frame for [`poll_output`](Self::poll_output).
    fn queue(&mut self, frame: Bytes) {
        self.cold.get_or_insert_default().output.push_back(frame);
        if !matches!(self.path, FastPath::Over | FastPath::Due) {
            self.path = FastPath::Queued;
        }
    }

    fn next_path(&self, settings: &Settings) -> FastPath {
        match *settings {
            _ if self.cold.as_ref().is_some_and(|cold| !cold.output.is_empty()) => FastPath::Queued,
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
            _ if self.cold.as_ref().is_some_and(|cold| cold.is_timed()) => {
                self.splitter.path(Watch::Frames)
            }
            _ => self.splitter.path(Watch::Nothing),
        }
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
        let mut opening = None;
        let notation = self.splitter.notation();
        if let Some(keep_alive) = settings.keep_alive.as_ref().filter(|it| it.suits(notation)) {
            self.silence = Some(Silence::begin(now, keep_alive, self.n));
            if let Some(limit) = keep_alive.give_up_after {
                let patience = Patience::begin(now, limit);
                self.cold.get_or_insert_default().patience = Some(patience);
            }
            if let Notation::Events(line_end) = notation {
                if let Some(heartbeat) = &keep_alive.heartbeat {
                    self.cold.get_or_insert_default().heartbeat = Some(now + heartbeat.every);
                }
                self.activity = Activity::AtTick;
                opening = keep_alive.opening(line_end);
            }
        }
        let rotation = settings.rotation.as_ref();
        if let Some(lifetime) = rotation.and_then(|it| Lifetime::begin(it, self.n, now, expires)) {
            self.cold.get_or_insert_default().lifetime = Some(lifetime);
            self.tracking.expect_farewell();
            // The credential may have expired before the stream began.
            self.look_at_lifetime(settings, now);
            let farewell = self.look_at_ending(settings, now);
            let frames = Frames { first: opening, rest: Vec::from_iter(farewell) };
            return self.send(settings, frames);
        }
        opening
    }

    fn inject(&mut self, settings: &Settings, event: &Injection) -> Option<Bytes> {
        if !self.accepts_events() {
            return None;
        }
        let before = self.position.events();
        let (tracking, position) = (&mut self.tracking, &mut self.position);
        let source = settings.ids.as_ref().filter(|_| self.splitter.has_events());
        let mut ids = Ids { source, settings, tracking, position };
        let frame = ids.encode(event, self.splitter.notation())?;
        let injected = self.position.events() - before;
        if let Some(lifetime) = self.cold.as_mut().and_then(|cold| cold.lifetime.as_mut()) {
            lifetime.discount(injected);
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
                self.keep_order(order);
                self.look_at_ending(settings, now)
            }
        }
    }

    fn keep_order(&mut self, order: Close<'_>) {
        let cold = self.cold.get_or_insert_default();
        let kept = cold.ending.take().map(|kept| *kept);
        cold.ending = Some(Box::new(Ending::keep(kept, order)));
        if self.path != FastPath::Queued {
            self.path = FastPath::Scan;
        }
    }

    /// Orders the end of a stream whose time has come.
    fn look_at_lifetime(&mut self, settings: &Settings, now: Instant) {
        let (events, in_long_event) = (self.position.events(), self.splitter.room() == Room::None);
        let Some(cold) = &mut self.cold else {
            return;
        };
        let ends = cold.lifetime.as_mut().and_then(|it| it.look(now, events, in_long_event));
        if let (Some((at, reason)), Some(rotation)) = (ends, &settings.rotation) {
            cold.lifetime = None;
            let farewell = Cow::Borrowed(&rotation.farewell);
            let retry = Some(Retry::nth(self.n.into(), &rotation.retry));
            self.keep_order(Close { reason, farewell, retry, at, cut_at: None });
        }
    }

    /// Orders the end of a stream whose body gives nothing for too long.
    fn look_at_patience(&mut self, settings: &Settings, now: Instant, body: BodyState) {
        let Some((silence, keep_alive)) = self.silence.zip(settings.keep_alive.as_ref()) else {
            return;
        };
        let patience = self.cold.as_mut().and_then(|cold| cold.patience.as_mut());
        let (Some(patience), Some(limit)) = (patience, keep_alive.give_up_after) else {
            return;
        };
        let tick = silence.tick(keep_alive);
        // While a client reads nothing its stream is not polled, and the body cannot give anything.
        let was_away = now > tick + keep_alive.half_interval(self.n);
        let checks = tick <= now || patience.ends <= now;
        if checks && (was_away || patience.fed || self.activity == Activity::Something) {
            *patience = Patience::begin(now, limit);
        } else if patience.ends <= now && body == BodyState::Pending {
            let farewell = settings.on_error.clone().unwrap_or_default();
            let retry = Some(Retry::nth(self.n.into(), &settings.error_retry));
            let (reason, farewell) = (CloseReason::Timeout, Cow::Owned(farewell));
            self.keep_order(Close { reason, farewell, retry, at: now, cut_at: Some(now) });
        }
    }

    /// Carries out the order to close if its time has come.
    fn look_at_ending(&mut self, settings: &Settings, now: Instant) -> Option<Bytes> {
        let room = self.splitter.room();
        match Ending::look(&mut self.cold.as_mut()?.ending, now, room) {
            Verdict::Wait => None,
            Verdict::Say(Close { reason, farewell, retry, .. }) => {
                self.say(settings, &farewell, reason, retry)
            }
            Verdict::Cut(reason) => {
                self.finish(EndReason::Cut);
                self.end_with(Status::of(reason), room)
            }
        }
    }

    fn look_at_heartbeat(&mut self, settings: &Settings, now: Instant) -> Option<Bytes> {
        let heartbeat = settings.keep_alive.as_ref()?.heartbeat.as_ref()?;
        let at = self.cold.as_mut()?.heartbeat.as_mut().filter(|at| **at <= now)?;
        *at = now + heartbeat.every;
        if !self.accepts_events() {
            return None;
        }
        self.activity.inject();
        Some(heartbeat.event.bytes(self.splitter.line_end()))
    }

    fn look_at_silence(
        &mut self,
        settings: &Settings,
        now: Instant,
        body: BodyState,
    ) -> Option<Bytes> {
        let keep_alive = settings.keep_alive.as_ref()?;
        let silence = self.silence.as_mut().filter(|silence| silence.tick(keep_alive) <= now)?;
        let silent = self.activity == Activity::Nothing;
        if silent && body == BodyState::Unknown {
            // Checked again once the body has nothing.
            return None;
        }
        silence.advance(now, keep_alive, self.n);
        self.activity = if silent { Activity::AtTick } else { Activity::Nothing };
        // Releases memory that an idle stream does not need.
        self.cold = self.cold.take().filter(|cold| !cold.is_empty());
        if !silent || !self.accepts_events() {
            return None;
        }
        self.keepalives += 1;
        keep_alive.sign(self.splitter.notation())
    }

    /// Ends the stream with the farewell for errors, if there is one and room for it.
    fn farewell_on_error(&mut self, settings: &Settings) -> (Option<Bytes>, PassOn) {
        let (reason, retry) =
            (CloseReason::Error, Retry::nth(self.n.into(), &settings.error_retry));
        let farewell = match (&settings.on_error, &settings.words, self.splitter.notation()) {
            (Some(farewell), ..) => Some(Cow::Borrowed(farewell)),
            // A dialect that has no word for it does not hide the failure.
            (None, Some(words), Notation::Events(_)) => {
                Some(words.farewell(reason, Some(retry))).filter(|it| !it.is_none()).map(Cow::Owned)
            }
            (None, ..) => None,
        };
        match (farewell, self.splitter.room()) {
            // After half an event, only the error itself shows the client that the stream failed.
            (None, _) | (_, Room::None) => {
                self.finish(EndReason::Error);
                (None, PassOn::Yes)
            }
            (Some(farewell), _) => (self.say(settings, &farewell, reason, Some(retry)), PassOn::No),
        }
    }

    /// Ends a stream whose body came to its own end, with a farewell if that is asked for.
    fn close_at_end(&mut self, settings: &Settings) -> Option<Bytes> {
        let unended = self.splitter.may_end_here() && self.splitter.in_event();
        let farewell = settings.close_at_end.as_ref();
        // The status of a call that came to its own end is its own.
        let farewell =
            farewell.filter(|_| !matches!(self.splitter.notation(), Notation::Status(_)));
        let frame = farewell.and_then(|farewell| {
            self.say(settings, farewell, CloseReason::Finished, Some(Retry::after(FINISHED_RETRY)))
        });
        self.finish(EndReason::Finished);
        match frame {
            Some(frame) if unended => Some(after(self.splitter.line_end(), &frame)),
            frame => frame,
        }
    }

    /// Sends the unfinished tail, which is whole as it is.
    fn send_tail(&mut self) {
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
        let (notation, room) = (self.splitter.notation(), self.splitter.room());
        // Other framings have forms of their own.
        let words = settings.words.as_ref().filter(|_| self.splitter.has_events());
        let said = farewell.in_words(words, reason, retry);
        let bytes = said.encode(reason, retry, self.position.position(), notation);
        self.finish(reason.end_reason());
        if let Notation::Status(_) = notation {
            return self.end_with(farewell.status(reason, retry.map(Retry::delay)), room);
        }
        match room {
            Room::AfterLineEnd => bytes.map(|bytes| after(self.splitter.line_end(), &bytes)),
            Room::Here | Room::None => bytes,
        }
    }

    /// Has the stream end with a status, if its framing has one and a place for it.
    fn end_with(&mut self, status: Status, room: Room) -> Option<Bytes> {
        let Notation::Status(protocol) = self.splitter.notation() else {
            return None;
        };
        match Output::last(status, protocol, room == Room::Here)? {
            Output::Frame(frame) => Some(frame),
            Output::Status(status) => {
                self.cold.get_or_insert_default().status = Some(status);
                None
            }
        }
    }

    fn finish(&mut self, reason: EndReason) {
        self.path = FastPath::Over;
        self.splitter.finish(reason);
        if let Some(cold) = &mut self.cold {
            let output = std::mem::take(&mut cold.output);
            **cold = ColdState { output, ..ColdState::default() };
        }
    }
}

/// Ends the line before `bytes`.
fn after(line_end: LineEnd, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::from(line_end.as_str());
    frame.extend_from_slice(bytes);
    frame.freeze()
}

/// The `retry` of the close event of a stream that came to its own end. Clients that cannot be
/// stopped stay away for that long, and then ask once more.
const FINISHED_RETRY: Duration = Duration::from_secs(24 * 60 * 60);
