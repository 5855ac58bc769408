//! The body of a response that follows a log.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::subscription::Filter;
use crate::event_log::{EventLog, Follow, Gap, GapPolicy, Run, Start, Step, Topics};

pin_project! {
    /// The body of a response that follows a log: whole events, which followers share.
    ///
    /// An event is a frame, and is not copied. But if four or more events of the one topic that is
    /// followed are ready together in a [`MemoryLog`](crate::event_log::MemoryLog), those that go into 16
    /// KiB leave in one frame, which is made once for all who are at the same place: a burst then
    /// costs a client one write. With several topics, a filter or another log each event stays a
    /// frame.
    ///
    /// It ends when the log does, which most never do, or at a gap under [`GapPolicy::End`].
    pub struct HubBody<L: EventLog> {
        // Dropped at the end, so that the log has a follower less.
        #[pin]
        follower: Option<L::Follower>,
        policy: GapPolicy,
        rare: Option<Box<Rare<L>>>,
    }
}

/// What few bodies need.
struct Rare<L> {
    filter: Option<Box<Filter>>,
    /// To begin anew behind a gap.
    anew: Option<(L, Topics)>,
}

impl<L: EventLog> HubBody<L> {
    pub(super) fn new(
        log: L,
        topics: Topics,
        start: Start,
        policy: GapPolicy,
        filter: Option<Box<Filter>>,
    ) -> Self {
        let follower = Some(log.follow(topics.clone(), start));
        let anew = (policy == GapPolicy::Live).then_some((log, topics));
        let rare = (filter.is_some() || anew.is_some()).then(|| Box::new(Rare { filter, anew }));
        Self { follower, policy, rare }
    }

    /// Tells of a gap, and goes on as the policy says.
    fn tell(self: Pin<&mut Self>, gap: &Gap) -> Bytes {
        let policy = self.policy;
        let mut this = self.project();
        let anew = this.rare.as_ref().and_then(|rare| rare.anew.as_ref());
        match (policy, anew) {
            (GapPolicy::End, _) => this.follower.set(None),
            (GapPolicy::Live, Some((log, topics))) => {
                let start = Start::After(gap.place_after(policy).clone());
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
        for _ in 0..FILTERED {
            let mut this = self.as_mut().project();
            let Some(follower) = this.follower.as_mut().as_pin_mut() else {
                return Poll::Ready(None);
            };
            let filter = this.rare.as_ref().and_then(|rare| rare.filter.as_ref());
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
                Some(Run::Gap(gap)) => self.as_mut().tell(&gap),
                Some(Run::Events(bytes)) => bytes,
            };
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // There may be more: others have their turn first.
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

/// So many events may be left out in one poll: a filter that lets nothing pass, of a topic that is
/// always busy, must not keep the thread.
const FILTERED: u32 = 256;
