//! The layer, and its settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request;
use tower_layer::Layer;

use super::key::ResumeKey;
use super::service::ResumeService;
use super::settings::{Finished, Settings};
use super::shared::{KeyOf, Shared};
use super::streams::Streams;
use crate::event_log::{EventLog, MemoryLog};

/// Layer that makes event streams resumable.
///
/// See the [module docs](crate::resume) for what it does and for an example. What it keeps is shared by all
/// services that it makes, and by its clones.
#[must_use]
pub struct ResumeLayer<L: EventLog = MemoryLog> {
    key: Arc<KeyOf>,
    settings: Settings<L>,
    streams: Arc<Streams<L>>,
}

impl ResumeLayer {
    /// Makes those streams resumable for whose requests `key` says which stream is asked for, and by
    /// whom: see [`ResumeKey`]. Without a key a response passes as it is.
    ///
    /// `key` is called for each request but HEAD and CONNECT, before the service inside.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::http::request::Parts;
    /// use tower_sse::resume::ResumeLayer;
    ///
    /// #[derive(Clone)]
    /// struct User(String);
    ///
    /// let layer = ResumeLayer::new(|request: &Parts| {
    ///     // Put there by the layer that signs users in, which stands around this one.
    ///     let user = request.extensions.get::<User>()?;
    ///     Some((request.uri.path(), user.0.as_str())).map(tower_sse::resume::ResumeKey::from)
    /// });
    /// ```
    pub fn new<F, K>(key: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<K> + Send + Sync + 'static,
        K: Into<ResumeKey>,
    {
        let key = Arc::new(move |parts: &request::Parts| key(parts).map(K::into));
        Self { key, settings: Settings::new(), streams: Arc::new(Streams::new()) }
    }
}

impl<L: EventLog> ResumeLayer<L> {
    /// Sets how long a stream goes on without a reader; by default 30 seconds, in which a browser has
    /// come back many times. Then its body is dropped, and the stream is forgotten.
    pub fn linger(mut self, time: Duration) -> Self {
        self.settings.linger = time;
        self
    }

    /// Sets how far the body may be read ahead of the slowest reader; by default 1,024 events.
    ///
    /// At most so many events are in the log that the slowest reader has not taken, or the last
    /// reader had not taken when it left. Then the body is not polled, until the reader takes more. An
    /// answer that is to be completed while nobody reads must fit. Zero counts as one.
    pub fn buffer(mut self, events: usize) -> Self {
        self.settings.events = u64::try_from(events).unwrap_or(u64::MAX).max(1);
        self
    }

    /// Sets the same in bytes of encoded events; by default 256 KiB. The event that goes beyond it is
    /// still kept. An event that is itself longer ends its stream as a failure. Zero counts as one.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.settings.bytes = u64::try_from(bytes).unwrap_or(u64::MAX).max(1);
        self
    }

    /// Ends a stream that came to its end with an event `close`, `{"reason":"finished"}`, with this
    /// `retry`; by default there is none.
    ///
    /// A page can close its source at this event. A client that does not comes back after the
    /// `retry`, and is then told again, by [`finished`](Self::finished). 20 seconds are a good value.
    pub fn close_event(mut self, retry: Duration) -> Self {
        self.settings.close_event = Some(retry);
        self
    }

    /// Sets what a client is answered that comes back to a stream of which it has seen all; by default
    /// what [`Finished::for_request`] says: 204, but an event for htmx.
    ///
    /// The answer is for all clients. For one that depends on the client see
    /// [`finished_by`](Self::finished_by).
    pub fn finished(self, answer: Finished) -> Self {
        self.finished_by(move |_| answer)
    }

    /// Sets the same by the request.
    ///
    /// It is called for requests that come with an id of this layer's form, before it is known whether
    /// there is such a stream.
    ///
    /// # Examples
    ///
    /// Readers of this application that are built on `fetch`, and do not stop at 204, say so:
    ///
    /// ```
    /// # use axum::http::request::Parts;
    /// # use std::time::Duration;
    /// # use tower_sse::resume::{Finished, ResumeKey, ResumeLayer};
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

    /// Sets how long the end of a stream, and what is kept of it, is remembered; by default 5 minutes,
    /// in which a phone has left its tunnel.
    ///
    /// What is older is forgotten by the next request. An end that a client has asked for
    /// is remembered for at least as long again, so who asks every minute for ever does not get the stream anew.
    pub fn remember(mut self, time: Duration) -> Self {
        self.settings.remember = time;
        self
    }

    /// Sets how many streams are kept, going on or ended; by default 1,024. For one more the stream
    /// that ended first is forgotten, and if none has ended, the new one passes as it is, and nobody
    /// can come back to it.
    ///
    /// In its own log a stream takes at most four times [`buffer_bytes`](Self::buffer_bytes), and 128
    /// bytes beside each of at most twice [`buffer`](Self::buffer) events; an answer of 500 words
    /// about 100 KiB.
    pub fn streams(mut self, count: usize) -> Self {
        self.settings.streams = count;
        self
    }

    /// Keeps events in this log, instead of one of its own for each stream.
    ///
    /// Its window should hold, of each topic, twice the [`buffer`](Self::buffer): what was handed to a
    /// connection that then broke has to be there still. Topics are named `resume.<random>.<key>`, with
    /// the key in base64. When they go is the log's matter.
    pub fn log<M: EventLog>(self, log: M) -> ResumeLayer<M> {
        let Self { key, settings, .. } = self;
        ResumeLayer { key, settings: settings.over(log), streams: Arc::new(Streams::new()) }
    }

    /// Looks for streams of other nodes in the log, for so long; by default not at all.
    ///
    /// It is for a log that several nodes share. A client that comes back with the id of a stream that
    /// is not known here is answered out of the log, if the stream is there within this time. If it is
    /// not, the service inside is called, also while the broker is away: who does not want that waits
    /// for longer than it takes to restart. Else 1 second is a good value.
    ///
    /// The stream is still driven by its own node, and ends there when nobody has read it *there* for
    /// the [`linger`](Self::linger): so the client gets what had come by then, and an event `close` with
    /// `{"reason":"error"}`. If that node dies, the stream stays open without events;
    /// [`RotationLayer::idle`](crate::RotationLayer::idle) ends such streams. A stream whose handler
    /// put an [`Expiry`](crate::Expiry) into the response can only be gone on with on its own node.
    pub fn other_nodes(mut self, wait: Duration) -> Self {
        self.settings.elsewhere = wait;
        self
    }
}

impl<S, L: EventLog> Layer<S> for ResumeLayer<L> {
    type Service = ResumeService<S, L>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { key, settings, streams } = self.clone();
        ResumeService::new(inner, Arc::new(Shared { key, settings, streams }))
    }
}

impl<L: EventLog> Clone for ResumeLayer<L> {
    fn clone(&self) -> Self {
        let Self { key, settings, streams } = self;
        let (key, streams) = (Arc::clone(key), Arc::clone(streams));
        Self { key, settings: settings.clone(), streams }
    }
}

impl<L: EventLog> fmt::Debug for ResumeLayer<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeLayer").field("settings", &self.settings).finish_non_exhaustive()
    }
}
