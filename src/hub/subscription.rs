//! Subscriptions: which events a response has, and from where on.

use std::fmt;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, request};

use super::HubBody;
use crate::event_log::{EventLog, GapPolicy, Logged, MemoryLog, Start, Topics};
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

pub(super) type EventFilter = dyn Fn(&Logged) -> bool + Send + Sync;

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
