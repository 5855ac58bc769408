//! Readers: each sends one client the events of a session of this process, and knows how far it is.

use std::sync::Arc;
use std::task::Waker;

use super::record::{LogProgress, SessionEnd};
use super::session::{ReaderState, Session};
use crate::event_log::EventLog;
use crate::sync::{drop_caught, now, replace_waker, wake_all};
use crate::wire::EventId;

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReaderStart<'a> {
    Beginning,
    Now,
    After(&'a EventId),
}

impl<L: EventLog> Session<L> {
    /// Adds a reader. None if it is too late.
    pub(super) fn add_reader(self: &Arc<Self>, start: ReaderStart<'_>) -> Option<ReaderHandle<L>> {
        let mut state = self.lock();
        let is_late = matches!(state.end, Some(SessionEnd::Abandoned | SessionEnd::Lost));
        if is_late || state.passing.is_some() {
            return None;
        }
        let (taken, after) = match start {
            ReaderStart::Beginning => (LogProgress::default(), None),
            ReaderStart::Now => (state.written, None),
            ReaderStart::After(id) if state.last_id.as_ref() == Some(id) => (state.written, None),
            // Taken as the beginning until the reader's next event says how far it is, or there is
            // none.
            ReaderStart::After(id) => (LogProgress::default(), Some(id.clone())),
        };
        let key = state.readers.insert(ReaderState {
            taken,
            took_at: now(),
            after,
            waker: None,
            passed: 0,
        });
        let pump = state.pump.take();
        drop(state);
        wake_all(pump);
        Some(ReaderHandle { session: Arc::clone(self), key })
    }
}

/// A reader of a session. When it is dropped the session has one reader less.
#[derive(Debug)]
pub(super) struct ReaderHandle<L: EventLog> {
    pub(super) session: Arc<Session<L>>,
    pub(super) key: usize,
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
        wake_all(pump);
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
        drop_caught(reader);
        wake_all(pump);
    }
}
