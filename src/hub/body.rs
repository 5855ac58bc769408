//! The body of a response that follows a log.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::subscription::EventFilter;
use crate::event_log::{EventLog, Follow, Gap, GapPolicy, Run, Start, Step, Topics};

pin_project! {
    /// The body of a response that follows a log: whole events, whose bytes all followers share.
    ///
    /// An event is a frame, and is not copied. There is one exception: if four or more events are
    /// ready together in a [`MemoryLog`](crate::event_log::MemoryLog), and the body follows one
    /// topic without a filter, up to 16 KiB of them leave in one frame, which is made once for all
    /// followers at the same position. So a burst costs a client one write.
    ///
    /// The body ends when the log ends, which most logs never do, and after a gap under
    /// [`GapPolicy::End`].
    pub struct HubBody<L: EventLog> {
        // Dropped at the end, so that the log has one follower less.
        #[pin]
        follower: Option<L::Follower>,
        policy: GapPolicy,
        options: Option<Box<BodyOptions<L>>>,
    }
}

/// The settings that most bodies do not have.
struct BodyOptions<L> {
    filter: Option<Box<EventFilter>>,
    /// For a new follower after a gap, under [`GapPolicy::Live`].
    restart: Option<(L, Topics)>,
}

impl<L: EventLog> HubBody<L> {
    pub(super) fn new(
        log: L,
        topics: Topics,
        start: Start,
        policy: GapPolicy,
        filter: Option<Box<EventFilter>>,
    ) -> Self {
        let follower = Some(log.follow(topics.clone(), start));
        let restart = (policy == GapPolicy::Live).then_some((log, topics));
        let options = (filter.is_some() || restart.is_some())
            .then(|| Box::new(BodyOptions { filter, restart }));
        Self { follower, policy, options }
    }

    /// Goes on after a gap as the policy says, and returns the event `gap`.
    fn pass_gap(self: Pin<&mut Self>, gap: &Gap) -> Bytes {
        let policy = self.policy;
        let mut this = self.project();
        let restart = this.options.as_ref().and_then(|options| options.restart.as_ref());
        match (policy, restart) {
            (GapPolicy::End, _) => this.follower.set(None),
            (GapPolicy::Live, Some((log, topics))) => {
                let start = Start::After(gap.position_after(policy).clone());
                this.follower.set(Some(log.follow(topics.clone(), start)));
            }
            _ => {}
        }
        gap.encode(policy)
    }
}

impl<L: EventLog> Body for HubBody<L> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        for _ in 0..MAX_FILTERED_PER_POLL {
            let mut this = self.as_mut().project();
            let Some(follower) = this.follower.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let filter = this.options.as_ref().and_then(|options| options.filter.as_ref());
            let run = match filter {
                None => ready!(follower.poll_run(cx)),
                Some(filter) => match ready!(follower.poll_next(cx)) {
                    Some(Step::Event(event)) if !filter(&event) => continue,
                    Some(Step::Event(event)) => Some(Run::Events(event.into_bytes())),
                    Some(Step::Gap(gap)) => Some(Run::Gap(gap)),
                    None => None,
                },
            };
            let bytes = match run {
                None => {
                    this.follower.set(None);
                    return Poll::Ready(None);
                }
                Some(Run::Gap(gap)) => self.as_mut().pass_gap(&gap),
                Some(Run::Events(bytes)) => bytes,
            };
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // More events may be ready: other tasks have their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.follower.is_none()
    }
}

impl<L: EventLog> fmt::Debug for HubBody<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBody")
            .field("policy", &self.policy)
            .field("ended", &self.follower.is_none())
            .finish_non_exhaustive()
    }
}

/// A filter that lets no event of a busy topic pass must not keep the thread.
const MAX_FILTERED_PER_POLL: u32 = 256;
