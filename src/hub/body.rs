//! [`HubBody`], the body that follows a log.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::Subscription;
use super::opening::Opened;
use super::options::BodyOptions;
use super::passing::Sent;
use crate::event_log::{
    EventLog, Follow, Gap, GapPolicy, Run, Start, TopicsHash, close_event, finish_id,
};
use crate::sync::Foreign;

pin_project! {
    /// The body of a response that follows a log: whole events, whose bytes all followers share.
    ///
    /// An event is a frame, and is not copied, unless it gets
    /// [another name](Subscription::name_by). There is one exception: if four or more events are
    /// ready together in a [`MemoryLog`](crate::event_log::MemoryLog), and the body follows one
    /// topic and looks at no event, up to 16 KiB of them leave in one frame, which is made once for
    /// all followers at the same position. So a burst costs a client one write.
    ///
    /// The body ends when its topics are [finished](crate::Hub::finish), after a gap under
    /// [`GapPolicy::End`], after a [snapshot](super::Snapshot) that could not be made, and when the
    /// log ends, which most logs never do.
    pub struct HubBody<L: EventLog> {
        // Dropped at the end, so that the log has one follower less.
        #[pin]
        follower: Foreign<L::Follower>,
        policy: GapPolicy,
        // Of the topic, if there is only one.
        topic: TopicsHash,
        options: Option<Box<BodyOptions<L>>>,
    }
}

impl<L: EventLog> HubBody<L> {
    pub(super) fn new(mut subscription: Subscription<L>) -> Self {
        let options = BodyOptions::of(&mut subscription);
        let Subscription { log, topics, start, policy, .. } = subscription;
        let topic = TopicsHash::of(&topics);
        // A log of an application's own may not know the word of clients.
        let start = if start.is_live() { Start::Live } else { start };
        let is_opening = options.as_ref().is_some_and(|options| options.opening.is_some());
        let follower = match is_opening {
            true => Foreign::none(),
            false => Foreign::new(log.follow(topics, start)),
        };
        Self { follower, policy, topic, options }
    }

    /// A body without a follower, which has at most one event.
    pub(super) fn ended(last: Option<Bytes>) -> Self {
        let (policy, topic) = (GapPolicy::default(), TopicsHash::default());
        Self { follower: Foreign::none(), policy, topic, options: last.map(BodyOptions::ended) }
    }

    /// Begins as it was found out. Returns the event that comes before all others, if there is one.
    fn open(mut self: Pin<&mut Self>, opened: Opened) -> Option<Bytes> {
        let options = self.as_mut().project().options.as_deref_mut()?;
        options.opening = None;
        let (event, position) = match opened {
            Opened::WithLast { events, position } => {
                options.replay = events.into_iter();
                (None, position)
            }
            Opened::WithSnapshot { event, position } => {
                options.note_snapshot();
                (Some(event), position)
            }
            Opened::Failed(event) => return Some(event),
        };
        self.follow_anew(Start::After(position));
        event
    }

    /// Follows the log from another position on.
    fn follow_anew(self: Pin<&mut Self>, start: Start) {
        let this = self.project();
        let source = this.options.as_deref_mut().and_then(BodyOptions::follow_anew);
        if let Some((log, topics)) = source {
            this.follower.replace(log.follow(topics.clone(), start));
        }
    }

    /// Goes on after a gap as the policy says, and returns the event `gap`. `None` if a snapshot
    /// takes its place.
    fn pass_gap(mut self: Pin<&mut Self>, gap: &Gap) -> Option<Bytes> {
        let (policy, mut this) = (self.policy, self.as_mut().project());
        if this.options.as_deref_mut().is_some_and(|options| options.opens_after(gap)) {
            this.follower.as_mut().clear();
            return None;
        }
        match policy {
            GapPolicy::End => this.follower.clear(),
            GapPolicy::Live => {
                let start = Start::After(gap.position_after(policy).clone());
                self.follow_anew(start);
            }
            GapPolicy::Replay => {
                if let Some(options) = this.options {
                    options.note_gap();
                }
            }
        }
        Some(gap.encode(policy))
    }
}

impl<L: EventLog> Body for HubBody<L> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        for _ in 0..MAX_LOOKS_PER_POLL {
            let mut this = self.as_mut().project();
            let mut options = this.options.as_deref_mut();
            if let Some(opening) = options.as_mut().and_then(|options| options.opening.as_mut()) {
                let opened = ready!(opening.poll(cx));
                match self.as_mut().open(opened) {
                    Some(event) => return Poll::Ready(Some(Ok(Frame::data(event)))),
                    None => continue,
                }
            }
            let Some(follower) = this.follower.as_mut().as_pin_mut() else {
                let last = options.and_then(|options| options.last.take());
                return Poll::Ready(last.map(|last| Ok(Frame::data(last))));
            };
            let sent = match &mut options {
                Some(options) if options.looks_at_events() => {
                    match ready!(options.poll_sent(follower, *this.topic, cx)) {
                        Some(sent) => sent,
                        None => continue,
                    }
                }
                _ => match ready!(follower.poll_run(cx)) {
                    Some(Run::Events(bytes)) => match finish_id(&bytes) {
                        None => Sent::Events(bytes),
                        Some(id) => Sent::Close(close_event(id, *this.topic)),
                    },
                    Some(Run::Gap(gap)) => Sent::Gap(gap),
                    None => Sent::End,
                },
            };
            let bytes = match sent {
                Sent::Events(bytes) => {
                    if let Some(options) = options {
                        options.note_event();
                    }
                    bytes
                }
                Sent::Gap(gap) => match self.as_mut().pass_gap(&gap) {
                    Some(bytes) => bytes,
                    None => continue,
                },
                Sent::Close(bytes) => {
                    this.follower.as_mut().clear();
                    bytes
                }
                Sent::Recheck(position) => {
                    self.as_mut().follow_anew(Start::After(position));
                    continue;
                }
                Sent::End => {
                    this.follower.as_mut().clear();
                    return Poll::Ready(None);
                }
            };
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // More events may be ready: other tasks have their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let has_more =
            |options: &BodyOptions<L>| options.last.is_some() || options.opening.is_some();
        self.follower.get().is_none() && !self.options.as_deref().is_some_and(has_more)
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_end_stream() {
            true => SizeHint::with_exact(0),
            false => SizeHint::default(),
        }
    }
}

impl<L: EventLog> fmt::Debug for HubBody<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubBody")
            .field("policy", &self.policy)
            .field("ended", &self.is_end_stream())
            .finish_non_exhaustive()
    }
}

/// A filter that lets no event of a busy topic pass must not keep the thread.
const MAX_LOOKS_PER_POLL: u32 = 256;
