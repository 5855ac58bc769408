//! Sessions: the state that the pump of a stream and its readers share.

use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use slab::Slab;

use super::head::SavedHead;
use super::key::SessionToken;
use super::record::LogProgress;
use crate::event_log::{EventLog, Topic};
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
    /// How far the pump may be ahead of the slowest reader.
    pub(super) buffer: LogProgress,
    state: Mutex<SessionState>,
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
    /// A position at which a reader found nothing in the log, and what was written then.
    found_empty: Option<(EventId, LogProgress)>,
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
}

impl<L: EventLog> Session<L> {
    /// A session whose log is empty.
    pub(super) fn new(
        (token, key): (SessionToken, Box<str>),
        head: SavedHead,
        (log, topic): (L, Topic),
        buffer: LogProgress,
    ) -> Self {
        let state = SessionState {
            written: LogProgress::default(),
            last_id: None,
            readers: Slab::new(),
            last_reader: (LogProgress::default(), now()),
            found_empty: None,
            end: None,
            asked_at: None,
            pump: None,
            pump_is_full: false,
            end_is_unwritten: false,
        };
        Self { token, key, head, log, topic, buffer, state: Mutex::new(state) }
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
            Some(after) if Some(after) == state.last_id.as_ref() => Some(state.written),
            Some(after) => {
                let found_empty = state.found_empty.as_ref();
                found_empty.filter(|(id, _)| id == after).map(|(_, written)| *written)
            }
        };
        // Taken as the beginning until the reader's next event says how far it is.
        let taken = known.unwrap_or_default();
        let after = after.filter(|_| known.is_none()).cloned();
        let key = state.readers.insert(ReaderState { taken, after, waker: None });
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
        written.events <= self.buffer.events && written.bytes <= self.buffer.bytes
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
            let has_room = state.has_room(self.buffer);
            state.pump_is_full = !has_room;
            let alone_since = state.readers.is_empty().then_some(state.last_reader.1);
            (Some(&mut state.pump), ReaderStatus { has_room, alone_since })
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
    fn has_room(&self, buffer: LogProgress) -> bool {
        let slowest = self.readers.iter().map(|(_, reader)| reader.taken);
        let taken = slowest.min_by_key(|it| it.events).unwrap_or(self.last_reader.0);
        let LogProgress { events, bytes } = self.written;
        events.saturating_sub(taken.events) < buffer.events
            && bytes.saturating_sub(taken.bytes) < buffer.bytes
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
            (reader.taken, reader.after) = (progress, None);
        }
        let pump = match state.pump_is_full && state.has_room(self.session.buffer) {
            true => state.pump.take(),
            false => None,
        };
        drop(state);
        wake(pump);
    }

    /// Notes that the log has no event for the reader, whose client is to come back with
    /// `position`.
    pub(super) fn found_empty(&self, position: &EventId) {
        let written = {
            let mut state = self.session.lock();
            state.found_empty = Some((position.clone(), state.written));
            state.written
        };
        self.took(written);
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
        let session = Session::new((token, "ann".into()), head, (MemoryLog::new(), topic), buffer);
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
