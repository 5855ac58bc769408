//! Sessions: the state that the pump of a stream and its readers share.

use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;

use super::head::SavedHead;
use super::key::SessionToken;
use super::record::LogProgress;
use crate::event_log::{EventLog, Topic};
use crate::state::PermitLender;
use crate::sync::{lock, now, replace_waker};
use crate::wire::EventId;

/// A stream that clients can come back to.
///
/// Its pump reads the body of the response into the log, and its readers send clients the log.
#[derive(Debug)]
pub(super) struct Session<L> {
    pub(super) token: SessionToken,
    /// The text of the session's [`ResumeKey`](super::ResumeKey).
    pub(super) key: Box<str>,
    pub(super) head: SavedHead,
    pub(super) log: L,
    pub(super) topic: Topic,
    timing: SessionTiming,
    /// The permit of the pump, while it runs and has one.
    pub(super) permit: Weak<PermitLender>,
    state: Mutex<SessionState>,
}

/// How far and for how long readers may lag.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTiming {
    /// How far the pump may be ahead of the slowest reader.
    pub(super) buffer: LogProgress,
    /// After so long a reader that takes nothing, while another takes all, does not count.
    pub(super) linger: Duration,
}

#[derive(Debug)]
struct SessionState {
    /// What the pump has written.
    written: LogProgress,
    /// The id of the last event.
    last_id: Option<EventId>,
    readers: Slab<ReaderState>,
    /// The progress of the last reader when it left, and the time.
    last_reader: (LogProgress, Instant),
    end: Option<SessionEnd>,
    /// When a client that has seen all events last got the answer that the session has ended.
    asked_at: Option<Instant>,
    pump: Option<Waker>,
    /// Whether the pump waits until the readers have taken more.
    pump_is_full: bool,
    /// Whether the log does not say how the session ended, so that readers must not wait for it.
    end_is_unwritten: bool,
}

#[derive(Debug)]
struct ReaderState {
    taken: LogProgress,
    /// When it took something last.
    took_at: Instant,
    /// The id after which the reader began, as long as its progress there is unknown.
    after: Option<EventId>,
    waker: Option<Waker>,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The body came to its own end.
    Finished,
    /// The body failed. Clients can have the events before that.
    Failed,
    /// No client came back.
    Abandoned,
    /// The log does not say how.
    Lost,
}

/// What the pump asks its readers for.
#[derive(Debug)]
pub(super) struct ReaderStatus {
    /// Whether the slowest reader is near enough for one more event.
    pub(super) has_room: bool,
    /// When the last reader left. None if there is a reader.
    pub(super) alone_since: Option<Instant>,
    /// When the slowest reader does not count any more, if it then took nothing.
    pub(super) stalled_at: Option<Instant>,
    /// Whether the session is over although its pump runs.
    pub(super) given_up: bool,
}

