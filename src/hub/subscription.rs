//! Subscriptions: which events a response has, from where on, and the body that follows a log.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, request};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use crate::event_log::{
    EventLog, Follow, Gap, GapPolicy, Logged, MemoryLog, Run, Start, Step, Topics,
};
use crate::wire::EventId;

/// The events that a response is to have: made by [`Hub::subscribe`](crate::Hub::subscribe).
///
/// By default these are the events that are published from now on, and after a gap the events that
/// the log still has.
///
/// With the feature `axum` a handler can return it.
#[must_use]
pub struct Subscription<L: EventLog = MemoryLog> {
    log: L,
    topics: Topics,
    start: Start,
    policy: GapPolicy,
    filter: Option<Box<EventFilter>>,
}

type EventFilter = dyn Fn(&Logged) -> bool + Send + Sync;

impl<L: EventLog> Subscription<L> {
    pub(super) fn new(log: L, topics: Topics) -> Self {
        Self { log, topics, start: Start::Live, policy: GapPolicy::default(), filter: None }
    }

    /// Sets where the response begins. By default it begins with the next event that is published.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Begins after the last event that the client saw, by the request's `Last-Event-ID` or
    /// `last_event_id` in its query: see [`Start::of_request`].
    pub fn resume(self, request: &request::Parts) -> Self {
        self.start(Start::of_request(&request.headers, &request.uri))
    }

    /// Begins after the event with this id.
    pub fn after(self, id: EventId) -> Self {
        self.start(Start::After(id))
    }

    /// Sets how the response goes on after events that the client missed and the log does not have
    /// any more. In any case the client first gets an event `gap`.
    pub fn on_gap(mut self, policy: GapPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Leaves out the events for which `filter` returns false. A second filter replaces the first.
    ///
    /// The filter is called for each event and client, in the task of the client's stream, and
    /// should be quick. When a client comes back, the events that it missed pass through the filter
    /// again.
    ///
    /// The client's position is the last event that passed. If later events are trimmed from the
    /// log before the client comes back, it gets a `gap`, even if its filter would have left them
    /// out.
    pub fn filter(mut self, filter: impl Fn(&Logged) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// The body: the events that the client missed, and then the events that are published, until
    /// the client leaves.
    #[must_use]
    pub fn into_body(self) -> HubBody<L> {
        let Self { log, topics, start, policy, filter } = self;
        HubBody::new(log, topics, start, policy, filter)
    }

    /// The response with this body and the headers of an event stream.
    #[must_use]
    pub fn into_response(self) -> Response<HubBody<L>> {
        let mut response = Response::new(self.into_body());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

impl<L: EventLog> fmt::Debug for Subscription<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topics", &self.topics)
            .field("start", &self.start)
            .field("policy", &self.policy)
            .field("filter", &self.filter.is_some())
            .finish_non_exhaustive()
    }
}

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
    fn new(
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
