//! What a client is to get.

use std::fmt;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, request};

use super::HubBody;
use crate::event_log::{EventLog, GapPolicy, Logged, MemoryLog, Start, Topics};
use crate::wire::EventId;

/// What a client is to get: made by [`Hub::subscribe`](super::Hub::subscribe).
///
/// By default it gets what is published from now on; after a gap it gets what there is.
#[must_use]
pub struct Subscription<L: EventLog = MemoryLog> {
    log: L,
    topics: Topics,
    start: Start,
    policy: GapPolicy,
    filter: Option<Box<Filter>>,
}

pub(super) type Filter = dyn Fn(&Logged) -> bool + Send + Sync;

impl<L: EventLog> Subscription<L> {
    pub(super) fn new(log: L, topics: Topics) -> Self {
        Self { log, topics, start: Start::Live, policy: GapPolicy::default(), filter: None }
    }

    /// Begins behind the event that the client saw last, as its request says: by `Last-Event-ID`, or
    /// by `last_event_id` in the query. See [`Start::of_request`].
    pub fn resume(self, request: &request::Parts) -> Self {
        let start = Start::of_request(&request.headers, &request.uri);
        self.start(start)
    }

    /// Begins behind the event with this id.
    pub fn after(self, id: EventId) -> Self {
        self.start(Start::After(id))
    }

    /// Sets where the client begins. By default it gets what is published from now on.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sets what happens when the client cannot get what it missed; it is told in any case.
    pub fn on_gap(mut self, policy: GapPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Leaves out the events for which `filter` says no. The last filter that is set holds.
    ///
    /// It is called for each event and client, where the client's stream is polled, and should be
    /// quick. A client that comes back is sent what it missed through the filter again. Its place is
    /// that of the last event that passed: if it comes back when events behind that place are trimmed,
    /// it is told of a gap, though its filter may have left them out.
    pub fn filter(mut self, filter: impl Fn(&Logged) -> bool + Send + Sync + 'static) -> Self {
        self.filter = Some(Box::new(filter));
        self
    }

    /// The body: what was missed, and then what comes, until the client goes.
    #[must_use]
    pub fn into_body(self) -> HubBody<L> {
        let Self { log, topics, start, policy, filter } = self;
        HubBody::new(log, topics, start, policy, filter)
    }

    /// The response, with the head of an event stream: any handler of axum can return it.
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
