//! The layer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, request};
use tower_layer::Layer;

use super::handle::ResumeHandle;
use super::key::ResumeKey;
use super::nodes::Nodes;
use super::resumer::{KeyFn, Resumer};
use super::service::ResumeService;
use super::sessions::SessionMap;
use super::settings::{Finished, Join, ResumeSettings};
use super::stop::StopService;
use crate::event_log::{EventLog, MemoryLog};

/// Layer that makes event streams resumable.
///
/// See the [module docs](crate::resume) for what it does and for an example. Its clones, and all
/// services that it makes, share the streams that it keeps.
#[must_use]
pub struct ResumeLayer<L: EventLog = MemoryLog> {
    key: Arc<KeyFn>,
    settings: ResumeSettings<L>,
    sessions: Arc<SessionMap<L>>,
    nodes: Arc<Nodes>,
}

impl ResumeLayer {
    /// Makes the streams of those requests resumable for which `key` returns a [`ResumeKey`]: the
    /// stream that the request is for, and the principal that asks. Other responses pass as they
    /// are.
    ///
    /// `key` is called for each request but HEAD and CONNECT, before the service inside.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::http::request::Parts;
    /// use tower_sse::ResumeLayer;
    /// use tower_sse::resume::ResumeKey;
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// let layer = ResumeLayer::new(|request: &Parts| {
    ///     // An outer layer signs the user in and puts it here.
    ///     let user = request.extensions.get::<User>()?;
    ///     Some(ResumeKey::new(request.uri.path(), &user.0))
    /// });
    /// ```
    pub fn new<F, K>(key: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<K> + Send + Sync + 'static,
        K: Into<ResumeKey>,
    {
        let key = Arc::new(move |parts: &request::Parts| key(parts).map(K::into));
        let sessions = Arc::new(SessionMap::new());
        Self { key, settings: ResumeSettings::default(), sessions, nodes: Arc::new(Nodes::new()) }
    }
}

impl<L: EventLog> ResumeLayer<L> {
    /// Sets how long a stream goes on without a reader. After that its body is dropped and the
    /// stream is forgotten.
    ///
    /// By default 30 seconds, in which a browser reconnects many times.
    pub fn linger(mut self, time: Duration) -> Self {
        self.settings.linger = time;
        self
    }

    /// Sets by how many events the body may be read ahead of the slowest reader. By default 1,024;
    /// zero counts as one.
    ///
    /// The log has at most so many events that the slowest reader has not taken, or that the last
    /// reader had not taken when it left. Then the body is not polled until a reader takes more. So
    /// an answer that is to be completed while no client reads has to fit into the buffer.
    pub fn buffer(mut self, events: usize) -> Self {
        self.settings.buffer.events = u64::try_from(events).unwrap_or(u64::MAX).max(1);
        self
    }

    /// Sets by how many bytes of encoded events the body may be read ahead of the slowest reader.
    /// By default 256 KiB; zero counts as one.
    ///
    /// The event that exceeds the buffer is still stored. An event that is itself longer than the
    /// buffer [is not kept](crate::resume#events-that-are-not-kept).
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.buffer.bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(1);
        self
    }

    /// Ends a stream that comes to its own end with an event `close`, `{"reason":"finished"}`, and
    /// this `retry`. By default there is no such event.
    ///
    /// It is what the route's [`Dialect`](crate::Dialect) says at this end, which may be nothing. A
    /// stream that is [stopped](crate::resume::ResumeHandle::stop) ends with this `retry`, too.
    ///
    /// A page can close its source at this event. A client that does not close comes back after the
    /// `retry`, and gets the answer that [`finished`](Self::finished) sets. 20 seconds are a good
    /// value.
    pub fn close_event(mut self, retry: Duration) -> Self {
        self.settings.close_event = Some(retry);
        self
    }

    /// Sets the answer to clients that come back to a stream of which they have seen all. By
    /// default it is [`Finished::for_request`]: 204, but an event for htmx.
    ///
    /// All clients get the same answer. See [`finished_by`](Self::finished_by) for one that depends
    /// on the request.
    pub fn finished(self, answer: Finished) -> Self {
        self.finished_by(move |_| answer)
    }