impl<L: EventLog> Session<L> {
    /// A session whose log is empty.
    pub(super) fn new(
        (token, key): (SessionToken, Box<str>),
        head: SavedHead,
        (log, topic): (L, Topic),
        timing: SessionTiming,
        permit: Weak<PermitLender>,
    ) -> Self {
        let state = SessionState {
            written: LogProgress::default(),
            last_id: None,
            readers: Slab::new(),
            last_reader: (LogProgress::default(), now()),
            end: None,
            asked_at: None,
            pump: None,
            pump_is_full: false,
            end_is_unwritten: false,
        };
        Self { token, key, head, log, topic, timing, permit, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, SessionState> {
        lock(&self.state)
    }

    /// Adds a reader that begins after an event, or at the beginning. None if it is too late.
    pub(super) fn add_reader(self: &Arc<Self>, after: Option<&EventId>) -> Option<ReaderHandle<L>> {
        let mut state = self.lock();
        if matches!(state.end, Some(SessionEnd::Abandoned | SessionEnd::Lost)) {
            return None;
        }
        let known = match after {
            None => Some(LogProgress::default()),
            Some(after) => Some(state.written).filter(|_| Some(after) == state.last_id.as_ref()),
        };
        // Taken as the beginning until the reader's next event says how far it is, or there is
        // none.
        let taken = known.unwrap_or_default();
        let after = after.filter(|_| known.is_none()).cloned();
        let key = state.readers.insert(ReaderState { taken, took_at: now(), after, waker: None });
        let pump = state.pump.take();
        drop(state);
        wake(pump);
        Some(ReaderHandle { session: Arc::clone(self), key })
    }

    /// How the session ended, if this is the id of its last event: a client with this id has all.
    pub(super) fn end_at(&self, id: &EventId) -> Option<SessionEnd> {
        let mut state = self.lock();
        let end = state.end.filter(|_| state.last_id.as_ref() == Some(id));
        if end.is_some() {
            state.asked_at = Some(now());
        }
        end
    }

    /// Whether a client asked for the end within this time.
    pub(super) fn was_asked_within(&self, time: Duration) -> bool {
        let asked_at = self.lock().asked_at;
        asked_at.is_some_and(|at| now().saturating_duration_since(at) < time)
    }

    /// Whether the log still has all events, so that an id that it does not have never was.
    pub(super) fn is_whole(&self) -> bool {
        let written = self.lock().written;
        let buffer = self.buffer();
        written.events <= buffer.events && written.bytes <= buffer.bytes
    }

    pub(super) fn buffer(&self) -> LogProgress {
        self.timing.buffer
    }

    /// How long the session has had no reader. None if it has one, or is over.
    pub(super) fn alone_for(&self) -> Option<Duration> {
        let state = self.lock();
        let alone = state.readers.is_empty() && state.end.is_none();
        alone.then(|| now().saturating_duration_since(state.last_reader.1))
    }

    /// Ends the session for good if it has no reader.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        let pump = match state.readers.is_empty() && state.end.is_none() {
            true => {
                state.end = Some(SessionEnd::Abandoned);
                state.pump.take()
            }
            false => None,
        };
        drop(state);
        wake(pump);
    }

    /// Notes that the pump wrote an event for clients.
    pub(super) fn wrote(&self, progress: LogProgress, id: EventId) {
        let mut state = self.lock();
        state.written = progress;
        // A client may come back with the id before the pump knows it.
        for (_, reader) in &mut state.readers {
            if reader.after.as_ref() == Some(&id) {
                (reader.taken, reader.after) = (progress, None);
            }
        }
        state.last_id = Some(id);
    }

    /// Notes the end, and returns whether it is the first.
    pub(super) fn end(&self, end: SessionEnd) -> bool {
        let mut state = self.lock();
        // `end_if_alone` has noted this one.
        let noted = end == SessionEnd::Abandoned && state.end == Some(end);
        let first = state.end.is_none() || noted;
        state.end = state.end.or(Some(end));
        first
    }

    pub(super) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// The id of the last event, if the session ended in a way that its log says, or was to say.
    pub(super) fn last_id_of_ended(&self) -> Option<EventId> {
        let state = self.lock();
        let said = matches!(state.end, Some(SessionEnd::Finished | SessionEnd::Failed));
        state.last_id.clone().filter(|_| said)
    }

