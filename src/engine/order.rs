//! Orders to end a stream from the server's side, and how one waits for its time.

use std::borrow::Cow;
use std::time::Instant;

use super::Farewell;
use super::splitter::Room;
use super::spread::Retry;
use crate::wire::CloseReason;

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
pub(super) struct PendingOrder {
    order: Close<'static>,
    /// The time has come, but the long event has not ended yet.
    is_overdue: bool,
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

impl PendingOrder {
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
        Self { order, is_overdue: false }
    }

    /// When to check next.
    pub(super) fn next(&self, room: Room) -> Option<Instant> {
        match room {
            // The farewell waits for the end of the event; only the moment to cut is left.
            Room::None if self.is_overdue => self.order.cut_at,
            // At its time, too: the event may end at any moment after it.
            Room::None => [Some(self.order.at), self.order.cut_at].into_iter().flatten().min(),
            Room::Here | Room::AfterLineEnd => Some(self.order.at),
        }
    }

    /// Whether the farewell waits for the end of a long event.
    pub(super) fn is_overdue(&self) -> bool {
        self.is_overdue
    }

    /// Checks at `now` whether the time has come. An order that is carried out is taken out.
    pub(super) fn check(pending: &mut Option<Box<Self>>, now: Instant, room: Room) -> Verdict {
        let Some(kept) = pending else {
            return Verdict::Wait;
        };
        let due = kept.order.at <= now;
        match room {
            Room::None if kept.order.cut_at.is_some_and(|cut_at| cut_at <= now) => {
                Verdict::Cut(kept.order.reason)
            }
            Room::None => {
                kept.is_overdue = due;
                Verdict::Wait
            }
            Room::Here | Room::AfterLineEnd if due => match pending.take() {
                Some(kept) => Verdict::Say(kept.order),
                None => Verdict::Wait,
            },
            Room::Here | Room::AfterLineEnd => Verdict::Wait,
        }
    }
}