    /// Sets the answer to clients that come back to a stream of which they have seen all, by the
    /// request.
    ///
    /// The function is called for requests with an id that has the form of this layer's ids, before
    /// the layer looks for the stream.
    ///
    /// # Examples
    ///
    /// The `fetch` readers of an application do not stop at 204, and mark their requests:
    ///
    /// ```
    /// # use axum::http::request::Parts;
    /// # use std::time::Duration;
    /// # use tower_sse::ResumeLayer;
    /// # use tower_sse::resume::{Finished, ResumeKey};
    /// # let key = |request: &Parts| Some(ResumeKey::new(request.uri.path(), "ann"));
    /// let layer = ResumeLayer::new(key).finished_by(|request| {
    ///     match request.uri.query().is_some_and(|query| query.contains("reader=fetch")) {
    ///         true => Finished::Close(Duration::from_secs(3600)),
    ///         false => Finished::for_request(request),
    ///     }
    /// });
    /// ```
    pub fn finished_by<F>(mut self, answer: F) -> Self
    where
        F: Fn(&request::Parts) -> Finished + Send + Sync + 'static,
    {
        self.settings.finished = Arc::new(answer);
        self
    }

    /// Has GET requests without an id join the stream of their key that runs, from its beginning or
    /// from now. By default none do, and each request without an id calls the service inside.
    ///
    /// It is for an answer that a POST begins: a page that was loaded anew, another tab and another
    /// device have no id, and read the answer by a GET on the same path. If several streams of the
    /// key run, the client joins the one that began last. If none runs, also if one has finished,
    /// the service inside is called; let it answer 204 to such a GET. A GET with an id resumes the
    /// stream that the id names, and joins one only if there is no such stream.
    ///
    /// # Examples
    ///
    /// ```
    /// # use axum::http::request::Parts;
    /// use axum::Router;
    /// use axum::http::StatusCode;
    /// use axum::routing::post;
    /// use tower_sse::ResumeLayer;
    /// use tower_sse::resume::{Join, ResumeKey};
    ///
    /// # let key = |request: &Parts| Some(ResumeKey::new(request.uri.path(), "ann"));
    /// # async fn answer() {}
    /// let resume = ResumeLayer::new(key).join(Join::FromBeginning);
    /// let app: Router = Router::new()
    ///     .route("/answers/{id}", post(answer).get(async || StatusCode::NO_CONTENT))
    ///     .layer(resume);
    /// ```
    pub fn join(self, from: Join) -> Self {
        self.join_by(move |request| (request.method == Method::GET).then_some(from))
    }

