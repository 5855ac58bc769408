//! The settings of a layer, and the answers to clients that have seen a whole stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request;

use super::record::LogProgress;
use crate::event_log::{EventLog, MemoryLog, Start};

/// The answer to a client that comes back to a stream of which it has seen all.
///
/// # Examples
///
/// By default htmx gets an event, and other clients get 204:
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
    /// 204, after which an `EventSource` stops for good.
    #[default]
    NoContent,
    /// 200 with an event `close`, which has this duration as its `retry`, and the end. It is for
    /// clients that reconnect again and again after a 204, such as htmx 4.
    Close(Duration),
}

impl Finished {
    /// The default of [`ResumeLayer`](crate::ResumeLayer): [`Close`](Self::Close) with a `retry` of
    /// a day for requests with `HX-Request: true`, and [`NoContent`](Self::NoContent) for others.
    ///
    /// htmx 4 sends this header. It takes a 204 for a stream that broke. It waits for at most a
    /// minute, whatever the `retry` is, unless its `reconnectMaxDelay` is set.
    ///
    /// htmx 2 does not send the header with its streams, because they are those of an
    /// `EventSource`. After a 204 it makes a new `EventSource` without an id, and so begins a new
    /// stream. Let it close the stream by `sse-close="close"`, or mark its requests and use
    /// [`finished_by`](crate::ResumeLayer::finished_by).
    pub fn for_request(request: &request::Parts) -> Self {
        match request.headers.get("hx-request") {
            Some(value) if value.as_bytes() == b"true" => Self::Close(DAY),
            _ => Self::NoContent,
        }
    }
}

/// Longer than a page is open, and less than the 24 days that timers of JavaScript hold.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// From where a client joins a stream that runs, without an id.
///
/// See [`ResumeLayer::join`](crate::ResumeLayer::join).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Join {
    /// All events of the stream. If the log does not have all of them any more, the client gets the
    /// event `gap` and those that it has.
    FromBeginning,
    /// The events from now on.
    FromNow,
}

impl Join {
    pub(super) fn start(self) -> Start {
        match self {
            Self::FromBeginning => Start::Earliest,
            Self::FromNow => Start::Live,
        }
    }
}

pub(super) type FinishedFn = dyn Fn(&request::Parts) -> Finished + Send + Sync;

pub(super) type JoinFn = dyn Fn(&request::Parts) -> Option<Join> + Send + Sync;

/// The settings of a layer.
#[derive(Clone)]
pub(super) struct ResumeSettings<L> {
    pub(super) linger: Duration,
    /// How far the pump may be ahead of the slowest reader.
    pub(super) buffer: LogProgress,
    /// The `retry` of the close event. None for no close event.
    pub(super) close_event: Option<Duration>,
    pub(super) finished: Arc<FinishedFn>,
    pub(super) join: Arc<JoinFn>,
    pub(super) remember: Duration,
    pub(super) max_sessions: usize,
    pub(super) max_of_principal: usize,
    /// How long a session of another node is looked for.
    pub(super) other_nodes: Duration,
    /// For how long a node is taken to be alive.
    pub(super) lease: Duration,
    log: LogSource<L>,
}

/// Where a session gets its log.
#[derive(Clone)]
enum LogSource<L> {
    /// Each session has a log of its own, which is dropped with it.
    New(fn(LogProgress) -> Option<L>),
    Shared(L),
}

impl Default for ResumeSettings<MemoryLog> {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(30),
            buffer: LogProgress { events: 1024, bytes: 256 * 1024 },
            close_event: None,
            finished: Arc::new(Finished::for_request),
            join: Arc::new(|_| None),
            remember: Duration::from_secs(5 * 60),
            max_sessions: 1024,
            max_of_principal: 128,
            other_nodes: Duration::ZERO,
            lease: Duration::from_secs(30),
            log: LogSource::New(new_log),
        }
    }
}

impl<L: EventLog> ResumeSettings<L> {
    /// These settings, with a log that all sessions share.
    pub(super) fn with_log<M>(self, log: M) -> ResumeSettings<M> {
        ResumeSettings {
            linger: self.linger,
            buffer: self.buffer,
            close_event: self.close_event,
            finished: self.finished,
            join: self.join,
            remember: self.remember,
            max_sessions: self.max_sessions,
            max_of_principal: self.max_of_principal,
            other_nodes: self.other_nodes,
            lease: self.lease,
            log: LogSource::Shared(log),
        }
    }

    /// How long a log that is shared keeps a session after its end. One of a session's own is
    /// dropped with it.
    pub(super) fn kept_in_log(&self) -> Option<Duration> {
        matches!(self.log, LogSource::Shared(_)).then_some(self.remember)
    }

    /// The log of a new session.
    pub(super) fn log(&self) -> Option<L> {
        match &self.log {
            LogSource::New(make) => make(self.buffer),
            LogSource::Shared(log) => Some(log.clone()),
        }
    }
}

/// A log for one session. It keeps twice what the pump may be ahead of the readers, so that events
/// that were handed to a broken connection are still there.
fn new_log(buffer: LogProgress) -> Option<MemoryLog> {
    let events = usize::try_from(buffer.events.saturating_mul(2)).unwrap_or(usize::MAX);
    // The last event may be as long as all others together, and each has its record and its id.
    let overhead = events.saturating_mul(EVENT_OVERHEAD);
    let bytes = usize::try_from(buffer.bytes.saturating_mul(4)).unwrap_or(usize::MAX);
    let log = MemoryLog::builder().events(events.saturating_add(2)).age(Duration::MAX);
    log.bytes(bytes.saturating_add(overhead).saturating_add(EVENT_OVERHEAD)).build().ok()
}

/// The bytes of a record and of an id of the log.
const EVENT_OVERHEAD: usize = 128;

impl<L> fmt::Debug for ResumeSettings<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResumeSettings")
            .field("linger", &self.linger)
            .field("buffer", &self.buffer)
            .field("close_event", &self.close_event)
            .field("remember", &self.remember)
            .field("max_sessions", &self.max_sessions)
            .field("max_of_principal", &self.max_of_principal)
            .field("other_nodes", &self.other_nodes)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Event;
    use crate::event_log::Topic;

    #[test]
    fn a_log_of_a_session_has_at_most_what_the_documentation_of_streams_says() {
        let (events, bytes) = (10, 1_000);
        let (most_events, most_bytes) = (2 * events + 2, 4 * bytes + 128 * (2 * events + 2));
        let topic = Topic::from_static("t");
        let kept = |size: usize| {
            let buffer = LogProgress { events: events as u64, bytes: bytes as u64 };
            let log = new_log(buffer).unwrap();
            for _ in 0..100 {
                log.append_now(&topic, Event::new().data("x".repeat(size))).unwrap();
                let (events, bytes) = log.window(&topic);
                assert!(events <= most_events && bytes <= most_bytes, "{events}, {bytes}");
            }
            log.window(&topic)
        };
        assert_eq!(kept(1).0, most_events);
        assert!(kept(bytes).1 > most_bytes - bytes - 128);
    }
}
