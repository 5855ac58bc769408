//! Subscriptions: which events a response has, from where on, and the body that follows a log.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::finished::FinishedTopics;
use crate::event_log::{
    EventLog, Follow, Gap, GapPolicy, Logged, MemoryLog, Run, Start, Step, Told, Topics,
    TopicsHash, close_event, finish_id, told,
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

    /// Whether the client was told that these topics are [finished](crate::Hub::finish), and has
    /// come back all the same.
    ///
    /// [`into_response`](Self::into_response) answers it 204. A response that is made of the
    /// [body](Self::into_body), which is empty then, should be a 204, too.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.told() == Told::Finished
    }

    /// What the client was told of an end, by its id.
    fn told(&self) -> Told<'_> {
        match &self.start {
            Start::After(id) => told(id, &self.topics),
            _ => Told::Nothing,
        }
    }

    /// The body: the events that the client missed, and then the events that are published, until
    /// the client leaves or the topics are [finished](crate::Hub::finish).
    #[must_use]
    pub fn into_body(mut self) -> HubBody<L> {
        let start = match self.told() {
            Told::Nothing => None,
            Told::OfOthers(id) => Some(EventId::new(id).map_or(Start::Unknown, Start::After)),
            Told::Finished => return HubBody::ended(None),
            Told::Again(id) => {
                return HubBody::ended(Some(close_event(id, TopicsHash::of(&self.topics))));
            }
        };
        self.start = start.unwrap_or(self.start);
        HubBody::new(self)
    }

    /// The response with this body and the headers of an event stream; or 204, if the client
    /// [was told of the end](Self::is_finished).
    #[must_use]
    pub fn into_response(self) -> Response<HubBody<L>> {
        let is_finished = self.is_finished();
        let mut response = Response::new(self.into_body());
        if is_finished {
            *response.status_mut() = StatusCode::NO_CONTENT;
            // The answer to this client only, although others request the same URL.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return response;
        }
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
    /// The body ends when its topics are [finished](crate::Hub::finish), after a gap under
    /// [`GapPolicy::End`], and when the log ends, which most logs never do.
    pub struct HubBody<L: EventLog> {
        // Dropped at the end, so that the log has one follower less.
        #[pin]
        follower: Option<L::Follower>,
        policy: GapPolicy,
        // Of the topic, if there is only one.
        topic: TopicsHash,
        options: Option<Box<BodyOptions<L>>>,
    }
}

/// The settings that most bodies do not have.
struct BodyOptions<L> {
    filter: Option<Box<EventFilter>>,
    /// For a new follower after a gap, under [`GapPolicy::Live`].
    restart: Option<(L, Topics)>,
    /// None if there is only one topic.
    finished: Option<FinishedTopics>,
    /// The only event of a body without a follower.
    last: Option<Bytes>,
}

impl<L: EventLog> HubBody<L> {
    fn new(subscription: Subscription<L>) -> Self {
        let Subscription { log, topics, start, policy, filter } = subscription;
        let follower = Some(log.follow(topics.clone(), start));
        let topic = TopicsHash::of(&topics);
        let finished = topics.single().is_none().then(|| FinishedTopics::new(topics.clone()));
        let restart = (policy == GapPolicy::Live).then_some((log, topics));
        let options = (filter.is_some() || restart.is_some() || finished.is_some())
            .then(|| Box::new(BodyOptions { filter, restart, finished, last: None }));
        Self { follower, policy, topic, options }
    }

    /// A body without a follower, which has at most one event.
    fn ended(last: Option<Bytes>) -> Self {
        let (policy, topic) = (GapPolicy::default(), TopicsHash::default());
        let options = last.map(|last| {
            let (filter, restart, finished) = (None, None, None);
            Box::new(BodyOptions { filter, restart, finished, last: Some(last) })
        });
        Self { follower: None, policy, topic, options }
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
            let options = this.options.as_deref_mut();
            let Some(follower) = this.follower.as_mut().as_pin_mut() else {
                let last = options.and_then(|options| options.last.take());
                return Poll::Ready(last.map(|last| Ok(Frame::data(last))));
            };
            let sent = match options {
                Some(options) if options.looks_at_events() => {
                    match ready!(follower.poll_next(cx)) {
                        Some(Step::Event(event)) => match options.look(event, *this.topic) {
                            Some(sent) => sent,
                            None => continue,
                        },
                        Some(Step::Gap(gap)) => Sent::Gap(gap),
                        None => Sent::End,
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
                Sent::Events(bytes) => bytes,
                Sent::Gap(gap) => self.as_mut().pass_gap(&gap),
                Sent::Close(bytes) => {
                    this.follower.set(None);
                    bytes
                }
                Sent::End => {
                    this.follower.set(None);
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
        let has_last = || self.options.as_ref().is_some_and(|options| options.last.is_some());
        self.follower.is_none() && !has_last()
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_end_stream() {
            true => SizeHint::with_exact(0),
            false => SizeHint::default(),
        }
    }
}

/// What of a follower's events the client is sent.
enum Sent {
    Events(Bytes),
    Gap(Gap),
    /// The close event, which is the last.
    Close(Bytes),
    End,
}

impl<L> BodyOptions<L> {
    /// Whether events have to be looked at one by one.
    fn looks_at_events(&self) -> bool {
        self.filter.is_some() || self.finished.is_some()
    }

    /// What is sent of an event; `topic` is that of a body with one topic only.
    fn look(&mut self, event: Logged, topic: TopicsHash) -> Option<Sent> {
        let close = match &mut self.finished {
            Some(finished) => finished.note(&event),
            None if event.finishes_topic() => Some(close_event(event.id(), topic)),
            None => None,
        };
        let passes = |filter: &EventFilter| filter(&event);
        match close {
            Some(close) => Some(Sent::Close(close)),
            // Others of the topics are not finished.
            None if event.finishes_topic() => None,
            None if self.filter.as_deref().is_none_or(passes) => {
                Some(Sent::Events(event.into_bytes()))
            }
            None => None,
        }
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
