//! Subscriptions: which events a response has, and from where on.

use std::fmt;

use http::request;

use super::names::EventNames;
use super::passing::EventFilter;
use super::{Conflation, Snapshot};
use crate::event_log::{EventLog, GapPolicy, Logged, MemoryLog, Start, Topics};
use crate::wire::{EventId, EventName};

/// The events that a response is to have: made by [`Hub::subscribe`](crate::Hub::subscribe).
///
/// By default these are the events that are published from now on, and after a gap the events that
/// the log still has.
///
/// With the feature `axum` a handler can return it.
#[must_use]
pub struct Subscription<L: EventLog = MemoryLog> {
    pub(super) log: L,
    pub(super) topics: Topics,
    pub(super) start: Start,
    pub(super) policy: GapPolicy,
    pub(super) filter: Option<Box<EventFilter>>,
    pub(super) names: Option<Box<EventNames>>,
    pub(super) last: usize,
    pub(super) snapshot: Option<Snapshot>,
    pub(super) conflation: Option<Conflation>,
}

impl<L: EventLog> Subscription<L> {
    pub(super) fn new(log: L, topics: Topics) -> Self {
        let (start, policy) = (Start::Live, GapPolicy::default());
        let (filter, names, last, snapshot, conflation) = (None, None, 0, None, None);
        Self { log, topics, start, policy, filter, names, last, snapshot, conflation }
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

    /// Sends a client that names no position the last `count` events that the log has, and then
    /// what follows them. By default such a client gets none.
    ///
    /// It is for a chat or a log that shows its last lines to a client that is new. A client that
    /// comes back with an id gets what it missed, and one that asks for [`now`](Start::Now) only
    /// what is published from now on.
    ///
    /// The last events are those that the log has when the body is polled first, of all topics
    /// together: see [`EventLog::last`]. They are counted before the [filter](Self::filter). If
    /// there are fewer, the client gets those and no `gap`, since it did not ask for more. While a
    /// broker is away the client waits, and gets the last events when the broker is back.
    ///
    /// A body keeps these events until they are sent: a `count` that a client may choose must have
    /// a bound of the application.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::extract::State;
    /// use tower_sse::Hub;
    /// use tower_sse::event_log::{Start, Topic};
    /// use tower_sse::hub::Subscription;
    ///
    /// async fn chat(State(hub): State<Hub>, start: Start) -> Subscription {
    ///     hub.subscribe(Topic::from_static("chat")).start(start).last(50)
    /// }
    /// # let _ = chat;
    /// ```
    pub fn last(mut self, count: usize) -> Self {
        self.last = count;
        self
    }

    /// Sends a client the state when it names no position, and in place of each `gap`: see
    /// [`Snapshot`].
    ///
    /// With a snapshot, [`last`](Self::last) and [`on_gap`](Self::on_gap) have no effect. The event
    /// is sent as the function makes it, without filter and under its own name.
    pub fn snapshot(mut self, snapshot: Snapshot) -> Self {
        self.snapshot = Some(snapshot);
        self
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

    /// Sends events under the names that `name` returns, instead of their own. An event for which
    /// it returns `None` is sent as it is. A second function replaces the first.
    ///
    /// The function is called for each event that passes the [filter](Self::filter), in the task of
    /// the client's stream. An event that gets another name is copied for the client; without this
    /// setting all clients share its bytes. The events `gap` and `close` keep their names.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_sse::event_log::{Logged, Topics};
    /// use tower_sse::{EventName, Hub};
    ///
    /// // Events of `orders.42` that are named `paid` are sent as `orders.42/paid`.
    /// let name = |event: &Logged| {
    ///     let name = event.name().unwrap_or("message");
    ///     EventName::new(format!("{}/{name}", event.topic())).ok()
    /// };
    /// let subscription = Hub::default().subscribe(Topics::from_static(&["orders.*"])).name_by(name);
    /// # let _ = subscription;
    /// ```
    pub fn name_by(
        mut self,
        name: impl Fn(&Logged) -> Option<EventName> + Send + Sync + 'static,
    ) -> Self {
        self.names = Some(Box::new(name));
        self
    }

    /// Sends each event under the name of its topic, for a client that follows several topics and
    /// has to tell them apart: see [`name_by`](Self::name_by).
    ///
    /// A name is all of an event, beside its data and its id, that an `EventSource` shows. A page
    /// listens by `addEventListener("orders.42", ..)`, and htmx 2 swaps by `sse-swap="orders.42"`.
    /// No topic should have the name `gap` or `close` then.
    pub fn name_by_topic(self) -> Self {
        self.name_by(|event| EventName::new(event.topic().as_str()).ok())
    }

    /// Leaves out events for a client that lags, if later ones have the same key: see
    /// [`Conflation`].
    pub fn conflate(mut self, conflation: Conflation) -> Self {
        self.conflation = Some(conflation);
        self
    }
}

impl<L: EventLog> fmt::Debug for Subscription<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("topics", &self.topics)
            .field("start", &self.start)
            .field("last", &self.last)
            .field("snapshot", &self.snapshot)
            .field("conflation", &self.conflation)
            .field("policy", &self.policy)
            .field("filter", &self.filter.is_some())
            .field("names", &self.names.is_some())
            .finish_non_exhaustive()
    }
}