    /// Ends the readers that would wait for an end that is not in the log.
    pub(super) fn end_is_unwritten(&self) {
        let mut state = self.lock();
        state.end_is_unwritten = true;
        let readers = state.readers.iter_mut();
        let wakers: Vec<_> = readers.filter_map(|(_, reader)| reader.waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The readers, for the pump. It is woken when the status changes.
    pub(super) fn readers(&self, waker: &Waker) -> ReaderStatus {
        replace_waker(&self.state, waker, |state| {
            let (has_room, stalled_at) = state.room(self.timing);
            state.pump_is_full = !has_room;
            let alone_since = state.readers.is_empty().then_some(state.last_reader.1);
            let given_up = state.end.is_some();
            let status = ReaderStatus { has_room, alone_since, stalled_at, given_up };
            (Some(&mut state.pump), status)
        })
    }

    /// Ends the session if it has no reader, and had none since then. A reader may have come and
    /// left.
    pub(super) fn end_if_alone(&self, since: Instant) -> bool {
        let mut state = self.lock();
        let alone = state.readers.is_empty() && state.last_reader.1 == since;
        if alone {
            state.end = Some(SessionEnd::Abandoned);
        }
        alone
    }
}

impl SessionState {
    /// Whether there is room for one more event, and if not, when the slowest reader does not count
    /// any more.
    ///
    /// A connection may be half open: it takes nothing, and its client is back on another one. So a
    /// reader does not count after the linger if another one has taken more since.
    fn room(&self, timing: SessionTiming) -> (bool, Option<Instant>) {
        let (now, buffer) = (now(), timing.buffer);
        let readers = || self.readers.iter().map(|(_, reader)| reader);
        let first = readers().map(|reader| reader.taken.events).max().unwrap_or_default();
        let expiry = |reader: &ReaderState| {
            let at = reader.took_at.checked_add(timing.linger);
            at.filter(|_| reader.taken.events < first)
        };
        let counted = readers().filter(|it| expiry(it).is_none_or(|at| now < at));
        let slowest = counted.min_by_key(|it| it.taken.events);
        let taken = slowest.map_or(self.last_reader.0, |it| it.taken);
        let LogProgress { events, bytes } = self.written;
        let has_room = events.saturating_sub(taken.events) < buffer.events
            && bytes.saturating_sub(taken.bytes) < buffer.bytes;
        (has_room, slowest.filter(|_| !has_room).and_then(expiry))
    }
}

/// A reader of a session. When it is dropped the session has one reader less.
#[derive(Debug)]
pub(super) struct ReaderHandle<L: EventLog> {
    pub(super) session: Arc<Session<L>>,
    key: usize,
}

impl<L: EventLog> ReaderHandle<L> {
    /// Notes how far the reader has come.
    pub(super) fn took(&self, progress: LogProgress) {
        let mut state = self.session.lock();
        if let Some(reader) = state.readers.get_mut(self.key) {
            (reader.taken, reader.after, reader.took_at) = (progress, None, now());
        }
        let pump = match state.pump_is_full && state.room(self.session.timing).0 {
            true => state.pump.take(),
            false => None,
        };
        drop(state);
        wake(pump);
    }

    /// Notes that the log has no event for the reader: it has all that was written.
    pub(super) fn found_empty(&self) {
        let written = self.session.lock().written;
        self.took(written);
    }

    /// The same for a reader whose progress was not known.
    pub(super) fn found_nothing(&self) {
        let is_unknown = {
            let state = self.session.lock();
            state.readers.get(self.key).is_some_and(|reader| reader.after.is_some())
        };
        if is_unknown {
            self.found_empty();
        }
    }

    /// Returns whether the session ended and its log does not say so. If not, the reader is woken
    /// when it does.
    pub(super) fn is_lost(&self, waker: &Waker) -> bool {
        replace_waker(&self.session.state, waker, |state| {
            let place = state.readers.get_mut(self.key).map(|reader| &mut reader.waker);
            (place, state.end_is_unwritten)
        })
    }
}

impl<L: EventLog> Drop for ReaderHandle<L> {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        let reader = state.readers.try_remove(self.key);
        if let Some(reader) = reader.as_ref().filter(|_| state.readers.is_empty()) {
            state.last_reader = (reader.taken, now());
        }
        let pump = state.pump.take();
        drop(state);
        // After the lock is released: wakers are foreign code.
        drop(reader);
        wake(pump);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::event_log::MemoryLog;
    use crate::resume::key::TopicPart;

    /// Between the pump's question and its decision a client may come back on another thread, and
    /// lose its connection at once.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_comes_and_goes_while_a_session_is_given_up_has_its_linger() {
        let token = SessionToken::random().unwrap();
        let topic = token.topic("ann", TopicPart::Events).unwrap();
        let head = SavedHead::of(&http::Response::new(()).into_parts().0);
        let buffer = LogProgress { events: 1, bytes: 1 };
        let timing = SessionTiming { buffer, linger: Duration::from_secs(30) };
        let of = (token, "ann".into());
        let session = Session::new(of, head, (MemoryLog::new(), topic), timing, Weak::new());
        let session = Arc::new(session);
        drop(session.add_reader(None));
        let alone_since = || session.readers(Waker::noop()).alone_since.unwrap();
        let since = alone_since();
        tokio::time::advance(Duration::from_secs(30)).await;
        drop(session.add_reader(None));
        assert!(!session.end_if_alone(since) && session.add_reader(None).is_some());
        assert!(session.end_if_alone(alone_since()) && session.add_reader(None).is_none());
    }
}
