//! Orders to end a stream from the server's side, and when they are carried out.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::Farewell;
use super::splitter::Room;
use crate::wire::CloseReason;

/// An order to end a stream.
#[derive(Debug)]
pub(crate) struct Close<'a> {
    pub(crate) reason: CloseReason,
    pub(crate) farewell: Cow<'a, Farewell>,
    /// How long the client is to wait before it comes back.
    pub(crate) retry: Option<Duration>,
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

/// An order to end a stream that is kept until its time.
#[derive(Debug)]
pub(super) struct Ending {
    order: Close<'static>,
    /// The time has come, and the end of the long event has not.
    overdue: bool,
}

/// What is to be done about an order.
#[derive(Debug)]
pub(super) enum Verdict {
    Wait,
    /// End the stream with the farewell.
    Say(Close<'static>),
    /// End the stream in the middle of an event.
    Cut,
}

impl Ending {
    /// Keeps an order. Of two the earlier counts, and so does the earlier moment to cut.
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

    /// When to look next.
    pub(super) fn next(&self, room: Room) -> Option<Instant> {
        match room {
            Room::None => self.order.cut_at,
            Room::Here | Room::AfterLineEnd => Some(self.order.at),
        }
    }

    /// Whether the farewell waits for the end of a long event.
    pub(super) fn is_overdue(&self) -> bool {
        self.overdue
    }

    /// Looks at `now` whether the time has come. An order that is to be carried out is given away.
    pub(super) fn look(ending: &mut Option<Box<Self>>, now: Instant, room: Room) -> Verdict {
        let Some(kept) = ending else {
            return Verdict::Wait;
        };
        let due = kept.order.at <= now;
        match room {
            Room::None if kept.order.cut_at.is_some_and(|cut_at| cut_at <= now) => Verdict::Cut,
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
