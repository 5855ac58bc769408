//! What a layer was told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request;

use crate::event_log::{EventLog, MemoryLog};

/// What a client is answered that comes back to a stream of which it has seen all.
///
/// # Examples
///
/// By default htmx is told by an event, and everybody else by 204:
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use tower_sse::resume::Finished;
///
/// let (htmx, ()) = Request::get("/answer").header("hx-request", "true").body(())?.into_parts();
/// let (other, ()) = Request::get("/answer").body(())?.into_parts();
/// assert_eq!(Finished::for_request(&htmx), Finished::Close(Duration::from_secs(24 * 60 * 60)));
/// assert_eq!(Finished::for_request(&other), Finished::NoContent);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finished {
    /// 204, at which an `EventSource` stops for good.
    #[default]
    NoContent,
    /// 200 with an event `close` that carries this as `retry`, and the end: for clients that come
    /// back at once and for ever after a 204, as htmx 4 does.
    Close(Duration),
}

impl Finished {
    /// The default of [`ResumeLayer`](super::ResumeLayer): [`Close`](Self::Close) with a day as `retry`
    /// for requests with `HX-Request: true`, and [`NoContent`](Self::NoContent) for all others.
    ///
    /// htmx 4 sends that header. It takes a 204 for a stream that broke, and the `retry` for at most a
    /// minute, unless its `reconnectMaxDelay` is set.
    ///
    /// htmx 2 does not send it with its streams, which are those of an `EventSource`: a request does not
    /// tell the two apart. After a 204 it makes a new `EventSource`, without an id, and so begins a new
    /// stream. Have it close, by `sse-close="close"`, or mark its requests and see
    /// [`finished_by`](super::ResumeLayer::finished_by).
    pub fn for_request(request: &request::Parts) -> Self {
        match request.headers.get("hx-request") {
            Some(value) if value.as_bytes() == b"true" => Self::Close(DAY),
            _ => Self::NoContent,
        }
    }
}

/// Longer than a page is open, and well within what clients can wait: 24 days in JavaScript.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is answered, by the request.
pub(super) type Answer = dyn Fn(&request::Parts) -> Finished + Send + Sync;

/// What a layer was told.
#[derive(Clone)]
pub(super) struct Settings<L> {
    pub(super) linger: Duration,
    /// How far the task may be ahead of the client.
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// The `retry` of the close event, if there is one.
    pub(super) close_event: Option<Duration>,
    pub(super) finished: Arc<Answer>,
    pub(super) remember: Duration,
    pub(super) streams: usize,
    /// How long streams of other nodes are looked for.
    pub(super) elsewhere: Duration,
    pub(super) logs: Logs<L>,
}

/// Where events are kept.
#[derive(Clone)]
pub(super) enum Logs<L> {
    /// In a log for each stream, which goes with it.
    Own(fn(u64, u64) -> Option<L>),
    Given(L),
}

impl Settings<MemoryLog> {
    pub(super) fn new() -> Self {
        Self {
            linger: Duration::from_secs(30),
            events: 1024,
            bytes: 256 * 1024,
            close_event: None,
            finished: Arc::new(Finished::for_request),
            remember: Duration::from_secs(5 * 60),
            streams: 1024,
            elsewhere: Duration::ZERO,
            logs: Logs::Own(own),
        }
    }
}

impl<L: EventLog> Settings<L> {
    pub(super) fn over<M>(self, log: M) -> Settings<M> {
        let Self {
            linger, events, bytes, close_event, finished, remember, streams, elsewhere, ..
        } = self;
        let logs = Logs::Given(log);
        Settings {
            linger,
            events,
            bytes,
            close_event,
            finished,
            remember,
            streams,
            elsewhere,
            logs,
        }
    }

    /// The log of a new stream.
    pub(super) fn log(&self) -> Option<L> {
        match &self.logs {
            Logs::Own(make) => make(self.events, self.bytes),
            Logs::Given(log) => Some(log.clone()),
        }
    }
}

/// A log for one stream. It keeps as much again as the task may be ahead of the client: so what was
/// handed to a connection that then broke is still there.
fn own(events: u64, bytes: u64) -> Option<MemoryLog> {
    let twice = usize::try_from(events.saturating_mul(2)).unwrap_or(usize::MAX);
    // The last event may be as long as all others together; each has its mark and its id.
    let beside = twice.saturating_mul(BESIDE);
    let bytes = usize::try_from(bytes.saturating_mul(4)).unwrap_or(usize::MAX);
    let log = MemoryLog::builder().events(twice.saturating_add(2)).age(Duration::MAX);
    log.bytes(bytes.saturating_add(beside).saturating_add(BESIDE)).build().ok()
}

/// A mark, and the id of a log.
const BESIDE: usize = 128;

impl<L> fmt::Debug for Settings<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("linger", &self.linger)
            .field("events", &self.events)
            .field("bytes", &self.bytes)
            .field("close_event", &self.close_event)
            .field("remember", &self.remember)
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}