    /// Sets which requests join the stream of their key that runs, as [`join`](Self::join) does for
    /// GET.
    pub fn join_by<F>(mut self, from: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<Join> + Send + Sync + 'static,
    {
        self.settings.join = Arc::new(from);
        self
    }

    /// A handle that lists and stops the streams of this layer.
    ///
    /// Make it after the last setting: it is one of this layer's clones.
    #[must_use]
    pub fn handle(&self) -> ResumeHandle<L> {
        ResumeHandle::new(self.resumer())
    }

    /// A service that stops the streams of a request's key, for a DELETE on the same path.
    ///
    /// Make it after the last setting: it is one of this layer's clones.
    #[must_use]
    pub fn stop_service(&self) -> StopService<L> {
        StopService::new(self.resumer())
    }

    fn resumer(&self) -> Arc<Resumer<L>> {
        let Self { key, settings, sessions, nodes } = self.clone();
        Arc::new(Resumer { key, settings, sessions, nodes })
    }

    /// Sets how long the layer remembers the end of a stream and what its log has. By default 5
    /// minutes, in which a phone has left its tunnel.
    ///
    /// Older streams are forgotten at the next request. When a client asks for an end, it is
    /// remembered for at least this time again, so that a client that asks every minute never
    /// begins a new stream. A log that is shared is told to [forget](EventLog::forget) the stream
    /// this time after its end.
    pub fn remember(mut self, time: Duration) -> Self {
        self.settings.remember = time;
        self
    }

    /// Sets how many streams the layer keeps, whether they go on or have ended. By default 1,024.
    ///
    /// For a new stream above this number the layer forgets the stream that ended first. If none
    /// has ended, it ends the stream that has had no reader for the longest time. If all have
    /// readers, the new stream passes as it is and cannot be resumed.
    ///
    /// The log of a stream has at most four times [`buffer_bytes`](Self::buffer_bytes) of encoded
    /// events, and 128 bytes for each of at most two events more than twice
    /// [`buffer`](Self::buffer). On the heap they [take
    /// more](crate::event_log::MemoryLogBuilder::bytes), and the body and its readers come on top.
    pub fn streams(mut self, count: usize) -> Self {
        self.settings.max_sessions = count;
        self
    }

    /// Sets how many streams the layer keeps of one principal. By default 128.
    ///
    /// Above this number a stream of the same principal makes room, as for
    /// [`streams`](Self::streams): so nobody can take the room of others. Set more if all clients
    /// have one principal.
    pub fn streams_of_principal(mut self, count: usize) -> Self {
        self.settings.max_of_principal = count;
        self
    }

    /// Stores events in this log. By default each stream has a log of its own in memory.
    ///
    /// The log should keep twice the [`buffer`](Self::buffer) of each topic, so that events that
    /// were handed to a broken connection are still there. Topics have the name
    /// `resume.<random>.<key>`, with the key in base64. The log decides when it drops a topic.
    pub fn log<M: EventLog>(self, log: M) -> ResumeLayer<M> {
        let Self { key, settings, .. } = self;
        let (sessions, nodes) = (Arc::new(SessionMap::new()), Arc::new(Nodes::new()));
        ResumeLayer { key, settings: settings.with_log(log), sessions, nodes }
    }

    /// Looks for streams of other nodes in the log, for this time. By default the layer does not.
    ///
    /// It is for a log that several nodes share. If a client comes back with the id of a stream
    /// that this node does not have, and the log has it, the client gets the stream out of the log.
    /// If it is not found in this time, the service inside is called, also while the broker is
    /// away. To avoid that, set a longer time than a restart of the broker takes. In other cases 1
    /// second is a good value. More than a year counts as a year.
    ///
    /// Clients join streams of other nodes, too, and a [`ResumeHandle`] lists and stops them.
    ///
    /// The node that began a stream still reads its body, for clients at all nodes: it ends if no
    /// client has read it at any of them for the [`linger`](Self::linger). A client at another node
    /// that reads slower than others may get a `gap`, if the log no longer has what it missed. If
    /// the node dies, clients at other nodes are told so after its [`lease`](Self::lease). If the
    /// handler put an [`Expiry`](crate::Expiry) into the response, only its own node can resume the
    /// stream.
    ///
    /// A node that runs streams appends one event to the log for each third of a lease, and for
    /// each stream its head, its begin and its end. A client that waits for events at another node
    /// has one appended for each third of the linger, or for each 100 ms if that is longer.
    pub fn other_nodes(mut self, wait: Duration) -> Self {
        self.settings.other_nodes = wait.min(MAX_WAIT);
        self
    }

    /// Sets after what time without a sign of life a node is taken to be dead. By default 30
    /// seconds; less than one second counts as one, and more than a year as a year.
    ///
    /// It is for streams of [other nodes](Self::other_nodes), and should be the same on all nodes.
    /// A node that runs streams gives a sign of life in the log three times a lease. A client that
    /// reads a stream of a dead node gets all events that the log has, then an event `close` with
    /// `{"reason":"error"}`, or the error of its dialect, within one and a half leases; if it comes
    /// back, it gets a new stream.
    ///
    /// A shorter lease also ends streams whose node is alive, but was stopped or cut off from the
    /// log for a moment. While the log itself is away, no lease expires.
    pub fn lease(mut self, time: Duration) -> Self {
        self.settings.lease = time.clamp(Duration::from_secs(1), MAX_WAIT);
        self
    }
}

/// Longer times are more than a clock may count.
const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl<S, L: EventLog> Layer<S> for ResumeLayer<L> {
    type Service = ResumeService<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        ResumeService::new(inner, self.resumer())
    }
}

impl<L: EventLog> Clone for ResumeLayer<L> {
    fn clone(&self) -> Self {
        let Self { key, settings, sessions, nodes } = self;
        let (key, sessions, nodes) = (Arc::clone(key), Arc::clone(sessions), Arc::clone(nodes));
        Self { key, settings: settings.clone(), sessions, nodes }
    }
}

impl<L: EventLog> fmt::Debug for ResumeLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeLayer").field("settings", &self.settings).finish_non_exhaustive()
    }
}
