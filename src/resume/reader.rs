//! What a client reads: a stream out of the log.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::kept::Seat;
use super::mark::{Kind, Mark, frame};
use super::token::Token;
use crate::event_log::{EventLog, Follow, Gap, GapPolicy, Start, Step};
use crate::wire::CloseReason;

/// What a client reads: a stream out of the log.
pub(super) struct Reader<L: EventLog> {
    /// Dropped at the end, so that the log has a follower less.
    follower: Option<Pin<Box<L::Follower>>>,
    /// What was read already.
    first: Option<Step>,
    /// None for the stream of another node.
    seat: Option<Seat<L>>,
    token: Token,
    /// The number of the last event.
    told: u64,
    /// The gap behind which the log had nothing of a stream that has ended, while it is asked again.
    gone: Option<Gap>,
}

impl<L: EventLog> Reader<L> {
    pub(super) fn new(
        token: Token,
        follower: Pin<Box<L::Follower>>,
        first: Option<Step>,
        seat: Option<Seat<L>>,
    ) -> Self {
        Self { follower: Some(follower), first, seat, token, told: 0, gone: None }
    }

    pub(super) fn is_over(&self) -> bool {
        self.follower.is_none()
    }

    /// The next frame, or the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        for _ in 0..SKIPPED {
            let Some(follower) = &mut self.follower else {
                return Poll::Ready(None);
            };
            let next = match self.first.take() {
                Some(step) => Poll::Ready(Some(step)),
                None => follower.as_mut().poll_next(cx),
            };
            match next {
                Poll::Ready(Some(Step::Event(event))) => {
                    // What is not this crate's is not for clients.
                    let Some((mark, rest)) = Mark::of(&event) else {
                        continue;
                    };
                    match mark.kind {
                        Kind::Event if mark.place.events <= self.told => {}
                        Kind::Event => {
                            self.told = mark.place.events;
                            if let Some(seat) = &self.seat {
                                seat.took(mark.place);
                            }
                            return Poll::Ready(Some(frame(&event, &rest, &self.token)));
                        }
                        Kind::Look | Kind::Head => {}
                        Kind::Finished | Kind::Failed => return self.end(None),
                        Kind::Left => return self.end(Some(lost())),
                    }
                }
                Poll::Ready(Some(Step::Gap(gap))) => {
                    if let Some(told) = self.gap(gap) {
                        return told;
                    }
                }
                Poll::Ready(None) => return self.end(None),
                Poll::Pending => {
                    let lost_now = self.seat.as_ref().is_some_and(|seat| seat.wait(cx.waker()));
                    return if lost_now { self.end(Some(lost())) } else { Poll::Pending };
                }
            }
        }
        // There may be more: others have their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells of a gap. None if the log is asked again first.
    ///
    /// Where the log has nothing it may have had the end of the stream. Nobody writes that again, so
    /// it is not waited for. But the end may have come between the gap and the look whether it has:
    /// if then there is still nothing in the log, it is gone.
    fn gap(&mut self, mut gap: Gap) -> Option<Poll<Option<Bytes>>> {
        let first = self.gone.take();
        if let Some(seat) = self.seat.as_ref().filter(|_| gap.earliest.is_none()) {
            seat.took_all(&gap.place);
            let last = seat.kept.last_of_all();
            if let (None, Some(_)) = (&first, &last) {
                let follower = seat.kept.log.follow((&seat.kept.topic).into(), Start::Unknown);
                (self.follower, self.gone) = (Some(Box::pin(follower)), Some(gap));
                return None;
            }
            if let (Some(first), Some(last)) = (&first, last) {
                (gap.requested, gap.place) = (first.requested.clone(), last);
                return Some(self.end(Some(tell(gap, &self.token))));
            }
        }
        if let Some(first) = first {
            gap.requested = first.requested;
        }
        Some(Poll::Ready(Some(tell(gap, &self.token))))
    }

    fn end(&mut self, last: Option<Bytes>) -> Poll<Option<Bytes>> {
        (self.follower, self.seat) = (None, None);
        Poll::Ready(last)
    }
}

/// The end of a stream of which the log does not say how it ended. It moves no client's place.
fn lost() -> Bytes {
    CloseReason::Error.event("close").encode()
}

/// A gap in the ids that clients know.
fn tell(mut gap: Gap, token: &Token) -> Bytes {
    for id in [&mut gap.requested, &mut gap.earliest, &mut gap.latest].into_iter().flatten() {
        *id = token.on(id);
    }
    gap.place = token.on(&gap.place);
    gap.encode(GapPolicy::Replay)
}

/// So many events that are not for the client may be skipped in one poll.
const SKIPPED: u32 = 64;
