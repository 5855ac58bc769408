//! Sessions: the state that the pump of a stream and its readers share.

use std::sync::{Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use slab::Slab;

use super::head::SavedHead;
use super::key::ResumeKey;
use super::record::{LogProgress, SessionEnd, StreamSource};
use super::token::SessionToken;
use crate::dialect::Dialect;
use crate::event_log::{EventLog, Topic};
use crate::state::PermitLender;
use crate::sync::{lock, now, replace_waker, wake_all};
use crate::wire::EventId;

/// A stream that clients can come back to.
///
/// Its pump reads the body of the response into the log, and its readers send clients the log.
#[derive(Debug)]
pub(super) struct Session<L> {
    pub(super) token: SessionToken,
    pub(super) key: ResumeKey,
    pub(super) since: SystemTime,
    pub(super) head: SavedHead,
    pub(super) log: L,
    pub(super) topic: Topic,
    /// That of the request that began it.
    pub(super) dialect: Dialect,
    pub(super) timing: SessionTiming,
    /// The permit of the pump, while it runs and has one.
    pub(super) permit: Weak<PermitLender>,
    pub(super) state: Mutex<SessionState>,
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
pub(super) struct SessionState {
    /// What the pump has written.
    pub(super) written: LogProgress,
    /// The id of the last event.
    pub(super) last_id: Option<EventId>,
    pub(super) readers: Slab<ReaderState>,
    /// The progress of the last reader when it left, and the time.
    pub(super) last_reader: (LogProgress, Instant),
    /// Whether somebody stopped the session, which its pump may not know yet.
    is_stopped: bool,
    pub(super) end: Option<SessionEnd>,
    /// When a client that has seen all events last got the answer that the session has ended.
    asked_at: Option<Instant>,
    pub(super) pump: Option<Waker>,
    /// Whether the pump waits until the readers have taken more.
    pub(super) pump_is_full: bool,
    /// Whether the log does not say how the session ended, so that readers must not wait for it.
    pub(super) end_is_unwritten: bool,
    /// What readers are passed beside the log, once resuming is given up.
    pub(super) passing: Option<Passing>,
}

/// What a session knows of a reader.
#[derive(Debug)]
pub(super) struct ReaderState {
    pub(super) taken: LogProgress,
    /// When it took something last.
    pub(super) took_at: Instant,
    /// The id after which the reader began, as long as its progress there is unknown.
    pub(super) after: Option<EventId>,
    pub(super) waker: Option<Waker>,
    /// How many chunks it was passed beside the log.
    pub(super) passed: u64,
}

/// What the readers of a session that cannot be resumed any more are passed.
#[derive(Debug, Default)]
pub(super) struct Passing {
    /// The last chunk.
    pub(super) chunk: Bytes,
    /// How many chunks there were.
    pub(super) number: u64,
    pub(super) is_over: bool,
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
}

impl<L: EventLog> Session<L> {
    /// A session whose log is empty.
    pub(super) fn new(
        (token, key): (SessionToken, ResumeKey),
        head: SavedHead,
        (log, topic): (L, Topic),
        dialect: Dialect,
        timing: SessionTiming,
        permit: Weak<PermitLender>,
    ) -> Self {
        let state = SessionState {
            written: LogProgress::default(),
            last_id: None,
            readers: Slab::new(),
            last_reader: (LogProgress::default(), now()),
            is_stopped: false,
            end: None,
            asked_at: None,
            pump: None,
            pump_is_full: false,
            end_is_unwritten: false,
            passing: None,
        };
        let (since, state) = (SystemTime::now(), Mutex::new(state));
        Self { token, key, since, head, log, topic, dialect, timing, permit, state }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SessionState> {
        lock(&self.state)
    }

    /// Where its events are.
    pub(super) fn source(&self) -> StreamSource<L> {
        let (log, topic) = (self.log.clone(), self.topic.clone());
        StreamSource { token: self.token, log, topic, dialect: self.dialect.clone() }
    }

    /// The number of readers, if the session runs.
    pub(super) fn running(&self) -> Option<usize> {
        let state = self.lock();
        (state.end.is_none() && !state.is_stopped).then(|| state.readers.len())
    }

    /// Has the pump end the session, and returns whether it ran.
    pub(super) fn stop(&self) -> bool {
        let mut state = self.lock();
        let runs = state.end.is_none();
        state.is_stopped |= runs;
        let pump = if runs { state.pump.take() } else { None };
        drop(state);
        wake_all(pump);
        runs
    }

    /// Ready when the pump is to end although the body goes on: the session was stopped, or given
    /// up.
    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<SessionEnd> {
        let end = replace_waker(&self.state, cx.waker(), |state| {
            let stopped = state.is_stopped.then_some(SessionEnd::Stopped);
            (Some(&mut state.pump), state.end.or(stopped))
        });
        end.map_or(Poll::Pending, Poll::Ready)
    }

    /// Notes that a client has read so far at another node: the session goes on for it as for one
    /// that has just left this node.
    pub(super) fn note_reader_elsewhere(&self, progress: LogProgress) {
        let mut state = self.lock();
        if !state.readers.is_empty() || state.end.is_some() {
            return;
        }
        let (taken, _) = state.last_reader;
        let taken = if progress.events > taken.events { progress } else { taken };
        state.last_reader = (taken, now());
        let pump = state.pump.take();
        drop(state);
        wake_all(pump);
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
        wake_all(pump);
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
        let said = matches!(
            state.end,
            Some(SessionEnd::Finished | SessionEnd::Stopped | SessionEnd::Failed)
        );
        state.last_id.clone().filter(|_| said)
    }

    /// Ends the readers that would wait for an end that is not in the log.
    pub(super) fn end_is_unwritten(&self) {
        self.lock().end_is_unwritten = true;
        self.wake_readers();
    }

    pub(super) fn wake_readers(&self) {
        let mut state = self.lock();
        let readers = state.readers.iter_mut();
        let wakers: Vec<_> = readers.filter_map(|(_, reader)| reader.waker.take()).collect();
        drop(state);
        wake_all(wakers);
    }

    /// The readers, for the pump. It is woken when the status changes.
    pub(super) fn readers(&self, waker: &Waker) -> ReaderStatus {
        replace_waker(&self.state, waker, |state| {
            let (has_room, stalled_at) = state.room(self.timing);
            state.pump_is_full = !has_room;
            let alone_since = state.readers.is_empty().then_some(state.last_reader.1);
            let status = ReaderStatus { has_room, alone_since, stalled_at };
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
    pub(super) fn room(&self, timing: SessionTiming) -> (bool, Option<Instant>) {
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

#[cfg(test)]
impl Session<crate::event_log::MemoryLog> {
    /// A session with a linger of 30 seconds, which may be ahead of its readers by one event.
    pub(super) fn example() -> std::sync::Arc<Self> {
        let token = SessionToken::random().unwrap();
        let key = ResumeKey::new("answer", "ann");
        let topic = token.topic(&key, super::token::TopicPart::Events).unwrap();
        let head = http::Response::new(()).into_parts().0;
        let head = SavedHead::of(&head, &Dialect::default());
        let buffer = LogProgress { events: 1, bytes: 1 };
        let timing = SessionTiming { buffer, linger: Duration::from_secs(30) };
        let (log, dialect) = ((crate::event_log::MemoryLog::new(), topic), Dialect::default());
        Self::new((token, key), head, log, dialect, timing, Weak::new()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::resume::reader::ReaderStart;

    /// Between the pump's question and its decision a client may come back on another thread, and
    /// lose its connection at once.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_comes_and_goes_while_a_session_is_given_up_has_its_linger() {
        let session = Session::example();
        drop(session.add_reader(ReaderStart::Beginning));
        let alone_since = || session.readers(Waker::noop()).alone_since.unwrap();
        let since = alone_since();
        tokio::time::advance(Duration::from_secs(30)).await;
        drop(session.add_reader(ReaderStart::Beginning));
        assert!(
            !session.end_if_alone(since) && session.add_reader(ReaderStart::Beginning).is_some()
        );
        assert!(
            session.end_if_alone(alone_since())
                && session.add_reader(ReaderStart::Beginning).is_none()
        );
    }
}
