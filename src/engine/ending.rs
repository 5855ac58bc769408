//! Why a stream ended, and orders to end it from the server's side.

use std::borrow::Cow;
use std::fmt;
use std::time::Instant;

use super::Farewell;
use super::splitter::Room;
use super::spread::Retry;
use crate::wire::CloseReason;

/// Why a stream ended. Each stream has one reason. Hooks, reports, metrics and logs use these
/// words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The stream's own body ended, after a whole event.
    Finished,
    /// The body was dropped before its end: the client went away.
    ClientGone,
    /// A drain ended it, with its farewell.
    Closed,
    /// The application ended it with [`Registry::close`](crate::Registry::close) or
    /// [`close_where`](crate::Registry::close_where), or a newer stream
    /// [took its place](crate::LimitBuilder::replace_oldest).
    Kicked,
    /// A [`RotationLayer`](crate::RotationLayer) ended it: it was too old or idle, or its
    /// [`Expiry`](crate::Expiry) had passed. The farewell says which.
    Rotated,
    /// Its client did not take what was sent, for the
    /// [stall limit](crate::ShutdownBuilder::stall_limit) or until a drain's deadline, and the
    /// connection was given up.
    Stalled,
    /// Its own body failed, panicked, ended in the middle of an event, or gave nothing
    /// [for too long](crate::KeepAliveLayer::give_up_after).
    Error,
    /// It ended in the middle of an event that was too long to hold, so without a farewell.
    Cut,
}

impl EndReason {
    /// Every reason, in the order of [`index`](Self::index).
    pub(crate) const ALL: [Self; 8] = [
        Self::Finished,
        Self::ClientGone,
        Self::Closed,
        Self::Kicked,
        Self::Rotated,
        Self::Stalled,
        Self::Error,
        Self::Cut,
    ];

    /// The index of this reason in a table with one entry for each reason.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// The word for this reason in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientGone => "client_gone",
            Self::Closed => "closed",
            Self::Kicked => "kicked",
            Self::Rotated => "rotated",
            Self::Stalled => "stalled",
            Self::Error => "error",
            Self::Cut => "cut",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl CloseReason {
    /// The reason under which a stream is counted that was closed for this reason.
    pub(crate) const fn end_reason(self) -> EndReason {
        match self {
            // The last two refuse a stream, which then does not begin.
            Self::Shutdown | Self::Limit | Self::Draining => EndReason::Closed,
            // The last ends what a stream is read from, which is no stream of an engine.
            Self::Kicked | Self::Replaced | Self::Stopped => EndReason::Kicked,
            Self::Rotated | Self::Expired | Self::Idle => EndReason::Rotated,
            Self::Error | Self::Timeout => EndReason::Error,
            Self::Finished => EndReason::Finished,
        }
    }
}

/// An order to end a stream.
#[derive(Debug)]
pub(crate) struct Close<'a> {
    pub(crate) reason: CloseReason,
    pub(crate) farewell: Cow<'a, Farewell>,
    /// How long the client is to wait before it comes back.
    pub(crate) retry: Option<Retry>,
    /// When to end the stream; in the middle of a long event, at the end of the event.
    pub(crate) at: Instant,
    /// When to end the stream even in the middle of a long event, without a farewell.
    pub(crate) cut_at: Option<Instant>,
}

impl Close<'_> {
    fn into_owned(self) -> Close<'static> {
        let farewell = Cow::Owned(self.farewell.into_owned());
        Close { farewell, ..self }
    }
}

/// An order that waits for its time.
#[derive(Debug)]
pub(super) struct Ending {
    order: Close<'static>,
    /// The time has come, but the long event has not ended yet.
    overdue: bool,
}

/// What is to be done about an order.
#[derive(Debug)]
pub(super) enum Verdict {
    Wait,
    /// End the stream with the farewell.
    Say(Close<'static>),
    /// End the stream in the middle of an event.
    Cut(CloseReason),
}

impl Ending {
    /// Keeps an order. Of two orders the earlier one counts, with the earlier moment to cut.
    pub(super) fn keep(kept: Option<Self>, order: Close<'_>) -> Self {
        let mut order = order.into_owned();
        if let Some(Self { order: earlier, .. }) = kept {
            let cut_at = [earlier.cut_at, order.cut_at].into_iter().flatten().min();
            if earlier.at <= order.at {
                order = earlier;
            }
            order.cut_at = cut_at;
        }
        Self { order, overdue: false }
    }

    /// When to check next.
    pub(super) fn next(&self, room: Room) -> Option<Instant> {
        match room {
            // The farewell waits for the end of the event; only the moment to cut is left.
            Room::None if self.overdue => self.order.cut_at,
            // At its time, too: the event may end at any moment after it.
            Room::None => [Some(self.order.at), self.order.cut_at].into_iter().flatten().min(),
            Room::Here | Room::AfterLineEnd => Some(self.order.at),
        }
    }

    /// Whether the farewell waits for the end of a long event.
    pub(super) fn is_overdue(&self) -> bool {
        self.overdue
    }

    /// Checks at `now` whether the time has come. An order that is carried out is taken out.
    pub(super) fn look(ending: &mut Option<Box<Self>>, now: Instant, room: Room) -> Verdict {
        let Some(kept) = ending else {
            return Verdict::Wait;
        };
        let due = kept.order.at <= now;
        match room {
            Room::None if kept.order.cut_at.is_some_and(|cut_at| cut_at <= now) => {
                Verdict::Cut(kept.order.reason)
            }
            Room::None => {
                kept.overdue = due;
                Verdict::Wait
            }
            Room::Here | Room::AfterLineEnd if due => match ending.take() {
                Some(kept) => Verdict::Say(kept.order),
                None => Verdict::Wait,
            },
            Room::Here | Room::AfterLineEnd => Verdict::Wait,
        }
    }
}
